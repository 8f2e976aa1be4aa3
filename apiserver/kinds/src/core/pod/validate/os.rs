//! What the operating system of a pod forbids.

use serde_json::Value;

use super::{Path, walk};
use crate::field::{self, Error};
use crate::tree::{at, bool_at, list_at, str_at};

/// Fields of the pod that mean nothing on Windows, in the order in which they are reported.
const POD_NOT_ON_WINDOWS: [&str; 15] = [
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
];

/// The same for containers.
const CONTAINER_NOT_ON_WINDOWS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// Everything the pod's operating system forbids; nothing when it names none.
pub(super) fn validate(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(os) = at(spec, "os") else { return Vec::new() };
    match str_at(os, "name") {
        "linux" => not_on_linux(spec, path),
        "windows" => not_on_windows(spec, path),
        "" => vec![field::required(&path.child("os").child("name"), "")],
        other => vec![field::not_supported(&path.child("os"), other, &["linux", "windows"])],
    }
}

fn not_on_linux(spec: &Value, path: &Path) -> Vec<Error> {
    let text = "windows options cannot be set for a linux pod";
    let forbidden =
        |path: Path| field::forbidden(&path.child("securityContext").child("windowsOptions"), text);
    let has_options = |owner: &Value| at(owner, "securityContext.windowsOptions").is_some();
    let mut errors: Vec<Error> = has_options(spec).then(|| forbidden(path.clone())).into_iter().collect();
    errors.extend(
        walk::all(spec, path).filter(|(_, owner)| has_options(owner)).map(|(path, _)| forbidden(path)),
    );
    errors
}

fn not_on_windows(spec: &Value, path: &Path) -> Vec<Error> {
    let text = "cannot be set for a windows pod";
    let is_set = |name: &str| match at(spec, name) {
        Some(Value::Bool(value)) if matches!(name, "hostPID" | "hostIPC") => *value,
        Some(_) if name.ends_with("sysctls") => !list_at(spec, name).is_empty(),
        other => other.is_some(),
    };
    let mut errors: Vec<Error> = POD_NOT_ON_WINDOWS
        .iter()
        .filter(|name| is_set(name))
        .map(|name| field::forbidden(&path.child(name), text))
        .collect();
    for (path, container) in walk::all(spec, path) {
        let Some(context) = at(container, "securityContext") else { continue };
        let path = path.child("securityContext");
        let set = CONTAINER_NOT_ON_WINDOWS.iter().filter(|name| at(context, name).is_some());
        errors.extend(set.map(|name| field::forbidden(&path.child(name), text)));
    }
    errors
}

/// Windows containers run in the host's process space either all or not at all.
pub(super) fn host_process(spec: &Value, path: &Path) -> Vec<Error> {
    let of_pod = bool_at(spec, "securityContext.windowsOptions.hostProcess");
    let mut errors = Vec::new();
    let (mut containers, mut host_processes) = (0, 0);
    for (path, container) in walk::all(spec, path) {
        let own = bool_at(container, "securityContext.windowsOptions.hostProcess");
        containers += 1;
        host_processes += i32::from(own.or(of_pod) == Some(true));
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let path = path.child("securityContext").child("windowsOptions").child("hostProcess");
            let text = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.push(field::invalid(&path, own, text));
        }
    }
    if host_processes == 0 {
        return errors;
    }
    if host_processes != containers {
        let text =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(field::invalid(path, "", text));
    }
    if bool_at(spec, "hostNetwork") != Some(true) {
        let text = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(field::invalid(&path.child("hostNetwork"), false, text));
    }
    errors
}
