//! Options of the `log` subresource.

use serde_json::Value;

use super::validate::whole;
use crate::field::{self, Error, Path};
use crate::meta::NOT_NEGATIVE;
use crate::tree::{at, int_at};

/// Kind by which an Invalid answer calls the options; their name is the pod's.
pub const ERROR_KIND: (&str, &str) = ("PodLogOptions", "");

/// Everything wrong with the options of a log request, given as a `PodLogOptions` tree.
pub fn validate(options: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(lines) = int_at(options, "tailLines").filter(|lines| *lines < 0) {
        errors.push(field::invalid(&Path::new("tailLines"), lines, NOT_NEGATIVE));
    }
    let since_time = at(options, "sinceTime").is_some();
    for name in ["limitBytes", "sinceSeconds"] {
        let Some(number) = int_at(options, name) else { continue };
        if name == "sinceSeconds" && since_time {
            let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(field::forbidden(&whole(), text));
        } else if number < 1 {
            errors.push(field::invalid(&Path::new(name), number, "must be greater than 0"));
        }
    }
    if at(options, "stream").is_some() {
        errors.push(field::forbidden(&Path::new("stream"), "may not be specified"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(options: Value, errors: &[&str]) {
        let texts: Vec<String> = validate(&options).iter().map(ToString::to_string).collect();
        assert_eq!(texts, errors);
    }

    #[test]
    fn numbers_are_in_range_and_times_exclude_each_other() {
        check(json!({"tailLines": 0, "limitBytes": 1}), &[]);
        check(
            json!({"tailLines": -1, "limitBytes": 0, "sinceSeconds": 0}),
            &[
                "tailLines: Invalid value: -1: must be greater than or equal to 0",
                "limitBytes: Invalid value: 0: must be greater than 0",
                "sinceSeconds: Invalid value: 0: must be greater than 0",
            ],
        );
        check(
            json!({"sinceSeconds": 1, "sinceTime": "2020-01-01T00:00:00Z"}),
            &["[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"],
        );
    }
}
