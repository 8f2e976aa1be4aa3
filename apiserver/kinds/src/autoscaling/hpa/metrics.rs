//! What an autoscaler may look at: each metric names one source, a target and, for most sources, the metric.

use serde_json::Value;

use crate::core::pod::validate::resources::container_name;
use crate::field::{self, Error, Path};
use crate::names::{dns_label, path_segment_rule};
use crate::quantity;
use crate::tree::{at, int_at, list_at, str_at};

/// Which `apiVersion` a reference may have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct References {
    /// The core group is allowed.
    pub(super) any_group: bool,
    /// Anything is allowed.
    pub(super) any: bool,
}

const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// Sources in the order in which they are looked at, with the type that names each.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// Everything wrong with the metrics.
pub(super) fn errors(spec: &Value, path: &Path, references: References) -> Vec<Error> {
    let metrics = list_at(spec, "metrics");
    let mut errors = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        errors.extend(metric_errors(metric, &path.index(index), references));
    }
    let wakes = metrics.iter().any(|metric| matches!(str_at(metric, "type"), "Object" | "External"));
    if int_at(spec, "minReplicas") == Some(0) && !wakes {
        let text = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(field::forbidden(path, text));
    }
    errors
}

fn metric_errors(metric: &Value, path: &Path, references: References) -> Vec<Error> {
    let ty = str_at(metric, "type");
    let type_path = path.child("type");
    let mut errors = Vec::new();
    if ty.is_empty() {
        errors.push(field::required(&type_path, "must specify a metric source type"));
    }
    if !TYPES.contains(&ty) {
        errors.push(field::not_supported(&type_path, ty, &TYPES));
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(name, _)| *name).filter(|name| at(metric, name).is_some()).collect();
    if let Some((name, source)) = present.first().and_then(|name| Some((*name, at(metric, name)?))) {
        errors.extend(source_errors(name, source, &path.child(name), references));
    }
    let expected = SOURCES.iter().find(|(_, known)| *known == ty).map(|(name, _)| *name);
    match expected {
        None => errors.push(field::not_supported(&type_path, ty, &TYPES)),
        Some(name) if !present.contains(&name) => {
            let text = "must populate information for the given metric source";
            errors.push(field::required(&path.child(name), text));
        }
        Some(_) => {}
    }
    if present.len() != 1 {
        let extra = present.into_iter().filter(|name| Some(*name) != expected);
        errors.extend(
            extra.map(|name| {
                field::forbidden(&path.child(name), "must populate the given metric source only")
            }),
        );
    }
    errors
}

fn source_errors(name: &str, source: &Value, path: &Path, references: References) -> Vec<Error> {
    match name {
        "object" => object_errors(source, path, references),
        "external" => external_errors(source, path),
        "pods" => pods_errors(source, path),
        "containerResource" => resource_errors(source, path, true),
        _ => resource_errors(source, path, false),
    }
}

fn has(source: &Value, field: &str) -> bool {
    at(source, &format!("target.{field}")).is_some()
}

fn object_errors(source: &Value, path: &Path, references: References) -> Vec<Error> {
    let mut errors = reference_errors(source, "describedObject", path, references);
    errors.extend(identifier_errors(source, path));
    errors.extend(target_errors(source, path));
    if !has(source, "value") && !has(source, "averageValue") {
        let path = path.child("target").child("averageValue");
        errors.push(field::required(&path, "must set either a target value or averageValue"));
    }
    errors
}

fn external_errors(source: &Value, path: &Path) -> Vec<Error> {
    let target = path.child("target");
    let mut errors = identifier_errors(source, path);
    errors.extend(target_errors(source, path));
    match (has(source, "value"), has(source, "averageValue")) {
        (false, false) => {
            let text = "must set either a target value for metric or a per-pod target";
            errors.push(field::required(&target.child("averageValue"), text));
        }
        (true, true) => {
            let text = "may not set both a target value for metric and a per-pod target";
            errors.push(field::forbidden(&target.child("value"), text));
        }
        _ => {}
    }
    errors
}

