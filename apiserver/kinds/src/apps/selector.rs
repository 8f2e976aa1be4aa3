//! The selector of a workload: required, not empty, and true of the template's labels.

use schema::selectors::labels::Selector;
use serde_json::Value;

use crate::field::{self, BadValue, Error, Path};
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, list_at, map_at};

/// Everything wrong with the selector in `spec`.
pub(crate) fn validate(spec: &Value, path: &Path) -> Vec<Error> {
    let path = path.child("selector");
    let Some(selector) = at(spec, "selector") else { return vec![field::required(&path, "")] };
    let mut errors = validate_label_selector(spec, "selector", Leniency::default(), &path);
    if is_empty(selector) {
        errors.push(field::invalid(
            &path,
            printed(Some(selector)),
            "empty selector is invalid for deployment",
        ));
    }
    errors
}

fn is_empty(selector: &Value) -> bool {
    map_at(selector, "matchLabels").is_none_or(serde_json::Map::is_empty)
        && list_at(selector, "matchExpressions").is_empty()
}

/// Whether upstream can evaluate the selector. What it cannot is told beyond the rules of [`validate`].
pub(crate) fn is_usable(spec: &Value) -> bool {
    validate_label_selector(spec, "selector", Leniency::default(), &Path::root()).is_empty()
}

/// Whether the selector in `spec` selects pods with the labels of `template`. An absent selector selects nothing.
pub(crate) fn matches_template(spec: &Value, template: &Value) -> bool {
    let labels = map_at(template, "metadata.labels");
    Selector::from_tree(at(spec, "selector"))
        .is_ok_and(|selector| selector.matches(|key| labels?.get(key)?.as_str()))
}

/// Whether the selector restricts nothing. An absent one is not empty: it selects nothing.
pub(crate) fn selects_all(spec: &Value) -> bool {
    at(spec, "selector").is_some_and(is_empty)
}

/// The selector as Go prints it: labels before expressions.
pub(crate) fn printed(selector: Option<&Value>) -> BadValue {
    let Some(selector) = selector else { return BadValue::Json(Value::Null) };
    let part = |name: &str| at(selector, name).map(|value| format!("\"{name}\":{}", field::go_json(value)));
    let parts: Vec<String> = ["matchLabels", "matchExpressions"].into_iter().filter_map(part).collect();
    BadValue::Printed(format!("{{{}}}", parts.join(",")))
}

/// What is wrong with a selector that has changed.
pub(crate) fn immutable(new: &Value, old: &Value) -> Option<Error> {
    let (new, old) = (at(new, "spec.selector"), at(old, "spec.selector"));
    let same = crate::tree::same(new, old);
    (!same).then(|| field::invalid(&Path::new("spec.selector"), printed(new), crate::meta::IMMUTABLE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_match_labels() {
        let template = json!({"metadata": {"labels": {"app": "x", "tier": "web"}}});
        for (selector, matches) in [
            (json!({"matchLabels": {"app": "x"}}), true),
            (json!({"matchLabels": {"app": "y"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            (json!({}), true),
        ] {
            assert_eq!(matches_template(&json!({"selector": selector}), &template), matches, "{selector}");
        }
    }
}
