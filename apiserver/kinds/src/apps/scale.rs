//! The `scale` subresource: how many pods a workload has and should have, in the shape all workloads share.

use serde_json::{Value, json};

use crate::columns::label_selector;
use crate::field::{self, Error, Path};
use crate::meta::NOT_NEGATIVE;
use crate::tree::{at, int_at, set, str_at};

/// Whether the resource has a `scale` subresource with the usual paths: `spec.replicas` and `status.replicas`.
pub fn is_scalable(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("apps", "deployments" | "replicasets" | "statefulsets") | ("", "replicationcontrollers")
    )
}

/// The Scale of a workload.
pub fn of(obj: &Value) -> Value {
    let mut meta = json!({});
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = at(obj, &format!("metadata.{name}")) {
            set(&mut meta, name, value.clone());
        }
    }
    let mut spec = json!({});
    if let Some(replicas) = int_at(obj, "spec.replicas").filter(|replicas| *replicas != 0) {
        set(&mut spec, "replicas", replicas);
    }
    let mut status = json!({"replicas": int_at(obj, "status.replicas").unwrap_or(0)});
    let selector = selector_text(obj);
    if !selector.is_empty() {
        set(&mut status, "selector", selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

/// The workload's selector in selector syntax. That of a ReplicationController is a plain map.
fn selector_text(obj: &Value) -> String {
    let is_map = at(obj, "spec.selector").is_some_and(|selector| {
        selector.as_object().is_some_and(|fields| fields.values().all(Value::is_string))
    });
    let text = if is_map {
        label_selector(&json!({"selector": {"matchLabels": at(obj, "spec.selector")}}), "selector")
    } else {
        label_selector(obj, "spec.selector")
    };
    if matches!(text.as_str(), "<none>" | "<error>") { String::new() } else { text }
}

/// Everything wrong with a Scale.
pub fn validate(scale: &Value) -> Vec<Error> {
    let replicas = int_at(scale, "spec.replicas").unwrap_or(0);
    let path = Path::new("spec.replicas");
    (replicas < 0).then(|| field::invalid(&path, replicas, NOT_NEGATIVE)).into_iter().collect()
}

/// Gives the workload the number of pods in the Scale. The caller checks name, uid and resourceVersion, and goes on with
/// an ordinary update of the workload.
pub fn apply(obj: &mut Value, scale: &Value) {
    set(obj, "spec.replicas", int_at(scale, "spec.replicas").unwrap_or(0));
    let revision = str_at(scale, "metadata.resourceVersion");
    if !revision.is_empty() {
        set(obj, "metadata.resourceVersion", revision);
    }
}
