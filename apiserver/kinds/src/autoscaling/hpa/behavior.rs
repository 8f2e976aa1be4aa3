//! How fast an autoscaler may act: defaults, rules, and the shape in which version 1 carries it.

use serde_json::{Map, Value, json};

use crate::field::{self, Error, Path};
use crate::meta::NOT_NEGATIVE;
use crate::quantity;
use crate::tree::{at, int_at, list_at, set, str_at};

const WINDOW_SECONDS_MAX: i64 = 3600;
const PERIOD_SECONDS_MAX: i64 = 1800;

/// Fills what a behavior leaves open.
pub(super) fn default(obj: &mut Value) {
    if at(obj, "spec.behavior").is_none() {
        return;
    }
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]});
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    for (path, rules) in [("spec.behavior.scaleUp", up), ("spec.behavior.scaleDown", down)] {
        let mut rules = rules.as_object().cloned().expect("written as one");
        let given = at(obj, path).and_then(Value::as_object).cloned().unwrap_or_default();
        rules.extend(given.into_iter().filter(|(_, value)| !value.is_null()));
        set(obj, path, rules);
    }
}

/// Everything wrong with the behavior.
pub(super) fn errors(spec: &Value, path: &Path) -> Vec<Error> {
    ["scaleUp", "scaleDown"]
        .into_iter()
        .filter_map(|name| Some((name, at(spec, &format!("behavior.{name}"))?)))
        .flat_map(|(name, rules)| rule_errors(rules, &path.child(name)))
        .collect()
}

fn rule_errors(rules: &Value, path: &Path) -> Vec<Error> {
    const SELECT: [&str; 3] = ["Disabled", "Max", "Min"];
    let mut errors = Vec::new();
    let window_path = path.child("stabilizationWindowSeconds");
    match int_at(rules, "stabilizationWindowSeconds") {
        Some(window) if window < 0 => {
            errors.push(field::invalid(&window_path, window, "must be greater than or equal to zero"));
        }
        Some(window) if window > WINDOW_SECONDS_MAX => {
            let text = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
            errors.push(field::invalid(&window_path, window, text));
        }
        _ => {}
    }
    let select = at(rules, "selectPolicy").and_then(Value::as_str);
    if let Some(select) = select.filter(|select| !SELECT.contains(select)) {
        errors.push(field::not_supported(&path.child("selectPolicy"), select, &SELECT));
    }
    let policies = list_at(rules, "policies");
    let policies_path = path.child("policies");
    if policies.is_empty() {
        errors.push(field::required(&policies_path, "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        errors.extend(policy_errors(policy, &policies_path.index(index)));
    }
    if let Some(tolerance) = at(rules, "tolerance").filter(|value| quantity::of(value).sign() < 0) {
        let path = path.child("tolerance");
        errors.push(field::invalid(&path, quantity::of(tolerance).to_string(), NOT_NEGATIVE));
    }
    errors
}

fn policy_errors(policy: &Value, path: &Path) -> Vec<Error> {
    const TYPES: [&str; 2] = ["Percent", "Pods"];
    let mut errors = Vec::new();
    let ty = str_at(policy, "type");
    if !TYPES.contains(&ty) {
        errors.push(field::not_supported(&path.child("type"), ty, &TYPES));
    }
    for name in ["value", "periodSeconds"] {
        let number = int_at(policy, name).unwrap_or(0);
        if number <= 0 {
            errors.push(field::invalid(&path.child(name), number, "must be greater than zero"));
        }
    }
    let period = int_at(policy, "periodSeconds").unwrap_or(0);
    if period > PERIOD_SECONDS_MAX {
        let text = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
        errors.push(field::invalid(&path.child("periodSeconds"), period, text));
    }
    errors
}

/// A behavior out of version 1's annotation, which has Go's names; an empty one counts as none.
pub(super) fn from_internal(internal: &Value) -> Option<Value> {
    let behavior = renamed(internal);
    let is_empty = behavior.as_object().is_none_or(Map::is_empty);
    (!is_empty).then_some(behavior)
}

/// Names with a small first letter, and no nulls.
fn renamed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (lower_first(name), renamed(value)))
            .collect(),
        Value::Array(items) => items.iter().map(renamed).collect(),
        other => other.clone(),
    }
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
