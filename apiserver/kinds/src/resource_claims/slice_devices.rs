//! The devices of a slice: attributes, capacity, taints, and where each is.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::resource_slice::counters;
use super::{device_request, items, names, slice_capacity};
use crate::core::pod::internal;
use crate::core::pod::validate::scheduling::node_selector;
use crate::field::{self, BadValue, Error, Path};
use crate::meta::validate_label_name;
use crate::tree::{at, bool_at, list_at, list_at_mut, map_at, same_at, set_default, str_at, strings_at};

const ATTRIBUTES_AND_CAPACITIES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;
const BINDING_CONDITIONS_MAX: usize = 4;
const ATTRIBUTE_BYTES_MAX: usize = 64;
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const ONE_PLACE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
const NO_PLACE: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// Gives every taint the time at which it was added.
pub fn stamp_taints(slice: &mut Value, now: &str) {
    for device in list_at_mut(slice, "spec.devices") {
        list_at_mut(device, "taints").iter_mut().for_each(|taint| set_default(taint, "timeAdded", now));
    }
}

/// Drops fields behind gates that are off, unless what is stored uses them.
pub(super) fn drop_disabled(slice: &mut Value, old: Option<&Value>) {
    let uses = |holds: &dyn Fn(&Value) -> bool| {
        old.is_some_and(|old| list_at(old, "spec.devices").iter().any(holds))
    };
    let uses_mappings = uses(&|device| map_at(device, "nodeAllocatableResourceMappings").is_some());
    let uses_lists = uses(&|device| {
        let attributes = map_at(device, "attributes").into_iter().flatten();
        attributes.into_iter().any(|(_, value)| LISTS.iter().any(|name| at(value, name).is_some()))
    });
    for device in list_at_mut(slice, "spec.devices").iter_mut().filter_map(Value::as_object_mut) {
        if !uses_mappings {
            device.remove("nodeAllocatableResourceMappings");
        }
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        if let (false, Some(attributes)) = (uses_lists, attributes) {
            let attributes = attributes.values_mut().filter_map(Value::as_object_mut);
            attributes.for_each(|attribute| LISTS.iter().for_each(|name| drop(attribute.remove(*name))));
        }
    }
}

/// Everything wrong with a device.
pub(super) fn validate(device: &Value, old: Option<&Value>, per_device: bool, path: &Path) -> Vec<Error> {
    let mut errors = names::label(str_at(device, "name"), &path.child("name"));
    let (attributes, capacities) = (map_at(device, "attributes"), map_at(device, "capacity"));
    let total = attributes.map_or(0, Map::len) + capacities.map_or(0, Map::len);
    if total > ATTRIBUTES_AND_CAPACITIES_MAX {
        let text = format!(
            "the total number of attributes and capacities must not exceed {ATTRIBUTES_AND_CAPACITIES_MAX}"
        );
        errors.push(field::invalid(path, total, text));
    }
    let attributes_path = path.child("attributes");
    errors.extend(items::map(attributes, usize::MAX, &attributes_path, names::qualified, attribute));
    let is_shared = bool_at(device, "allowMultipleAllocations") == Some(true);
    let capacity = |capacity: &Value, path: &Path| slice_capacity::validate(capacity, is_shared, path);
    errors.extend(items::map(capacities, usize::MAX, &path.child("capacity"), names::qualified, capacity));
    if old.is_none_or(|old| !same_at(old, device, "taints")) {
        let taints = list_at(device, "taints");
        errors.extend(items::list(taints, TAINTS_MAX, &path.child("taints"), device_request::validate_taint));
    }
    let consumptions = list_at(device, "consumesCounters");
    let by_set = |item: &Value| str_at(item, "counterSet").to_owned();
    let consumptions_path = path.child("consumesCounters");
    errors.extend(items::set(consumptions, CONSUMPTIONS_MAX, &consumptions_path, consumption, by_set));
    errors.extend(place(device, per_device, path));
    errors.extend(binding_conditions(device, path));
    errors
}

fn consumption(item: &Value, path: &Path) -> Vec<Error> {
    let (set, set_path) = (str_at(item, "counterSet"), path.child("counterSet"));
    let mut errors =
        if set.is_empty() { vec![field::required(&set_path, "")] } else { names::label(set, &set_path) };
    errors.extend(counters(item, COUNTERS_MAX, path));
    errors
}

