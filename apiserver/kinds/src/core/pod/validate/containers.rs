//! Containers of the three kinds: main, init (sidecars among them) and ephemeral.

use std::collections::BTreeSet;

use serde_json::Value;

use super::walk::is_sidecar;
use super::{Path, Scope, env, label, mounts, probes, resources, restart, security, untrimmed_image};
use crate::field::{self, Error};
use crate::names::{port_name, port_number};
use crate::tree::{at, int_at, list_at, str_at};

/// Fields that mean nothing for a container that is there to look around.
const NOT_FOR_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Everything wrong with the main containers.
pub(super) fn main(scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let containers = list_at(scope.spec, "containers");
    if containers.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        errors.extend(common(container, scope, &path));
        if !names.insert(str_at(container, "name")) {
            errors.push(field::duplicate(&path.child("name"), str_at(container, "name")));
        }
        errors.extend(probes::of_running(container, scope, &path));
        errors.extend(restart::container_policy(container, &path));
    }
    errors.extend(host_port_conflicts(containers, path));
    errors
}

/// Everything wrong with the init containers.
pub(super) fn init(scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let mut names: BTreeSet<&str> =
        list_at(scope.spec, "containers").iter().map(|container| str_at(container, "name")).collect();
    let mut errors = Vec::new();
    for (index, container) in list_at(scope.spec, "initContainers").iter().enumerate() {
        let list_path = path;
        let path = path.index(index);
        errors.extend(common(container, scope, &path));
        errors.extend(restart::init_container_policy(container, &path));
        let name = str_at(container, "name");
        if names.contains(name) {
            errors.push(field::duplicate(&path.child("name"), name));
        } else if !name.is_empty() {
            names.insert(name);
        }
        // Init containers run one after the other, so each is alone with its ports.
        errors.extend(host_port_conflicts(std::slice::from_ref(container), list_path));
        if is_sidecar(container) {
            errors.extend(probes::of_running(container, scope, &path));
            continue;
        }
        for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if at(container, name).is_some() {
                let text = "may not be set for init containers without restartPolicy=Always";
                errors.push(field::forbidden(&path.child(name), text));
            }
        }
        if !scope.options.restarting_init_resize {
            errors.extend(restart::no_restart_on_resize(container, &path));
        }
    }
    errors
}

/// Everything wrong with the ephemeral containers.
pub(super) fn ephemeral(scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let others: BTreeSet<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| list_at(scope.spec, list))
        .map(|container| str_at(container, "name"))
        .collect();
    let mut names = others.clone();
    let mut errors = Vec::new();
    for (index, container) in list_at(scope.spec, "ephemeralContainers").iter().enumerate() {
        let path = path.index(index);
        errors.extend(common(container, scope, &path));
        errors.extend(untrimmed_image(container, &path));
        if !names.insert(str_at(container, "name")) {
            errors.push(field::duplicate(&path.child("name"), str_at(container, "name")));
        }
        let target = str_at(container, "targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.push(field::not_found(&path.child("targetContainerName"), target));
        }
        errors.extend(only_for_looking_around(container, &path));
    }
    errors
}

fn only_for_looking_around(container: &Value, path: &Path) -> Vec<Error> {
    let text = "cannot be set for an Ephemeral Container";
    let is_set = |name: &str| match at(container, name) {
        Some(Value::Object(fields)) if name == "resources" => !fields.is_empty(),
        other => other.is_some(),
    };
    let mut errors: Vec<Error> = NOT_FOR_EPHEMERAL
        .iter()
        .filter(|name| is_set(name))
        .map(|name| field::forbidden(&path.child(name), text))
        .collect();
    for (index, mount) in list_at(container, "volumeMounts").iter().enumerate() {
        for name in ["subPath", "subPathExpr"] {
            if !str_at(mount, name).is_empty() {
                errors.push(field::forbidden(&path.child("volumeMounts").index(index).child(name), text));
            }
        }
    }
    errors
}

/// What all containers have in common.
fn common(container: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    match str_at(container, "name") {
        "" => errors.push(field::required(&path.child("name"), "")),
        name => errors.extend(label(name, &path.child("name"))),
    }
    if str_at(container, "image").is_empty() {
        errors.push(field::required(&path.child("image"), ""));
    }
    let message_policy = path.child("terminationMessagePolicy");
    match str_at(container, "terminationMessagePolicy") {
        "File" | "FallbackToLogsOnError" => {}
        "" => errors.push(field::required(&message_policy, "")),
        other => {
            errors.push(field::not_supported(&message_policy, other, &["File", "FallbackToLogsOnError"]))
        }
    }
    errors.extend(ports(container, &path.child("ports")));
    errors.extend(env::variables(container, &path.child("env")));
    errors.extend(env::sources(container, &path.child("envFrom")));
    errors.extend(mounts::mounts(container, scope, &path.child("volumeMounts")));
    errors.extend(mounts::devices(container, scope, &path.child("volumeDevices")));
    errors.extend(pull_policy(str_at(container, "imagePullPolicy"), &path.child("imagePullPolicy")));
    errors.extend(resources::container(container, scope, &path.child("resources")));
    errors.extend(restart::resize_policy(container, scope, &path.child("resizePolicy")));
    errors.extend(security::container(container, scope, &path.child("securityContext")));
    errors
}

fn ports(container: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for (index, port) in list_at(container, "ports").iter().enumerate() {
        let path = path.index(index);
        let name = str_at(port, "name");
        if !name.is_empty() {
            let texts = port_name(name);
            if texts.is_empty() && !names.insert(name) {
                errors.push(field::duplicate(&path.child("name"), name));
            }
            errors.extend(super::invalid_each(&path.child("name"), name, texts));
        }
        let number = int_at(port, "containerPort").unwrap_or(0);
        let number_path = path.child("containerPort");
        match (number, port_number(number)) {
            (0, _) => errors.push(field::required(&number_path, "")),
            (_, Some(text)) => errors.push(field::invalid(&number_path, number, text)),
            _ => {}
        }
        let host_port = int_at(port, "hostPort").unwrap_or(0);
        if let Some(text) = port_number(host_port).filter(|_| host_port != 0) {
            errors.push(field::invalid(&path.child("hostPort"), host_port, text));
        }
        let protocol_path = path.child("protocol");
        match str_at(port, "protocol") {
            "TCP" | "UDP" | "SCTP" => {}
            "" => errors.push(field::required(&protocol_path, "")),
            other => errors.push(field::not_supported(&protocol_path, other, &["SCTP", "TCP", "UDP"])),
        }
    }
    errors
}

fn host_port_conflicts(containers: &[Value], path: &Path) -> Vec<Error> {
    let mut taken = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index).child("ports");
        for (index, port) in list_at(container, "ports").iter().enumerate() {
            let number = int_at(port, "hostPort").unwrap_or(0);
            let key = format!("{}/{}/{number}", str_at(port, "protocol"), str_at(port, "hostIP"));
            if number != 0 && !taken.insert(key.clone()) {
                errors.push(field::duplicate(&path.index(index).child("hostPort"), key));
            }
        }
    }
    errors
}

/// What is wrong with a pull policy.
pub(super) fn pull_policy(policy: &str, path: &Path) -> Option<Error> {
    match policy {
        "Always" | "IfNotPresent" | "Never" => None,
        "" => Some(field::required(path, "")),
        other => Some(field::not_supported(path, other, &["Always", "IfNotPresent", "Never"])),
    }
}
