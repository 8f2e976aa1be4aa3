//! The two policies of a Job: which failures of pods count, and when enough has succeeded.

use serde_json::Value;

use super::indexes;
use crate::core::pod::internal;
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{NOT_NEGATIVE, validate_label_name};
use crate::tree::{at, int_at, list_at, str_at};

const FAILURE_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const SUCCESS_RULES_MAX: usize = 20;
const SUCCEEDED_INDEXES_BYTES_MAX: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// Everything wrong with the pod failure policy of `spec`.
pub(super) fn failure_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let rules = list_at(spec, "podFailurePolicy.rules");
    let path = path.child("rules");
    let mut errors = Vec::new();
    if rules.len() > FAILURE_RULES_MAX {
        errors.push(field::too_many(&path, rules.len(), FAILURE_RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(failure_rule_errors(spec, rule, &path.index(index)));
    }
    errors
}

fn failure_rule_errors(spec: &Value, rule: &Value, path: &Path) -> Vec<Error> {
    let action_path = path.child("action");
    let mut errors = Vec::new();
    match str_at(rule, "action") {
        "" => errors.push(field::required(&action_path, valid_values(&ACTIONS))),
        "FailIndex" if at(spec, "backoffLimitPerIndex").is_none() => {
            let text = "requires the backoffLimitPerIndex to be set";
            errors.push(field::invalid(&action_path, "FailIndex", text));
        }
        action if !ACTIONS.contains(&action) => {
            errors.push(field::not_supported(&action_path, action, &ACTIONS));
        }
        _ => {}
    }
    let codes = at(rule, "onExitCodes");
    let conditions = list_at(rule, "onPodConditions");
    if let Some(codes) = codes {
        errors.extend(exit_code_errors(spec, codes, &path.child("onExitCodes")));
    }
    errors.extend(condition_errors(conditions, &path.child("onPodConditions")));
    let text = match (codes.is_some(), conditions.is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return errors,
    };
    errors.push(field::invalid(path, BadValue::Omitted, text));
    errors
}

/// Go's print of a list of quoted words.
fn valid_values(values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|value| field::quote(value)).collect();
    format!("valid values: [{}]", values.join(" "))
}

fn one_of(value: &str, allowed: &[&str], path: &Path) -> Option<Error> {
    match value {
        "" => Some(field::required(path, valid_values(allowed))),
        value if !allowed.contains(&value) => Some(field::not_supported(path, value, allowed)),
        _ => None,
    }
}

fn exit_code_errors(spec: &Value, codes: &Value, path: &Path) -> Vec<Error> {
    let operator = str_at(codes, "operator");
    let mut errors: Vec<Error> = one_of(operator, &OPERATORS, &path.child("operator")).into_iter().collect();
    let mut containers =
        list_at(spec, "template.spec.containers").iter().chain(list_at(spec, "template.spec.initContainers"));
    if let Some(name) = at(codes, "containerName").and_then(Value::as_str)
        && !containers.any(|container| str_at(container, "name") == name)
    {
        let text = "must be one of the container or initContainer names in the pod template";
        errors.push(field::invalid(&path.child("containerName"), name, text));
    }
    errors.extend(code_value_errors(codes, operator, &path.child("values")));
    errors
}

fn code_value_errors(codes: &Value, operator: &str, path: &Path) -> Vec<Error> {
    let values: Vec<i64> = list_at(codes, "values").iter().filter_map(Value::as_i64).collect();
    let mut errors = Vec::new();
    if values.is_empty() {
        errors.push(field::invalid(path, at(codes, "values"), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        errors.push(field::too_many(path, values.len(), EXIT_CODES_MAX));
    }
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        if operator == "In" && *value == 0 {
            errors.push(field::invalid(&path, *value, "must not be 0 for the In operator"));
        }
        if values[..index].contains(value) {
            errors.push(field::duplicate(&path, *value));
        }
    }
    if !values.is_sorted() {
        errors.push(field::invalid(path, at(codes, "values"), "must be ordered"));
    }
    errors
}

fn condition_errors(conditions: &[Value], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if conditions.len() > CONDITIONS_MAX {
        errors.push(field::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        errors.extend(validate_label_name(str_at(condition, "type"), &path.child("type")));
        errors.extend(one_of(str_at(condition, "status"), &STATUSES, &path.child("status")));
    }
    errors
}

/// Everything wrong with the success policy of `spec`.
pub(super) fn success_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(policy) = at(spec, "successPolicy") else { return Vec::new() };
    if str_at(spec, "completionMode") != "Indexed" {
        let value = internal::bad_value("SuccessPolicy", Some(policy));
        return vec![field::invalid(path, value, "requires indexed completion mode")];
    }
    let rules = list_at(policy, "rules");
    let path = path.child("rules");
    let mut errors = Vec::new();
    if rules.is_empty() {
        let text = "at least one rules must be specified when the successPolicy is specified";
        errors.push(field::required(&path, text));
    }
    if rules.len() > SUCCESS_RULES_MAX {
        errors.push(field::too_many(&path, rules.len(), SUCCESS_RULES_MAX));
    }
    let completions = int_at(spec, "completions").unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(success_rule_errors(rule, completions, &path.index(index)));
    }
    errors
}

fn success_rule_errors(rule: &Value, completions: i64, path: &Path) -> Vec<Error> {
    let indexes = at(rule, "succeededIndexes").and_then(Value::as_str);
    let count = int_at(rule, "succeededCount");
    let mut errors = Vec::new();
    if indexes.is_none() && count.is_none() {
        let text = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(field::required(path, text));
    }
    let mut named = 0;
    if let Some(indexes) = indexes {
        let path = path.child("succeededIndexes");
        if indexes.len() > SUCCEEDED_INDEXES_BYTES_MAX {
            errors.push(field::too_long(&path, SUCCEEDED_INDEXES_BYTES_MAX));
        }
        match indexes::count(indexes, completions) {
            Ok(count) => named = count,
            Err(text) => {
                let text = format!("error parsing succeededIndexes: {text}");
                errors.push(field::invalid(&path, indexes, text));
            }
        }
    }
    let Some(count) = count else { return errors };
    let path = path.child("succeededCount");
    if count < 0 {
        errors.push(field::invalid(&path, count, NOT_NEGATIVE));
    }
    if count > completions {
        let text =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(field::invalid(&path, count, text));
    }
    if indexes.is_some() && count > named {
        let text = format!(
            "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(field::invalid(&path, count, text));
    }
    errors
}
