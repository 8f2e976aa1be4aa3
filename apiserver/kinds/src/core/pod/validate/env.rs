//! Environment variables and where their values come from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Path, invalid_each, label, mounts, qualified, subdomain, walk};
use crate::field::{self, Error};
use crate::names::{config_key, environment_variable};
use crate::quantity::{self, Quantity};
use crate::tree::{at, list_at, str_at};

/// Fields of the pod that a variable may show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of the pod that a file in a volume may show.
pub(super) const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields of the pod that have a name in the downward API at all.
const KNOWN_FIELDS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];

/// Resources of a container that a variable or file may show.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const BYTE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Everything wrong with a container's variables.
pub(super) fn variables(container: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, variable) in list_at(container, "env").iter().enumerate() {
        let path = path.index(index);
        match str_at(variable, "name") {
            "" => errors.push(field::required(&path.child("name"), "")),
            name => errors.extend(invalid_each(&path.child("name"), name, environment_variable(name))),
        }
        errors.extend(value_source(variable, &path.child("valueFrom")));
    }
    errors
}

fn value_source(variable: &Value, path: &Path) -> Vec<Error> {
    let Some(source) = at(variable, "valueFrom") else { return Vec::new() };
    let mut errors = Vec::new();
    let mut sources = 0;
    let mut found = |errors_of_source: Vec<Error>| {
        sources += 1;
        errors.extend(errors_of_source);
    };
    if let Some(reference) = at(source, "fieldRef") {
        found(field_reference(reference, &ENV_FIELDS, &path.child("fieldRef")));
    }
    if let Some(reference) = at(source, "resourceFieldRef") {
        found(resource_reference(reference, Container::Implied, &path.child("resourceFieldRef")));
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = at(source, name) {
            found(key_reference(reference, &path.child(name)));
        }
    }
    if let Some(reference) = at(source, "fileKeyRef") {
        found(file_reference(reference, &path.child("fileKeyRef")));
    }
    let text = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !str_at(variable, "value").is_empty() => "may not be specified when `value` is not empty",
        1 => return errors,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(field::invalid(path, "", text));
    errors
}

/// Everything wrong with a reference to a field of the pod that must be one of `allowed`.
pub(super) fn field_reference(reference: &Value, allowed: &[&str], path: &Path) -> Vec<Error> {
    let (version, name) = (str_at(reference, "apiVersion"), str_at(reference, "fieldPath"));
    for (field_name, value) in [("apiVersion", version), ("fieldPath", name)] {
        if value.is_empty() {
            return vec![field::required(&path.child(field_name), "")];
        }
    }
    let unknown = |text: String| {
        vec![field::invalid(&path.child("fieldPath"), name, format!("error converting fieldPath: {text}"))]
    };
    if version != "v1" {
        return unknown(format!("unsupported pod version: {version}"));
    }
    if let Some((map, key)) = subscript(name) {
        return match map {
            "metadata.annotations" => qualified(&key.to_lowercase(), path),
            "metadata.labels" => qualified(key, path),
            _ => unknown(format!("field label does not support subscript: {name}")),
        };
    }
    if !KNOWN_FIELDS.contains(&name) {
        return unknown(format!("field label not supported: {name}"));
    }
    let name = if name == "spec.host" { "spec.nodeName" } else { name };
    if allowed.contains(&name) {
        Vec::new()
    } else {
        vec![field::not_supported(&path.child("fieldPath"), name, allowed)]
    }
}

/// Splits `metadata.labels['app']` into the map and the key.
fn subscript(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix("']")?.split_once("['").filter(|(map, _)| !map.is_empty())
}

/// Whether a reference to a resource has to say of which container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// It is the one that has the variable.
    Implied,
    /// It must be named, because a volume belongs to all.
    Named,
}

