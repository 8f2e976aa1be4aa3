//! The `binding` subresource: a pod gets its node, once. What a Binding may say is in [`crate::core::binding`].

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{self, Condition};
use crate::field;
use crate::tree::{at, entries_at, list_at, remove, set, str_at};

/// Binds the pod to the binding's target. The error is the text of the Conflict, after `pods/binding "name": `.
pub fn bind(pod: &mut Value, binding: &Value, now: Timestamp) -> Result<(), String> {
    let name = str_at(pod, "metadata.name");
    let node = str_at(pod, "spec.nodeName");
    if at(pod, "metadata.deletionTimestamp").is_some() {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if !node.is_empty() {
        return Err(format!("pod {name} is already assigned to node {}", field::quote(node)));
    }
    if !list_at(pod, "spec.schedulingGates").is_empty() {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    set(pod, "spec.nodeName", str_at(binding, "target.name"));
    remove(pod, "status.nominatedNodeName");
    for map in ["metadata.annotations", "metadata.labels"] {
        merge(pod, binding, map);
    }
    let scheduled = Condition { ty: "PodScheduled", status: "True", reason: "", message: "" };
    conditions::update(pod, scheduled, &json!(seconds(now)));
    Ok(())
}

fn merge(pod: &mut Value, binding: &Value, map: &str) {
    let added = entries_at(binding, map);
    if added.is_empty() {
        return;
    }
    let mut merged = at(pod, map).and_then(Value::as_object).cloned().unwrap_or_default();
    merged.extend(added.into_iter().map(|(key, value)| (key.to_owned(), json!(value))));
    set(pod, map, merged);
}

/// A time as the API writes it: whole seconds.
pub(super) fn seconds(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).expect("the second of a timestamp is one").to_string()
}
