//! Tells the API server a pod's status, and removes the object of a pod that has ended.
//!
//! One task per pod, so that a worker never waits for the API server. Only the latest status is ever sent.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::spec;

/// Pause after a failed attempt.
const RETRY: Duration = Duration::from_secs(2);

/// What the API server should know.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The status; none before the first look.
    pub status: Option<PodStatus>,
    /// Nothing runs any more and deletion was asked for: the object may go.
    pub delete: bool,
    /// What the API server is known to have, from the watch.
    pub stored: PodStatus,
}

/// Sends reports until the channel closes or the object is gone.
pub async fn run(client: kube::Client, pod: std::sync::Arc<Pod>, mut reports: watch::Receiver<Report>) {
    let api: Api<Pod> = Api::namespaced(client, spec::namespace(&pod));
    loop {
        let report = reports.borrow_and_update().clone();
        match send(&api, &pod, &report).await {
            Ok(Sent::Gone) => return,
            Ok(Sent::Done) => {
                if reports.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(pod = spec::full_name(&pod), %error, "a status cannot be reported yet");
                // A newer report may come meanwhile; it is read at the top.
                if tokio::time::timeout(RETRY, reports.changed()).await.is_ok_and(|changed| changed.is_err())
                {
                    return;
                }
            }
        }
    }
}

enum Sent {
    Done,
    Gone,
}

async fn send(api: &Api<Pod>, pod: &Pod, report: &Report) -> Result<Sent, kube::Error> {
    if let Some(status) = &report.status
        && let Some(status) = patch(&report.stored, status)
    {
        let body = json!({ "metadata": { "uid": spec::uid(pod) }, "status": status });
        let result =
            api.patch_status(spec::name(pod), &PatchParams::default(), &Patch::Strategic(body)).await;
        if is_gone(&result) {
            return Ok(Sent::Gone);
        }
        result?;
    }
    if !report.delete {
        return Ok(Sent::Done);
    }
    let preconditions = Preconditions { uid: Some(spec::uid(pod).to_owned()), resource_version: None };
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let result = api.delete(spec::name(pod), &params).await;
    if is_gone(&result) {
        return Ok(Sent::Gone);
    }
    result?;
    Ok(Sent::Gone)
}

/// The object does not exist, or another one has its name.
fn is_gone<T>(result: &Result<T, kube::Error>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409)
}

/// What a strategic merge must say to turn `stored` into `wanted`; none when they are equal. Conditions of
/// others are not mentioned.
pub fn patch(stored: &PodStatus, wanted: &PodStatus) -> Option<Value> {
    let tree = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (tree(stored), tree(wanted));
    let mut patch = Map::new();
    for (key, value) in &new {
        let before = old.get(key);
        match key.as_str() {
            "conditions" => {
                let changed = changed_items(before, value);
                if !changed.is_empty() {
                    patch.insert(key.clone(), Value::Array(changed));
                }
            }
            "podIPs" if before != Some(value) => {
                patch.insert(key.clone(), replaced_ips(before, value));
            }
            "hostIPs" if before != Some(value) => {
                patch.insert(key.clone(), value.clone());
            }
            _ if before != Some(value) => {
                patch.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    // Fields of others (nominatedNodeName, resize, claims) are left alone.
    for key in ["reason", "message", "podIP", "podIPs"] {
        if old.contains_key(key) && !new.contains_key(key) {
            let gone = if key == "podIPs" { replaced_ips(old.get(key), &json!([])) } else { Value::Null };
            patch.insert(key.to_owned(), gone);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Items of a list of conditions that differ.
fn changed_items(before: Option<&Value>, after: &Value) -> Vec<Value> {
    let old = before.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let new = after.as_array().map(Vec::as_slice).unwrap_or_default();
    let changed = new.iter().filter(|item| !old.contains(item));
    changed
        .map(|item| {
            let mut item = item.clone();
            let before = old.iter().find(|other| other["type"] == item["type"]);
            // A reason that no longer holds must be taken out by name.
            for key in ["reason", "message"] {
                if before.is_some_and(|before| before.get(key).is_some()) && item.get(key).is_none() {
                    item[key] = Value::Null;
                }
            }
            item
        })
        .collect()
}

/// The list is merged by address, so addresses that are no longer right are taken out by name.
fn replaced_ips(before: Option<&Value>, after: &Value) -> Value {
    let old = before.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let new = after.as_array().map(Vec::as_slice).unwrap_or_default();
    let stale = old.iter().filter(|item| !new.contains(item));
    let stale = stale.map(|item| json!({ "ip": item["ip"], "$patch": "delete" }));
    Value::Array(new.iter().cloned().chain(stale).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stored: Value, wanted: Value, expected: Value) {
        let of = |value| serde_json::from_value::<PodStatus>(value).expect("a valid status");
        assert_eq!(patch(&of(stored), &of(wanted)).unwrap_or_default(), expected);
    }

    #[test]
    fn only_differences_are_sent() {
        check(json!({"phase": "Running"}), json!({"phase": "Running"}), Value::Null);
        check(
            json!({"phase": "Pending", "reason": "X", "podIPs": [{"ip": "1.1.1.1"}], "nominatedNodeName": "n"}),
            json!({"phase": "Running", "podIPs": [{"ip": "2.2.2.2"}]}),
            json!({"phase": "Running", "reason": null,
                "podIPs": [{"ip": "2.2.2.2"}, {"ip": "1.1.1.1", "$patch": "delete"}]}),
        );
    }

    #[test]
    fn conditions_go_one_by_one() {
        let of = |status: &str, reason: Option<&str>| {
            let mut condition = json!({"type": "Ready", "status": status});
            if let Some(reason) = reason {
                condition["reason"] = json!(reason);
            }
            condition
        };
        check(
            json!({"conditions": [{"type": "Initialized", "status": "True"}, of("False", Some("ContainersNotReady"))]}),
            json!({"conditions": [{"type": "Initialized", "status": "True"}, of("True", None)]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "reason": null}]}),
        );
    }
}
