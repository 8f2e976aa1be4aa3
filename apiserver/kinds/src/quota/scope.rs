//! Whether an object falls under a quota that is narrowed by scopes.

use serde_json::{Value, json};

use super::pod;
use crate::tree::{list_at, str_at, strings_at};

/// Whether every scope of the quota holds for the object. Only pods and claims have any; a quota without scopes covers all.
pub(super) fn covers(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let plain = strings_at(quota, "spec.scopes")
        .into_iter()
        .map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selected = list_at(quota, "spec.scopeSelector.matchExpressions").iter().cloned();
    plain.chain(selected).all(|requirement| match (group, plural) {
        ("", "pods") => pod_is_in(&requirement, object),
        ("", "persistentvolumeclaims") => claim_is_in(&requirement, object),
        _ => false,
    })
}

fn pod_is_in(requirement: &Value, pod: &Value) -> bool {
    match str_at(requirement, "scopeName") {
        "Terminating" => pod::is_terminating(pod),
        "NotTerminating" => !pod::is_terminating(pod),
        "BestEffort" => pod::is_best_effort(pod),
        "NotBestEffort" => !pod::is_best_effort(pod),
        "PriorityClass" => {
            let class = str_at(pod, "spec.priorityClassName");
            holds(requirement, if class.is_empty() { &[] } else { std::slice::from_ref(&class) })
        }
        "CrossNamespacePodAffinity" => pod::reaches_across(pod),
        _ => false,
    }
}

/// A claim counts for every class it has, had or is changing to.
fn claim_is_in(requirement: &Value, claim: &Value) -> bool {
    const CLASSES: [&str; 3] = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    let names: Vec<&str> =
        CLASSES.iter().map(|path| str_at(claim, path)).filter(|name| !name.is_empty()).collect();
    str_at(requirement, "scopeName") == "VolumeAttributesClass" && holds(requirement, &names)
}

/// Whether one of the names satisfies the requirement, or their absence does.
fn holds(requirement: &Value, names: &[&str]) -> bool {
    let values = strings_at(requirement, "values");
    match str_at(requirement, "operator") {
        "In" => names.iter().any(|name| values.contains(name)),
        "NotIn" => names.is_empty() || names.iter().any(|name| !values.contains(name)),
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        _ => false,
    }
}
