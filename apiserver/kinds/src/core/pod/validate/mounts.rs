//! Where containers mount volumes and block devices, and the paths they may use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Path, Scope};
use crate::field::{self, Error};
use crate::tree::{at, bool_at, list_at, str_at};

/// Everything wrong with a container's mounts.
pub(super) fn mounts(container: &Value, scope: &Scope<'_>, list_path: &Path) -> Vec<Error> {
    let devices = list_at(container, "volumeDevices");
    let mut places = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, mount) in list_at(container, "volumeMounts").iter().enumerate() {
        let path = list_path.index(index);
        let (name, place) = (str_at(mount, "name"), str_at(mount, "mountPath"));
        if name.is_empty() {
            errors.push(field::required(&path.child("name"), ""));
        }
        if !scope.volumes.contains_key(name) {
            errors.push(field::not_found(&path.child("name"), name));
        }
        if place.is_empty() {
            errors.push(field::required(&path.child("mountPath"), ""));
        }
        if !places.insert(place) {
            errors.push(field::invalid(&path.child("mountPath"), place, "must be unique"));
        }
        if devices.iter().any(|device| str_at(device, "name") == name) {
            errors.push(field::invalid(&path.child("name"), name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| str_at(device, "devicePath") == place) {
            let text = "must not already exist as a path in volumeDevices";
            errors.push(field::invalid(&path.child("mountPath"), place, text));
        }
        errors.extend(sub_paths(mount, list_path, &path));
        errors.extend(propagation(mount, container, &list_path.child("mountPropagation")));
        errors.extend(recursive_read_only(mount, &list_path.child("recursiveReadOnly")));
    }
    errors
}

/// Upstream names the list, not the mount, in most of these texts.
fn sub_paths(mount: &Value, list_path: &Path, path: &Path) -> Vec<Error> {
    let (sub_path, expression) = (str_at(mount, "subPath"), str_at(mount, "subPathExpr"));
    let mut errors = Vec::new();
    if !sub_path.is_empty() {
        errors.extend(relative_path(sub_path, &list_path.child("subPath")));
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let text = "subPathExpr and subPath are mutually exclusive";
            errors.push(field::invalid(&path.child("subPathExpr"), expression, text));
        }
        errors.extend(relative_path(expression, &list_path.child("subPathExpr")));
    }
    errors
}

fn propagation(mount: &Value, container: &Value, path: &Path) -> Vec<Error> {
    let Some(mode) = at(mount, "mountPropagation").and_then(Value::as_str) else { return Vec::new() };
    let privileged = bool_at(container, "securityContext.privileged") == Some(true);
    match mode {
        "Bidirectional" if !privileged => {
            let text = "Bidirectional mount propagation is available only to privileged containers";
            vec![field::forbidden(path, text)]
        }
        "Bidirectional" | "HostToContainer" | "None" => Vec::new(),
        other => vec![field::not_supported(path, other, &["Bidirectional", "HostToContainer", "None"])],
    }
}

fn recursive_read_only(mount: &Value, path: &Path) -> Vec<Error> {
    let Some(mode) = at(mount, "recursiveReadOnly").and_then(Value::as_str) else { return Vec::new() };
    let mut errors = Vec::new();
    match mode {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if bool_at(mount, "readOnly") != Some(true) {
                errors.push(field::forbidden(path, "may only be specified when readOnly is true"));
            }
            if !matches!(str_at(mount, "mountPropagation"), "" | "None") {
                let text = "may only be specified when mountPropagation is None or not specified";
                errors.push(field::forbidden(path, text));
            }
        }
        other => errors.push(field::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
    errors
}

/// Everything wrong with a container's block devices.
pub(super) fn devices(container: &Value, scope: &Scope<'_>, list_path: &Path) -> Vec<Error> {
    let mounts = list_at(container, "volumeMounts");
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    let mut errors = Vec::new();
    for (index, device) in list_at(container, "volumeDevices").iter().enumerate() {
        let path = list_path.index(index);
        let (name_path, place_path) = (path.child("name"), path.child("devicePath"));
        let (name, place) = (str_at(device, "name"), str_at(device, "devicePath"));
        if name.is_empty() {
            errors.push(field::required(&name_path, ""));
        }
        if names.contains(name) {
            errors.push(field::invalid(&name_path, name, "must be unique"));
        }
        match scope.volumes.get(name) {
            None => errors.push(field::not_found(&name_path, name)),
            Some(volume) if at(volume, "persistentVolumeClaim").or(at(volume, "ephemeral")).is_none() => {
                let text =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(field::invalid(&name_path, name, text));
            }
            Some(_) => {}
        }
        if place.is_empty() {
            errors.push(field::required(&place_path, ""));
        }
        if places.contains(place) {
            errors.push(field::invalid(&place_path, place, "must be unique"));
        }
        if no_backsteps(place, &place_path).is_some() {
            errors.push(field::invalid(&place_path, place, "can not contain backsteps ('..')"));
        } else {
            places.insert(place);
        }
        if mounts.iter().any(|mount| str_at(mount, "name") == name) {
            errors.push(field::invalid(&name_path, name, "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| str_at(mount, "mountPath") == place) {
            errors.push(field::invalid(
                &place_path,
                place,
                "must not already exist as a path in volumeMounts",
            ));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
    errors
}

/// A path below another: not absolute, and without `..`.
pub(super) fn relative_path(place: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if place.starts_with('/') {
        errors.push(field::invalid(path, place, "must be a relative path"));
    }
    errors.extend(no_backsteps(place, path));
    errors
}

/// A path that never goes up.
pub(crate) fn no_backsteps(place: &str, path: &Path) -> Option<Error> {
    place.split('/').any(|part| part == "..").then(|| field::invalid(path, place, "must not contain '..'"))
}

/// A path below a volume whose names with leading `..` are the kubelet's own.
pub(super) fn unreserved_path(place: &str, path: &Path) -> Vec<Error> {
    let mut errors = relative_path(place, path);
    if place.starts_with("..") && !place.starts_with("../") {
        errors.push(field::invalid(path, place, "must not start with '..'"));
    }
    errors
}
