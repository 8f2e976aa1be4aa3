//! What the `scale` subresource needs to know of a workload; its shape is in [`crate::autoscaling::scale`].

use serde_json::{Value, json};

use crate::columns::label_selector;
use crate::tree::at;

/// The workload's selector in selector syntax, empty when it has none. A ReplicationController's is a plain map.
pub fn selector(obj: &Value) -> String {
    let is_map = at(obj, "spec.selector")
        .and_then(Value::as_object)
        .is_some_and(|fields| fields.values().all(Value::is_string));
    let text = if is_map {
        label_selector(&json!({"selector": {"matchLabels": at(obj, "spec.selector")}}), "selector")
    } else {
        label_selector(obj, "spec.selector")
    };
    if matches!(text.as_str(), "<none>" | "<error>") { String::new() } else { text }
}
