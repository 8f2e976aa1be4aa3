//! Validation of label and field selectors inside objects.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::meta::{validate_label_name, validate_labels};
use crate::names::label_value;
use crate::tree::{at, list_at, str_at, strings_at};

/// Where a selector's rules may be looser than usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leniency {
    /// Values that are no label values pass, because what is stored already has some.
    pub any_values: bool,
    /// Operators nobody knows pass, because a wider check follows.
    pub any_operator: bool,
}

/// Everything wrong with the label selector at `name` of `parent`; an absent one is fine.
pub fn validate_label_selector(parent: &Value, name: &str, leniency: Leniency, path: &Path) -> Vec<Error> {
    let Some(selector) = at(parent, name) else { return Vec::new() };
    let mut errors = validate_labels(selector, "matchLabels", &path.child("matchLabels"));
    for (index, requirement) in list_at(selector, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        errors.extend(validate_label_requirement(requirement, leniency, &path));
    }
    errors
}

/// Everything wrong with one `matchExpressions` entry.
pub fn validate_label_requirement(requirement: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let mut errors: Vec<Error> = validate_operator(requirement, leniency, path).into_iter().collect();
    errors.extend(validate_label_name(str_at(requirement, "key"), &path.child("key")));
    if !leniency.any_values {
        for (index, value) in strings_at(requirement, "values").into_iter().enumerate() {
            let path = path.child("values").index(index);
            errors.extend(label_value(value).into_iter().map(|text| field::invalid(&path, value, text)));
        }
    }
    errors
}

/// Everything wrong with one requirement of a field selector.
pub fn validate_field_requirement(requirement: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if str_at(requirement, "key").is_empty() {
        errors.push(field::required(&path.child("key"), "must be specified"));
    }
    errors.extend(validate_operator(requirement, leniency, path));
    errors
}

/// Whether the selector at `name` of `parent` already holds a value that is no label value.
pub fn has_invalid_value(parent: &Value, name: &str) -> bool {
    let Some(selector) = at(parent, name) else { return false };
    list_at(selector, "matchExpressions")
        .iter()
        .flat_map(|requirement| strings_at(requirement, "values"))
        .any(|value| !label_value(value).is_empty())
}

fn validate_operator(requirement: &Value, leniency: Leniency, path: &Path) -> Option<Error> {
    let operator = str_at(requirement, "operator");
    let no_values = list_at(requirement, "values").is_empty();
    let values = path.child("values");
    match operator {
        "In" | "NotIn" => no_values
            .then(|| field::required(&values, "must be specified when `operator` is 'In' or 'NotIn'")),
        "Exists" | "DoesNotExist" => (!no_values).then(|| {
            field::forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        }),
        _ => (!leniency.any_operator)
            .then(|| field::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements() {
        let obj = json!({"s": {"matchLabels": {"a b": "c"}, "matchExpressions": [
            {"key": "k", "operator": "In"},
            {"key": "k", "operator": "Exists", "values": ["x"]},
            {"key": "k", "operator": "Near", "values": ["a b"]}]}});
        let errors = validate_label_selector(&obj, "s", Leniency::default(), &Path::new("s"));
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "s.matchLabels",
                "s.matchExpressions[0].values",
                "s.matchExpressions[1].values",
                "s.matchExpressions[2].operator",
                "s.matchExpressions[2].values[0]",
            ]
        );
    }
}
