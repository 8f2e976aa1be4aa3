//! What is wrong with the spec of an access review. The Status that carries it names no kind.

use crate::Tree;

/// How a cause begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `Invalid value: VALUE: DETAIL`
    Invalid,
    /// `Required value: DETAIL`
    Required,
    /// `Forbidden: DETAIL`
    Forbidden,
}

/// One cause of a 422.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Field path.
    pub field: String,
    /// How it begins.
    pub kind: FaultKind,
    /// The value as the text shows it; null unless invalid.
    pub value: Tree,
    /// What is wrong.
    pub detail: String,
}

impl Fault {
    fn invalid(field: &str, value: Tree, detail: &str) -> Fault {
        Fault { field: field.to_owned(), kind: FaultKind::Invalid, value, detail: detail.to_owned() }
    }

    fn required(field: String, detail: &str) -> Fault {
        Fault { field, kind: FaultKind::Required, value: Tree::Null, detail: detail.to_owned() }
    }
}

/// The faults of a SubjectAccessReview, SelfSubjectAccessReview or LocalSubjectAccessReview, in
/// upstream's order. `namespace` is that of the request.
pub fn review_faults(kind: &str, review: &Tree, namespace: &str) -> Vec<Fault> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut faults = Vec::new();
    if resource.is_object() && path.is_object() {
        let detail = "cannot be specified in combination with resourceAttributes";
        faults.push(Fault::invalid("spec.nonResourceAttributes", path_value(path), detail));
    }
    if !resource.is_object() && !path.is_object() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        faults.push(Fault::invalid("spec.resourceAttributes", Tree::Null, detail));
    }
    let has_user = spec["user"].as_str().is_some_and(|user| !user.is_empty());
    let has_groups = spec["groups"].as_array().is_some_and(|groups| !groups.is_empty());
    if kind != "SelfSubjectAccessReview" && !has_user && !has_groups {
        faults.push(Fault::invalid(
            "spec.user",
            "".into(),
            "at least one of user or group must be specified",
        ));
    }
    for selector in ["fieldSelector", "labelSelector"] {
        selector_faults(selector, &resource[selector], &mut faults);
    }
    metadata_faults(kind, review, namespace, &mut faults);
    if kind == "LocalSubjectAccessReview" {
        let asked = resource["namespace"].as_str().unwrap_or_default();
        if resource.is_object() && asked != namespace {
            let field = "spec.resourceAttributes.namespace";
            faults.push(Fault::invalid(field, asked.into(), "must match metadata.namespace"));
        }
        if path.is_object() {
            let detail = "disallowed on this kind of request";
            faults.push(Fault::invalid("spec.nonResourceAttributes", path_value(path), detail));
        }
    }
    faults
}

/// Only managed fields, and the namespace of the local kind, may be there.
fn metadata_faults(kind: &str, review: &Tree, namespace: &str, faults: &mut Vec<Fault>) {
    let is_local = kind == "LocalSubjectAccessReview";
    let allowed = |(field, value): (&String, &Tree)| match field.as_str() {
        "managedFields" | "creationTimestamp" => true,
        "namespace" => is_local && *value == namespace,
        _ => value.is_null(),
    };
    if !review["metadata"].as_object().is_none_or(|fields| fields.iter().all(allowed)) {
        let detail = if is_local { "must be empty except for namespace" } else { "must be empty" };
        faults.push(Fault::invalid("metadata", review["metadata"].clone(), detail));
    }
}

fn selector_faults(name: &str, selector: &Tree, faults: &mut Vec<Fault>) {
    if !selector.is_object() {
        return;
    }
    let path = format!("spec.resourceAttributes.{name}");
    let raw = selector["rawSelector"].as_str().unwrap_or_default();
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !raw.is_empty() && !requirements.is_empty() {
        let detail = "may not specified at the same time as requirements";
        faults.push(Fault::invalid(&format!("{path}.rawSelector"), raw.into(), detail));
    }
    if raw.is_empty() && requirements.is_empty() {
        let detail = format!("when {path} is specified, requirements or rawSelector is required");
        faults.push(Fault::required(format!("{path}.requirements"), &detail));
    }
    for (index, requirement) in requirements.iter().enumerate() {
        requirement_faults(&format!("{path}.requirements[{index}]"), requirement, faults);
    }
}

/// Unknown operators pass: newer clients may know more than this server.
fn requirement_faults(path: &str, requirement: &Tree, faults: &mut Vec<Fault>) {
    if requirement["key"].as_str().is_none_or(str::is_empty) {
        faults.push(Fault::required(format!("{path}.key"), "must be specified"));
    }
    let has_values = requirement["values"].as_array().is_some_and(|values| !values.is_empty());
    match requirement["operator"].as_str().unwrap_or_default() {
        "In" | "NotIn" if !has_values => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            faults.push(Fault::required(format!("{path}.values"), detail));
        }
        "Exists" | "DoesNotExist" if has_values => faults.push(Fault {
            field: format!("{path}.values"),
            kind: FaultKind::Forbidden,
            value: Tree::Null,
            detail: "may not be specified when `operator` is 'Exists' or 'DoesNotExist'".to_owned(),
        }),
        _ => {}
    }
}

/// The attributes as Go prints the internal type.
fn path_value(path: &Tree) -> Tree {
    let field = |name: &str| path[name].as_str().unwrap_or_default().to_owned();
    serde_json::json!({"Path": field("path"), "Verb": field("verb")})
}
