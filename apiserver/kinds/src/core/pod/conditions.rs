//! Conditions in a pod's status that the API server itself sets.

use serde_json::{Value, json};

use crate::tree::{at, list_at, set, str_at};

/// One condition, without its times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'a> {
    /// Type.
    pub(crate) ty: &'a str,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    /// Reason; may be empty.
    pub(crate) reason: &'a str,
    /// Message; may be empty.
    pub(crate) message: &'a str,
}

/// Sets the condition of its type. The time is that of the last change of its status.
pub(crate) fn update(pod: &mut Value, condition: Condition<'_>, now: &Value) {
    let mut conditions = list_at(pod, "status.conditions").to_vec();
    let position = conditions.iter().position(|candidate| str_at(candidate, "type") == condition.ty);
    let since = position
        .map(|position| &conditions[position])
        .filter(|before| str_at(before, "status") == condition.status)
        .and_then(|before| at(before, "lastTransitionTime"))
        .unwrap_or(now)
        .clone();
    let mut entry = json!({
        "type": condition.ty,
        "status": condition.status,
        "lastProbeTime": null,
        "lastTransitionTime": since,
    });
    for (name, text) in [("reason", condition.reason), ("message", condition.message)] {
        if !text.is_empty() {
            set(&mut entry, name, text);
        }
    }
    match position {
        Some(position) => conditions[position] = entry,
        None => conditions.push(entry),
    }
    set(pod, "status.conditions", conditions);
}
