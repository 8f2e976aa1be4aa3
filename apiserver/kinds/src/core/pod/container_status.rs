//! What nodes report about single containers: the user they run as and the health of their devices.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::names::numeric_id;
use crate::tree::{at, int_at, list_at, map_at, str_at};

/// Bytes of a message about a device.
const HEALTH_MESSAGE_MAX: usize = 1024;

/// Lists of statuses with the list of specs whose resources they report; ephemeral containers have no resources.
const LISTS: [(&str, Option<&str>); 3] = [
    ("containerStatuses", Some("spec.containers")),
    ("initContainerStatuses", Some("spec.initContainers")),
    ("ephemeralContainerStatuses", None),
];

/// Everything wrong with the reports about containers in `status`.
pub(super) fn validate(pod: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (list, _) in LISTS {
        let path = path.child(list);
        for (index, status) in list_at(pod, &format!("status.{list}")).iter().enumerate() {
            errors.extend(user(pod, status, &path.index(index).child("user").child("linux")));
        }
    }
    for (list, specs) in LISTS {
        let path = path.child(list);
        for (index, status) in list_at(pod, &format!("status.{list}")).iter().enumerate() {
            let path = path.index(index).child("allocatedResourcesStatus");
            errors.extend(devices(pod, status, specs, &path));
        }
    }
    errors
}

fn user(pod: &Value, status: &Value, path: &Path) -> Vec<Error> {
    let Some(linux) = at(status, "user.linux") else { return Vec::new() };
    match str_at(pod, "spec.os.name") {
        "windows" => return vec![field::forbidden(path, "cannot be set for a windows pod")],
        "" | "linux" => {}
        _ => return Vec::new(),
    }
    let mut errors = Vec::new();
    for name in ["uid", "gid"] {
        let id = int_at(linux, name).unwrap_or(0);
        errors.extend(numeric_id(id).map(|text| field::invalid(&path.child(name), id, text)));
    }
    for (index, group) in list_at(linux, "supplementalGroups").iter().enumerate() {
        let group = group.as_i64().unwrap_or(0);
        let path = path.child("supplementalGroups").index(index);
        errors.extend(numeric_id(group).map(|text| field::invalid(&path, group, text)));
    }
    errors
}

fn devices(pod: &Value, status: &Value, specs: Option<&str>, path: &Path) -> Vec<Error> {
    let resources = list_at(status, "allocatedResourcesStatus");
    let Some(specs) = specs else {
        let text = "must not be specified in container status";
        return (!resources.is_empty()).then(|| field::forbidden(path, text)).into_iter().collect();
    };
    let name = str_at(status, "name");
    let container = list_at(pod, specs).iter().find(|container| str_at(container, "name") == name);
    let mut errors = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let path = path.index(index);
        // A status may speak of a container that is gone from the spec.
        errors.extend(
            container.and_then(|container| unknown_resource(container, resource, &path.child("name"))),
        );
        errors.extend(health(resource, &path.child("resources")));
    }
    errors
}

fn unknown_resource(container: &Value, resource: &Value, path: &Path) -> Option<Error> {
    let name = str_at(resource, "name");
    let (known, text) = if name.starts_with("claim:") {
        let is_claim = |claim: &Value| match str_at(claim, "request") {
            "" => name == format!("claim:{}", str_at(claim, "name")),
            request => name == format!("claim:{}/{request}", str_at(claim, "name")),
        };
        let text = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
        (list_at(container, "resources.claims").iter().any(is_claim), text)
    } else {
        let requests = map_at(container, "resources.requests");
        (
            requests.is_some_and(|requests| requests.contains_key(name)),
            "must match one of the container's resource requests",
        )
    };
    (!known).then(|| field::invalid(path, name, text))
}

fn health(resource: &Value, path: &Path) -> Vec<Error> {
    const VALUES: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, device) in list_at(resource, "resources").iter().enumerate() {
        let path = path.index(index);
        let (health, id) = (str_at(device, "health"), str_at(device, "resourceID"));
        if !VALUES.contains(&health) {
            errors.push(field::not_supported(&path.child("health"), health, &VALUES));
        }
        match at(device, "message").and_then(Value::as_str) {
            Some("") => {
                errors.push(field::required(&path.child("message"), "must be non-empty if specified"))
            }
            Some(message) if message.len() > HEALTH_MESSAGE_MAX => {
                errors.push(field::too_long(&path.child("message"), HEALTH_MESSAGE_MAX));
            }
            _ => {}
        }
        if !seen.insert(id) {
            errors.push(field::duplicate(&path.child("resourceID"), id));
        }
    }
    errors
}
