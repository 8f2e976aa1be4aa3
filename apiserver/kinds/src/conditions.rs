//! Conditions as the common meta group has them: typed, with a reason and the time of their last change.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::meta::validate_label_name;
use crate::names::pattern;
use crate::tree::{int_at, list_at, str_at};

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
const REASON: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
const REASON_TEXT: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
const REASON_EXAMPLES: [&str; 5] = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];

/// Everything wrong with the conditions of `status`.
pub(crate) fn validate(status: &Value, path: &Path) -> Vec<Error> {
    let conditions = list_at(status, "conditions");
    let mut errors = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let ty = str_at(condition, "type");
        if conditions[..index].iter().any(|before| str_at(before, "type") == ty) {
            errors.push(field::duplicate(&path.child("type"), ty));
        }
        errors.extend(validate_one(condition, &path));
    }
    errors
}

fn validate_one(condition: &Value, path: &Path) -> Vec<Error> {
    const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
    let mut errors = validate_label_name(str_at(condition, "type"), &path.child("type"));
    let status = str_at(condition, "status");
    if !STATUSES.contains(&status) {
        errors.push(field::not_supported(&path.child("status"), status, &STATUSES));
    }
    let generation = int_at(condition, "observedGeneration").unwrap_or(0);
    if generation < 0 {
        let text = "must be greater than or equal to zero";
        errors.push(field::invalid(&path.child("observedGeneration"), generation, text));
    }
    if str_at(condition, "lastTransitionTime").is_empty() {
        errors.push(field::required(&path.child("lastTransitionTime"), ""));
    }
    errors.extend(reason_errors(str_at(condition, "reason"), &path.child("reason")));
    if str_at(condition, "message").len() > MESSAGE_BYTES_MAX {
        errors.push(field::too_long(&path.child("message"), MESSAGE_BYTES_MAX));
    }
    errors
}

fn reason_errors(reason: &str, path: &Path) -> Vec<Error> {
    if reason.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    let inside = |c: char| c.is_ascii_alphanumeric() || "_,:".contains(c);
    let is_reason = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && reason.chars().all(inside);
    if !is_reason {
        errors.push(field::invalid(path, reason, pattern(REASON_TEXT, REASON, &REASON_EXAMPLES)));
    }
    if reason.len() > REASON_BYTES_MAX {
        errors.push(field::too_long(path, REASON_BYTES_MAX));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_has_a_type_a_status_a_time_and_a_reason() {
        let fields = |conditions: Value| -> Vec<String> {
            let errors = validate(&json!({"conditions": conditions}), &Path::new("c"));
            errors.into_iter().map(|error| error.field).collect()
        };
        let good = json!({"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R"});
        assert!(fields(json!([good])).is_empty());
        assert_eq!(fields(json!([good, good])), ["c[1].type"]);
        assert_eq!(
            fields(json!([{"type": "a b", "status": "x", "reason": "1"}])),
            ["c[0].type", "c[0].status", "c[0].lastTransitionTime", "c[0].reason"]
        );
    }
}
