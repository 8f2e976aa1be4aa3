//! Selectors that follow the pod's own labels: `matchLabelKeys` and `mismatchLabelKeys` become requirements on create.

use serde_json::{Value, json};

use crate::tree::{at, list_at, list_at_mut, map_at, set, strings_at};

/// Merges the keys of every affinity term and spread constraint into its selector.
pub(super) fn merge(pod: &mut Value) {
    let labels = map_at(pod, "metadata.labels").cloned().unwrap_or_default();
    let merge = |owner: &mut Value| merge_into(owner, &labels);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let weighted = format!("spec.affinity.{kind}.preferredDuringSchedulingIgnoredDuringExecution");
        for term in list_at_mut(pod, &weighted) {
            if let Some(term) = term.get_mut("podAffinityTerm") {
                merge(term);
            }
        }
        let required = format!("spec.affinity.{kind}.requiredDuringSchedulingIgnoredDuringExecution");
        list_at_mut(pod, &required).iter_mut().for_each(merge);
    }
    list_at_mut(pod, "spec.topologySpreadConstraints").iter_mut().for_each(merge);
}

fn merge_into(owner: &mut Value, labels: &serde_json::Map<String, Value>) {
    if at(owner, "labelSelector").is_none() {
        // Without a selector nothing matches, whatever the keys say.
        return;
    }
    let mut expressions = list_at(owner, "labelSelector.matchExpressions").to_vec();
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in strings_at(owner, list) {
            if let Some(value) = labels.get(key) {
                expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    if !expressions.is_empty() {
        set(owner, "labelSelector.matchExpressions", expressions);
    }
}
