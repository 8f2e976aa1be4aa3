//! Selectors of other pods: the terms of pod affinity, and label keys whose values come from the pod itself.

use serde_json::Value;

use super::Path;
use crate::field::{self, Error};
use crate::meta::validate_label_name;
use crate::tree::{at, list_at, map_at, str_at, strings_at};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Every term of the pod's affinity and anti-affinity to other pods.
pub(crate) fn pod_affinity_terms(spec: &Value) -> impl Iterator<Item = &Value> {
    ["podAffinity", "podAntiAffinity"].into_iter().flat_map(move |kind| {
        let weighted = list_at(spec, &format!("affinity.{kind}.{PREFERRED}")).iter();
        let required = list_at(spec, &format!("affinity.{kind}.{REQUIRED}")).iter();
        weighted.filter_map(|term| at(term, "podAffinityTerm")).chain(required)
    })
}

/// Everything wrong with `matchLabelKeys` and `mismatchLabelKeys` of a term or spread constraint, whose selector already
/// holds what was made of them.
pub(super) fn label_keys(owner: &Value, path: &Path) -> Vec<Error> {
    let (matching, mismatching) =
        (strings_at(owner, "matchLabelKeys"), strings_at(owner, "mismatchLabelKeys"));
    let mut errors = Vec::new();
    for (name, keys) in [("matchLabelKeys", &matching), ("mismatchLabelKeys", &mismatching)] {
        let path = path.child(name);
        if !keys.is_empty() && at(owner, "labelSelector").is_none() {
            errors.push(field::forbidden(&path, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            errors.extend(validate_label_name(key, &path.index(index)));
        }
    }
    errors.extend(selected_twice(owner, &matching, path));
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let path = path.child("matchLabelKeys").index(index);
        errors.push(field::invalid(&path, *key, "exists in both matchLabelKeys and mismatchLabelKeys"));
    }
    errors
}

/// A key that the selector names beside the requirement made of `matchLabelKeys`.
fn selected_twice(owner: &Value, matching: &[&str], path: &Path) -> Vec<Error> {
    let mut seen: Vec<&str> = map_at(owner, "labelSelector.matchLabels")
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    let mut errors = Vec::new();
    for expression in list_at(owner, "labelSelector.matchExpressions") {
        let key = str_at(expression, "key");
        if let Some(index) =
            matching.iter().rposition(|candidate| *candidate == key).filter(|_| seen.contains(&key))
        {
            let text = "exists in both matchLabelKeys and labelSelector";
            errors.push(field::invalid(&path.index(index), key, text));
        }
        seen.push(key);
    }
    errors
}

/// The rule for spread constraints that were stored before keys were merged into the selector.
pub(super) fn old_label_keys(constraint: &Value, path: &Path) -> Vec<Error> {
    let keys = strings_at(constraint, "matchLabelKeys");
    if keys.is_empty() {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if at(constraint, "labelSelector").is_none() {
        errors.push(field::forbidden(path, "must not be specified when labelSelector is not set"));
    }
    let in_labels = |key: &str| {
        at(constraint, "labelSelector.matchLabels").is_some_and(|labels| labels.get(key).is_some())
    };
    let in_expressions = |key: &str| {
        list_at(constraint, "labelSelector.matchExpressions")
            .iter()
            .any(|expression| str_at(expression, "key") == key)
    };
    for (index, key) in keys.into_iter().enumerate() {
        let path = path.index(index);
        errors.extend(validate_label_name(key, &path));
        if in_labels(key) || in_expressions(key) {
            errors.push(field::invalid(&path, key, "exists in both matchLabelKeys and labelSelector"));
        }
    }
    errors
}
