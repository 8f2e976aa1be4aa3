//! Kinds of the authorization.k8s.io group. They are questions: validated, answered, never stored.

use serde_json::{Value, json};

use crate::field::{self, BadValue, Error, Path};
use crate::selector::{Leniency, validate_field_requirement, validate_label_requirement};
use crate::tree::{at, list_at, str_at};
use crate::{Resource, Strategy, Subresource, meta};

/// Errors of this group name no kind.
const ERROR_KIND: (&str, &str) = ("", "authorization.k8s.io");

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![
        &SubjectAccessReviews,
        &LocalSubjectAccessReviews,
        &SelfSubjectAccessReviews,
        &SelfSubjectRulesReviews,
    ]
}

/// The strategy of SubjectAccessReviews.
struct SubjectAccessReviews;

impl Strategy for SubjectAccessReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authorization.k8s.io", "v1", "subjectaccessreviews")
    }

    fn error_kind(&self) -> (&'static str, &'static str) {
        ERROR_KIND
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors: Vec<Error> = validate_attributes(obj).into_iter().collect();
        errors.extend(validate_subject(obj));
        errors.extend(validate_selectors(obj));
        errors.extend(validate_metadata(obj, &[], "must be empty"));
        errors
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}

/// The strategy of LocalSubjectAccessReviews.
struct LocalSubjectAccessReviews;

impl Strategy for LocalSubjectAccessReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authorization.k8s.io", "v1", "localsubjectaccessreviews")
    }

    fn error_kind(&self) -> (&'static str, &'static str) {
        ERROR_KIND
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors: Vec<Error> = validate_attributes(obj).into_iter().collect();
        errors.extend(validate_subject(obj));
        errors.extend(validate_selectors(obj));
        errors.extend(validate_metadata(obj, &["namespace"], "must be empty except for namespace"));
        let namespace = str_at(obj, "spec.resourceAttributes.namespace");
        if at(obj, "spec.resourceAttributes").is_some() && namespace != str_at(obj, "metadata.namespace") {
            let path = Path::new("spec.resourceAttributes.namespace");
            errors.push(field::invalid(&path, namespace, "must match metadata.namespace"));
        }
        if let Some(attributes) = at(obj, "spec.nonResourceAttributes") {
            let path = Path::new("spec.nonResourceAttributes");
            let printed = print_non_resource(Some(attributes));
            errors.push(field::invalid(&path, printed, "disallowed on this kind of request"));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}

/// The strategy of SelfSubjectAccessReviews.
struct SelfSubjectAccessReviews;

impl Strategy for SelfSubjectAccessReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    }

    fn error_kind(&self) -> (&'static str, &'static str) {
        ERROR_KIND
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors: Vec<Error> = validate_attributes(obj).into_iter().collect();
        errors.extend(validate_selectors(obj));
        errors.extend(validate_metadata(obj, &[], "must be empty"));
        errors
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}

/// The strategy of SelfSubjectRulesReviews.
struct SelfSubjectRulesReviews;

impl Strategy for SelfSubjectRulesReviews {
    fn resource(&self) -> &'static Resource {
        crate::resource!("authorization.k8s.io", "v1", "selfsubjectrulesreviews")
    }

    fn bad_request(&self, obj: &Value) -> Option<String> {
        str_at(obj, "spec.namespace").is_empty().then(|| "no namespace on request".to_owned())
    }

    fn validate(&self, _obj: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }
}

/// A review asks about a resource or about a path.
fn validate_attributes(obj: &Value) -> Option<Error> {
    let spec = Path::new("spec");
    let non_resource = at(obj, "spec.nonResourceAttributes");
    match (at(obj, "spec.resourceAttributes").is_some(), non_resource.is_some()) {
        (true, true) => {
            let text = "cannot be specified in combination with resourceAttributes";
            Some(field::invalid(&spec.child("nonResourceAttributes"), print_non_resource(non_resource), text))
        }
        (false, false) => {
            let text = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Some(field::invalid(&spec.child("resourceAttributes"), print_non_resource(None), text))
        }
        _ => None,
    }
}

fn print_non_resource(attributes: Option<&Value>) -> BadValue {
    let Some(attributes) = attributes else { return BadValue::Json(Value::Null) };
    let json = |name: &str| field::go_json(&json!(str_at(attributes, name)));
    BadValue::Printed(format!("{{\"Path\":{},\"Verb\":{}}}", json("path"), json("verb")))
}

fn validate_subject(obj: &Value) -> Option<Error> {
    let is_nobody = str_at(obj, "spec.user").is_empty() && list_at(obj, "spec.groups").is_empty();
    let text = "at least one of user or group must be specified";
    is_nobody.then(|| field::invalid(&Path::new("spec.user"), "", text))
}

fn validate_selectors(obj: &Value) -> Vec<Error> {
    // Operators this server does not know may come from a newer client, and deny nothing.
    let leniency = Leniency { any_operator: true, any_values: false };
    let path = Path::new("spec.resourceAttributes");
    let mut errors = Vec::new();
    for (name, rule) in [
        ("fieldSelector", validate_field_requirement as fn(&Value, Leniency, &Path) -> Vec<Error>),
        ("labelSelector", validate_label_requirement),
    ] {
        let path = path.child(name);
        let Some(selector) = at(obj, path.as_str()) else { continue };
        let requirements = list_at(selector, "requirements");
        let raw = str_at(selector, "rawSelector");
        match (raw.is_empty(), requirements.is_empty()) {
            (false, false) => {
                let text = "may not specified at the same time as requirements";
                errors.push(field::invalid(&path.child("rawSelector"), raw, text));
            }
            (true, true) => {
                let text = format!("when {path} is specified, requirements or rawSelector is required");
                errors.push(field::required(&path.child("requirements"), text));
            }
            _ => {}
        }
        for (index, requirement) in requirements.iter().enumerate() {
            errors.extend(rule(requirement, leniency, &path.child("requirements").index(index)));
        }
    }
    errors
}

/// A question has no identity. What the server itself noted about the writer does not count.
fn validate_metadata(obj: &Value, allowed: &[&str], text: &str) -> Option<Error> {
    let metadata = at(obj, "metadata")?.as_object()?;
    let empty = |value: &Value| {
        matches!(value, Value::Null) || *value == json!("") || *value == json!({}) || *value == json!([])
    };
    let is_empty = metadata
        .iter()
        .all(|(name, value)| name == "managedFields" || allowed.contains(&name.as_str()) || empty(value));
    (!is_empty).then(|| field::invalid(&Path::new("metadata"), BadValue::Printed(meta::print(obj)), text))
}
