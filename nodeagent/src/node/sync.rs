//! Registers the node and keeps its status right.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::object::{self, Moment};
use super::{cni, lease};
use crate::events::Severity;
use crate::shared::Shared;

/// How often the status is computed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often it is computed while the node is not ready yet.
const LOOK_EARLY: Duration = Duration::from_millis(250);
/// An unchanged status is sent this often.
const SEND_EVERY: SignedDuration = SignedDuration::from_secs(300);

/// Registers the node, however long that takes, and gives the object.
pub async fn register(shared: &Shared, port: Option<u16>) -> Node {
    let api: Api<Node> = Api::all(shared.objects.client().clone());
    let mut pause = Duration::from_millis(100);
    loop {
        match register_once(shared, &api, port).await {
            Ok(node) => return node,
            Err(error) => tracing::debug!(%error, "the node cannot be registered yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(7));
    }
}

async fn register_once(shared: &Shared, api: &Api<Node>, port: Option<u16>) -> Result<Node, kube::Error> {
    let name = &shared.options.node_name;
    if let Some(node) = api.get_opt(name).await? {
        return relabel(shared, api, node).await;
    }
    let moment = moment(shared, port, &shared.options.pod_cidrs).await;
    let fresh = object::fresh(&shared.options, &shared.facts, &moment);
    match api.create(&PostParams::default(), &fresh).await {
        // Somebody else of this name was faster: take what is there.
        Err(kube::Error::Api(status)) if status.code == 409 => api.get(name).await,
        other => other,
    }
}

/// Own labels that are missing or wrong on a node that was registered before.
async fn relabel(shared: &Shared, api: &Api<Node>, node: Node) -> Result<Node, kube::Error> {
    let own = object::own_labels(&shared.options, &shared.facts);
    let present = node.metadata.labels.clone().unwrap_or_default();
    let missing: std::collections::BTreeMap<_, _> =
        own.into_iter().filter(|(key, value)| present.get(key) != Some(value)).collect();
    if missing.is_empty() {
        return Ok(node);
    }
    let patch = json!({ "metadata": { "labels": missing } });
    api.patch(&shared.options.node_name, &PatchParams::default(), &Patch::Merge(patch)).await
}

/// Keeps status and lease until `shutdown`.
pub async fn run(shared: Arc<Shared>, node: Node, port: Option<u16>, shutdown: CancellationToken) {
    tokio::spawn(lease::run(shared.objects.client().clone(), node.clone(), shutdown.clone()));
    shared.recorder.node(&node, Severity::Normal, "Starting", "Starting kubelet.");
    let api: Api<Node> = Api::all(shared.objects.client().clone());
    let mut stored = node.status.clone().unwrap_or_default();
    let mut cidrs = pod_cidrs(&shared, &node);
    let mut sent: Option<Timestamp> = None;
    loop {
        let moment = moment(&shared, port, &cidrs).await;
        let now = moment.now;
        let status = object::status(&shared.options, &shared.facts, &moment, &stored);
        let due = sent.is_none_or(|sent| now.duration_since(sent) >= SEND_EVERY);
        if due || object::differs(&stored, &status) {
            match send(&api, &shared, &status).await {
                Ok(node) => {
                    announce(&shared, &node, &stored, &status);
                    cidrs = pod_cidrs(&shared, &node);
                    stored = merged(status, &node);
                    sent = Some(now);
                }
                // Somebody removed the node while it is alive.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    stored = register(&shared, port).await.status.unwrap_or_default();
                    sent = None;
                }
                Err(error) => tracing::debug!(%error, "the node's status cannot be reported"),
            }
        } else if cidrs.is_empty()
            && let Ok(node) = api.get(&shared.options.node_name).await
        {
            cidrs = pod_cidrs(&shared, &node);
        }
        let pause = if moment.not_ready.is_some() || sent.is_none() { LOOK_EARLY } else { LOOK_EVERY };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Conditions that others changed since are seen as they are stored.
fn merged(mut status: NodeStatus, node: &Node) -> NodeStatus {
    let stored = node.status.as_ref().and_then(|status| status.conditions.clone());
    status.conditions = stored.or(status.conditions);
    status
}

fn pod_cidrs(shared: &Shared, node: &Node) -> Vec<String> {
    if !shared.options.pod_cidrs.is_empty() {
        return shared.options.pod_cidrs.clone();
    }
    let spec = node.spec.clone().unwrap_or_default();
    spec.pod_cidrs.or(spec.pod_cidr.map(|cidr| vec![cidr])).unwrap_or_default()
}

/// Lists are replaced whole, conditions merged by type.
async fn send(api: &Api<Node>, shared: &Shared, status: &NodeStatus) -> Result<Node, kube::Error> {
    let mut status = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    // The merge key of addresses is the type, of which two families give two.
    if let Some(Value::Array(addresses)) = status.get_mut("addresses") {
        addresses.insert(0, json!({ "$patch": "replace" }));
    }
    let patch = json!({ "status": status });
    api.patch_status(&shared.options.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await
}

fn announce(shared: &Shared, node: &Node, old: &NodeStatus, new: &NodeStatus) {
    let ready = |status: &NodeStatus| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let name = &shared.options.node_name;
    match (ready(old), ready(new)) {
        (false, true) => {
            shared.recorder.node(
                node,
                Severity::Normal,
                "NodeReady",
                format!("Node {name} status is now: NodeReady"),
            );
        }
        (true, false) => {
            let message = format!("Node {name} status is now: NodeNotReady");
            shared.recorder.node(node, Severity::Normal, "NodeNotReady", message);
        }
        _ => {}
    }
}

/// What is true now. Writes the network's configuration as soon as the ranges are known.
async fn moment(shared: &Shared, port: Option<u16>, pod_cidrs: &[String]) -> Moment {
    let mut not_ready = None;
    if let Some(dir) = shared.options.cni_conf_dir.as_ref().filter(|_| !pod_cidrs.is_empty())
        && let Err(error) = cni::write(dir, pod_cidrs, &shared.options.cni_state_dir)
    {
        not_ready = Some(format!("the network configuration cannot be written: {error}"));
    }
    match shared.runtime.status().await {
        Err(error) => not_ready = Some(format!("container runtime is down: {}", error.message)),
        Ok(status) => {
            let bad = status.conditions.iter().find(|condition| !condition.status);
            if let Some(bad) = bad {
                let what = if bad.r#type == "NetworkReady" {
                    "container runtime network not ready"
                } else {
                    "container runtime not ready"
                };
                not_ready = Some(format!(
                    "{what}: {}=false reason:{} message:{}",
                    bad.r#type, bad.reason, bad.message
                ));
            }
        }
    }
    let version = shared.runtime.version().await.unwrap_or_default();
    Moment {
        not_ready,
        images: shared.runtime.images().await.unwrap_or_default(),
        runtime_version: format!(
            "{}://{}",
            version.runtime_name,
            version.runtime_version.trim_start_matches('v')
        ),
        port,
        now: Timestamp::now(),
    }
}
