//! Templates of the volume claims that are made for a pod's ephemeral volumes.

use serde_json::Value;

use super::{Path, invalid_each, label, subdomain};
use crate::core::claims::ACCESS_MODES;
use crate::field::{self, Error};
use crate::meta::{validate_annotations, validate_labels};
use crate::names::dns_subdomain;
use crate::quantity;
use crate::selector::{self, validate_label_selector};
use crate::tree::{at, map_at, str_at, strings_at};

/// Where a claim's rules may be looser than usual, because what is stored already breaks them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leniency {
    /// Values of the selector that are no label values pass.
    pub(crate) any_values: bool,
    /// API groups of the data source pass, however they are written.
    pub(crate) any_groups: bool,
}

/// Everything wrong with a claim template: labels and annotations are all the metadata it may have.
pub(super) fn template(template: &Value, path: &Path) -> Vec<Error> {
    let null = Value::Null;
    let meta = at(template, "metadata").unwrap_or(&null);
    let meta_path = path.child("metadata");
    let mut errors = validate_annotations(meta, &meta_path.child("annotations"));
    errors.extend(validate_labels(meta, "labels", &meta_path.child("labels")));
    for name in META_FIELDS.iter().filter(|name| at(meta, name).is_some()) {
        errors.push(field::forbidden(&meta_path.child(name_as_printed(name)), "cannot be set"));
    }
    errors.extend(claim_spec(
        at(template, "spec").unwrap_or(&null),
        Leniency::default(),
        &path.child("spec"),
    ));
    errors
}

/// Metadata a template has no use for, in Go's order.
const META_FIELDS: [&str; 13] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Go's field name with a small first letter.
fn name_as_printed(name: &str) -> &str {
    if name == "uid" { "uID" } else { name }
}

/// Everything wrong with the spec of a claim.
pub(crate) fn claim_spec(spec: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let modes_path = path.child("accessModes");
    let of_selector = selector::Leniency { any_values: leniency.any_values, any_operator: false };
    let mut errors = Vec::new();
    if strings_at(spec, "accessModes").is_empty() {
        errors.push(field::required(&modes_path, "at least 1 access mode is required"));
    }
    errors.extend(validate_label_selector(spec, "selector", of_selector, &path.child("selector")));
    errors.extend(access_modes(spec, &modes_path));
    errors.extend(storage(spec, &path.child("resources").key("storage")));
    errors.extend(class_name(spec, "storageClassName", path));
    if let Some(mode) =
        at(spec, "volumeMode").and_then(Value::as_str).filter(|m| !matches!(*m, "Block" | "Filesystem"))
    {
        errors.push(field::not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]));
    }
    errors.extend(data_sources(spec, leniency, path));
    errors.extend(class_name(spec, "volumeAttributesClassName", path));
    errors
}

fn access_modes(spec: &Value, path: &Path) -> Vec<Error> {
    let modes = strings_at(spec, "accessModes");
    let mut errors = Vec::new();
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(field::not_supported(path, *mode, &ACCESS_MODES));
    }
    let (alone, others): (Vec<&str>, Vec<&str>) = modes
        .into_iter()
        .filter(|mode| ACCESS_MODES.contains(mode))
        .partition(|mode| *mode == "ReadWriteOncePod");
    if !alone.is_empty() && !others.is_empty() {
        errors.push(field::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
    errors
}

fn storage(spec: &Value, path: &Path) -> Option<Error> {
    match map_at(spec, "resources.requests").and_then(|requests| requests.get("storage")) {
        None => Some(field::required(path, "")),
        Some(amount) if quantity::of(amount).sign() <= 0 => {
            Some(field::invalid(path, quantity::of(amount).to_string(), "must be greater than zero"))
        }
        Some(_) => None,
    }
}

fn class_name(spec: &Value, name: &str, path: &Path) -> Vec<Error> {
    let value = str_at(spec, name);
    if value.is_empty() { Vec::new() } else { subdomain(value, &path.child(name)) }
}

fn data_sources(spec: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for name in ["dataSource", "dataSourceRef"] {
        if let Some(source) = at(spec, name) {
            errors.extend(data_source(source, leniency, &path.child(name)));
        }
    }
    let (Some(source), Some(reference)) = (at(spec, "dataSource"), at(spec, "dataSourceRef")) else {
        return errors;
    };
    // Upstream prints the path of the field as the bad value: a pointer to a struct without exported fields.
    let elsewhere = !str_at(reference, "namespace").is_empty();
    let differs = ["apiGroup", "kind", "name"].iter().any(|name| at(source, name) != at(reference, name));
    let value = || field::BadValue::Printed("{}".to_owned());
    if elsewhere {
        errors.push(field::invalid(
            path,
            value(),
            "may not be specified when dataSourceRef.namespace is specified",
        ));
    } else if differs {
        errors.push(field::invalid(path, value(), "must match dataSourceRef"));
    }
    errors
}

fn data_source(source: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let (kind, group) = (str_at(source, "kind"), str_at(source, "apiGroup"));
    let mut errors = Vec::new();
    for name in ["name", "kind"] {
        if str_at(source, name).is_empty() {
            errors.push(field::required(&path.child(name), ""));
        }
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(field::invalid(path, kind, text));
    }
    if !group.is_empty() && !leniency.any_groups {
        errors.extend(invalid_each(&path.child("apiGroup"), group, dns_subdomain(group)));
    }
    let namespace = str_at(source, "namespace");
    if !namespace.is_empty() {
        errors.extend(label(namespace, &path.child("namespace")));
    }
    errors
}