fn attribute(attribute: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(text) = at(attribute, "string").and_then(Value::as_str) {
        errors.extend(too_long(text, &path.child("string")));
    }
    if let Some(text) = at(attribute, "version").and_then(Value::as_str) {
        errors.extend(version(text, &path.child("version")));
    }
    for name in LISTS {
        let Some(values) = at(attribute, name) else { continue };
        let path = path.child(name);
        if list_at(attribute, name).is_empty() {
            errors.push(field::invalid(&path, values, "must not be empty if specified"));
        }
        for (index, text) in strings_at(attribute, name).into_iter().enumerate() {
            let path = path.index(index);
            errors.extend(if name == "versions" { version(text, &path) } else { too_long(text, &path) });
        }
    }
    let kinds = ["bool", "int", "string", "version"].into_iter().chain(LISTS);
    match kinds.filter(|name| at(attribute, name).is_some()).count() {
        0 => errors.push(field::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => {
            let value = internal::bad_value("DeviceAttribute", Some(attribute));
            errors.push(field::invalid(path, value, "exactly one value must be specified"));
        }
    }
    errors
}

fn too_long(text: &str, path: &Path) -> Vec<Error> {
    let error = (text.len() > ATTRIBUTE_BYTES_MAX).then(|| field::too_long(path, ATTRIBUTE_BYTES_MAX));
    error.into_iter().collect()
}

fn version(text: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if !is_semver(text) {
        errors.push(field::invalid(path, text, "must be a string compatible with semver.org spec 2.0.0"));
    }
    errors.extend(too_long(text, path));
    errors
}

/// `1.2.3-pre.1+build.5`: numbers have no leading zeros, but parts of the build may.
fn is_semver(text: &str) -> bool {
    let (rest, build) = match text.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |part: &str| is_digits(part) && (part == "0" || !part.starts_with('0'));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|part| is_word(part) && (!is_digits(part) || is_number(part)))
        })
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn place(device: &Value, per_device: bool, path: &Path) -> Vec<Error> {
    let has = |name: &str| at(device, name).is_some();
    if !per_device {
        let is_said = ["nodeName", "nodeSelector", "allNodes"].into_iter().any(has);
        let error = is_said.then(|| field::invalid(path, BadValue::Json(Value::Null), NO_PLACE));
        return error.into_iter().collect();
    }
    let mut said: Vec<&str> = Vec::new();
    let mut errors = Vec::new();
    match at(device, "nodeName").and_then(Value::as_str) {
        None => {}
        Some("") => errors.push(field::invalid(&path.child("nodeName"), "", "must not be empty")),
        Some(name) => {
            said.push("`nodeName`");
            errors.extend(names::subdomain(name, &path.child("nodeName")));
        }
    }
    if let Some(selector) = at(device, "nodeSelector") {
        said.push("`nodeSelector`");
        errors.extend(node_selector(selector, false, &path.child("nodeSelector")));
    }
    match bool_at(device, "allNodes") {
        None => {}
        Some(true) => said.push("`allNodes`"),
        Some(false) => {
            let text = "must be either unset or set to true";
            errors.push(field::invalid(&path.child("allNodes"), false, text));
        }
    }
    match said.len() {
        0 => errors.push(field::required(path, ONE_PLACE)),
        1 => {}
        _ => errors.push(field::invalid(path, format!("{{{}}}", said.join(", ")), ONE_PLACE)),
    }
    errors
}

/// Everything wrong with the conditions that say whether a device may be bound to.
pub(super) fn binding_conditions(owner: &Value, path: &Path) -> Vec<Error> {
    const WANTED: &str = "bindingConditions";
    const FAILED: &str = "bindingFailureConditions";
    let (wanted, failed) = (strings_at(owner, WANTED), strings_at(owner, FAILED));
    let rule = |name: &&str, path: &Path| validate_label_name(name, path);
    let mut errors = items::list(&wanted, BINDING_CONDITIONS_MAX, &path.child(WANTED), rule);
    errors.extend(items::list(&failed, BINDING_CONDITIONS_MAX, &path.child(FAILED), rule));
    let mut seen = BTreeSet::new();
    for (index, name) in wanted.iter().enumerate() {
        if !seen.insert(*name) {
            errors.push(field::duplicate(&path.child(WANTED).index(index), *name));
        }
    }
    let mut seen_failed = BTreeSet::new();
    for (index, name) in failed.iter().enumerate() {
        let path = path.child(FAILED).index(index);
        if !seen_failed.insert(*name) {
            errors.push(field::duplicate(&path, *name));
        }
        if seen.contains(name) {
            let text = "bindingFailureConditions must not overlap with bindingConditions";
            errors.push(field::invalid(&path, *name, text));
        }
    }
    let missing = match (wanted.is_empty(), failed.is_empty()) {
        (true, false) => Some((WANTED, "bindingConditions are required to use bindingFailureConditions")),
        (false, true) => Some((FAILED, "bindingFailureConditions are required to use bindingConditions")),
        _ => None,
    };
    errors.extend(missing.map(|(name, text)| field::invalid(&path.child(name), at(owner, name), text)));
    errors
}