/// Everything wrong with a reference to a container's resource.
pub(super) fn resource_reference(reference: &Value, container: Container, path: &Path) -> Vec<Error> {
    let resource = str_at(reference, "resource");
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    let mut errors = Vec::new();
    if container == Container::Named && str_at(reference, "containerName").is_empty() {
        errors.push(field::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(field::required(&path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.push(field::not_supported(&path.child("resource"), resource, &RESOURCES));
    }
    errors.extend(divisor(reference, resource, huge, path));
    errors
}

fn divisor(reference: &Value, resource: &str, huge: bool, path: &Path) -> Option<Error> {
    let divisor = at(reference, "divisor").map_or(Quantity::ZERO, quantity::of);
    if divisor.is_zero() {
        return None;
    }
    let text = divisor.to_string();
    let error = |what: &str| Some(field::invalid(&path.child("divisor"), resource, what));
    let bytes = |what: &str| {
        let all = BYTE_DIVISORS.join(", ");
        error(&format!("only divisor's values {all} are supported with the {what} resource"))
    };
    let known = BYTE_DIVISORS.contains(&text.as_str());
    match resource {
        "limits.cpu" | "requests.cpu" if !matches!(text.as_str(), "1m" | "1") => {
            error("only divisor's values 1m and 1 are supported with the cpu resource")
        }
        "limits.memory" | "requests.memory" if !known => bytes("memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" if !known => {
            bytes("local ephemeral storage")
        }
        _ if huge && !known => bytes("hugepages"),
        _ => None,
    }
}

fn key_reference(reference: &Value, path: &Path) -> Vec<Error> {
    let mut errors = subdomain(str_at(reference, "name"), &path.child("name"));
    match str_at(reference, "key") {
        "" => errors.push(field::required(&path.child("key"), "")),
        key => errors.extend(invalid_each(&path.child("key"), key, config_key(key))),
    }
    errors
}

fn file_reference(reference: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    match str_at(reference, "key") {
        "" => errors.push(field::required(&path.child("key"), "")),
        key => errors.extend(invalid_each(&path.child("key"), key, environment_variable(key))),
    }
    match str_at(reference, "volumeName") {
        "" => errors.push(field::required(&path.child("volumeName"), "")),
        name => errors.extend(label(name, &path.child("volumeName"))),
    }
    match str_at(reference, "path") {
        "" => errors.push(field::required(&path.child("path"), "")),
        file => errors.extend(mounts::no_backsteps(file, &path.child("path"))),
    }
    errors
}

/// Everything wrong with whole ConfigMaps and Secrets as sources of variables.
pub(super) fn sources(container: &Value, list_path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, source) in list_at(container, "envFrom").iter().enumerate() {
        let path = list_path.index(index);
        let prefix = str_at(source, "prefix");
        if !prefix.is_empty() {
            errors.extend(invalid_each(&path.child("prefix"), prefix, environment_variable(prefix)));
        }
        let mut sources = 0;
        for name in ["configMapRef", "secretRef"] {
            let Some(reference) = at(source, name) else { continue };
            sources += 1;
            let path = path.child(name).child("name");
            match str_at(reference, "name") {
                "" => errors.push(field::required(&path, "")),
                name => errors.extend(invalid_each(&path, name, crate::names::subdomain_rule(name, true))),
            }
        }
        // The list is named and not its entry; clients know the text that way.
        match sources {
            0 => errors.push(field::invalid(
                list_path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(field::invalid(
                list_path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
    errors
}

/// Everything wrong with the volumes that files of variables are read from.
pub(super) fn file_volumes(spec: &Value, path: &Path) -> Vec<Error> {
    let volumes: BTreeMap<&str, &Value> =
        list_at(spec, "volumes").iter().map(|volume| (str_at(volume, "name"), volume)).collect();
    let mut errors = Vec::new();
    for (path, container) in walk::all(spec, path) {
        for (index, variable) in list_at(container, "env").iter().enumerate() {
            let Some(reference) = at(variable, "valueFrom.fileKeyRef") else { continue };
            let name = str_at(reference, "volumeName");
            let path =
                path.child("env").index(index).child("valueFrom").child("fileKeyRef").child("volumeName");
            match volumes.get(name) {
                None => errors.push(field::not_found(&path, name)),
                Some(volume) if at(volume, "emptyDir").is_none() => {
                    errors.push(field::invalid(&path, name, "referenced volume must be of type emptyDir"));
                }
                Some(_) => {}
            }
        }
    }
    errors
}
