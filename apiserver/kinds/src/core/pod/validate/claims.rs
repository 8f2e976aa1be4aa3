//! Claims of dynamic resources: those of the pod, and the containers' references to them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::annotations::{MIRROR, annotation};
use super::{Path, label, subdomain, whole};
use crate::core::pod::internal;
use crate::field::{self, Error};
use crate::tree::{at, list_at, str_at};

/// The names of the pod's claims.
pub(super) fn names(spec: &Value) -> BTreeSet<&str> {
    list_at(spec, "resourceClaims")
        .iter()
        .map(|claim| str_at(claim, "name"))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Everything wrong with the pod's claims.
pub(super) fn validate(spec: &Value, pod_meta: Option<&Value>, path: &Path) -> Vec<Error> {
    let is_mirror =
        pod_meta.is_some_and(|meta| annotation(&serde_json::json!({"metadata": meta}), MIRROR).is_some());
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, claim) in list_at(spec, "resourceClaims").iter().enumerate() {
        if is_mirror {
            errors.push(field::forbidden(&whole(), "static pods do not support resource claims"));
        } else {
            errors.extend(claim_errors(claim, &mut seen, &path.index(index)));
        }
    }
    errors
}

fn claim_errors<'a>(claim: &'a Value, seen: &mut BTreeSet<&'a str>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let name = str_at(claim, "name");
    let name_path = path.child("name");
    if name.is_empty() {
        errors.push(field::required(&name_path, ""));
    } else if seen.contains(name) {
        errors.push(field::duplicate(&name_path, name));
    } else {
        errors.extend(label(name, &name_path));
        seen.insert(name);
    }
    let (claim_name, template) = (at(claim, "resourceClaimName"), at(claim, "resourceClaimTemplateName"));
    let text = match (claim_name, template) {
        (Some(_), Some(_)) => {
            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
        }
        (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        _ => "",
    };
    if !text.is_empty() {
        errors.push(field::invalid(path, internal::bad_value("PodResourceClaim", Some(claim)), text));
    }
    for name in ["resourceClaimName", "resourceClaimTemplateName"] {
        if let Some(value) = at(claim, name).and_then(Value::as_str) {
            errors.extend(subdomain(value, &path.child(name)));
        }
    }
    errors
}

/// Everything wrong with a container's references to the pod's claims.
pub(super) fn references(claims: &[Value], of_pod: &BTreeSet<&str>, path: &Path) -> Vec<Error> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let (name, request) = (str_at(claim, "name"), str_at(claim, "request"));
        if name.is_empty() {
            errors.push(field::required(&path, ""));
            continue;
        }
        if seen.contains(name) {
            errors.push(field::duplicate(&path, name));
        } else {
            errors.extend(reference_errors(name, request, &seen, &path));
            seen.insert(if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") });
        }
        if !of_pod.contains(name) {
            let mut error = field::not_found(&path, name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            error.detail += &match of_pod.is_empty() {
                true => " which is empty".to_owned(),
                false => format!(": {}", of_pod.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            errors.push(error);
        }
    }
    errors
}

/// A claim is referred to as a whole once, or request by request.
fn reference_errors(name: &str, request: &str, seen: &BTreeSet<String>, path: &Path) -> Vec<Error> {
    if request.is_empty() {
        let prefix = format!("{name}/");
        return seen
            .iter()
            .filter(|key| key.starts_with(&prefix))
            .map(|_| field::duplicate(path, name))
            .collect();
    }
    let mut errors = label(request, &path.child("request"));
    let key = format!("{name}/{request}");
    if seen.contains(&key) {
        errors.push(field::duplicate(path, key));
    }
    errors
}