fn pods_errors(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = identifier_errors(source, path);
    errors.extend(target_errors(source, path));
    if !has(source, "averageValue") {
        let path = path.child("target").child("averageValue");
        errors.push(field::required(&path, "must specify a positive target averageValue"));
    }
    errors
}

fn resource_errors(source: &Value, path: &Path, of_container: bool) -> Vec<Error> {
    let name = str_at(source, "name");
    let target = path.child("target");
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&path.child("name"), "must specify a resource name"));
    } else if of_container {
        errors.extend(container_name(name, &path.child("name")));
    }
    if of_container {
        let (container, path) = (str_at(source, "container"), path.child("container"));
        if container.is_empty() {
            errors.push(field::required(&path, "must specify a container"));
        } else {
            errors
                .extend(dns_label(container).into_iter().map(|text| field::invalid(&path, container, text)));
        }
    }
    errors.extend(target_errors(source, path));
    match (has(source, "averageUtilization"), has(source, "averageValue")) {
        (false, false) => {
            let text = "must set either a target raw value or a target utilization";
            errors.push(field::required(&target.child("averageUtilization"), text));
        }
        (true, true) => {
            let text = "may not set both a target raw value and a target utilization";
            errors.push(field::forbidden(&target.child("averageValue"), text));
        }
        _ => {}
    }
    errors
}

fn target_errors(source: &Value, path: &Path) -> Vec<Error> {
    let path = path.child("target");
    let ty = str_at(source, "target.type");
    let mut errors = Vec::new();
    if ty.is_empty() {
        errors.push(field::required(&path.child("type"), "must specify a metric target type"));
    }
    if !matches!(ty, "Utilization" | "Value" | "AverageValue") {
        let text = "must be either Utilization, Value, or AverageValue";
        errors.push(field::invalid(&path.child("type"), ty, text));
    }
    for name in ["value", "averageValue"] {
        let value = at(source, &format!("target.{name}"));
        if let Some(value) = value.map(quantity::of).filter(|value| value.sign() <= 0) {
            errors.push(field::invalid(&path.child(name), value.to_string(), "must be positive"));
        }
    }
    if let Some(share) = int_at(source, "target.averageUtilization").filter(|share| *share < 1) {
        errors.push(field::invalid(&path.child("averageUtilization"), share, "must be greater than 0"));
    }
    errors
}

fn identifier_errors(source: &Value, path: &Path) -> Vec<Error> {
    let path = path.child("metric").child("name");
    let name = str_at(source, "metric.name");
    if name.is_empty() {
        return vec![field::required(&path, "must specify a metric name")];
    }
    path_segment_rule(name, false).into_iter().map(|text| field::invalid(&path, name, text)).collect()
}

/// Everything wrong with the reference at `name` of `owner`.
pub(super) fn reference_errors(owner: &Value, name: &str, path: &Path, allowed: References) -> Vec<Error> {
    let null = Value::Null;
    let reference = at(owner, name).unwrap_or(&null);
    let path = path.child(name);
    let mut errors = Vec::new();
    for name in ["kind", "name"] {
        let (value, path) = (str_at(reference, name), path.child(name));
        if value.is_empty() {
            errors.push(field::required(&path, ""));
        } else {
            let texts = path_segment_rule(value, false);
            errors.extend(texts.into_iter().map(|text| field::invalid(&path, value, text)));
        }
    }
    if let Some(text) = version_error(reference, allowed) {
        let version = str_at(reference, "apiVersion");
        errors.push(field::invalid(&path.child("apiVersion"), version, text));
    }
    errors
}

/// What is wrong with the version of a reference.
pub(super) fn version_error(reference: &Value, allowed: References) -> Option<String> {
    if allowed.any {
        return None;
    }
    let version = str_at(reference, "apiVersion");
    if version.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {version}"));
    }
    let has_group = version.split_once('/').is_some_and(|(group, _)| !group.is_empty());
    (!allowed.any_group && !has_group).then(|| "apiVersion must specify API group".to_owned())
}
