//! ResourceClaims: somebody asks for devices, the scheduler gives them, drivers report on them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::device_request::{self, CONFIGS_MAX, Requests};
use super::slice_devices::binding_conditions;
use super::{items, names};
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::core::pod::validate::scheduling::node_selector;
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{IMMUTABLE, validate_label_name};
use crate::names::subdomain_rule;
use crate::network::parse_cidr_sloppy;
use crate::tree::{at, at_mut, carry_over, int_at, list_at, remove, same_at, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const DATA_BYTES_MAX: usize = 10 * 1024;
const DEVICE_CONDITIONS_MAX: usize = 8;
const INTERFACE_BYTES_MAX: usize = 256;
const HARDWARE_BYTES_MAX: usize = 128;
const IPS_MAX: usize = 16;

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("State", "Whether it is allocated, reserved, pending."), Column::AGE];

/// The strategy of ResourceClaims.
pub(super) struct ResourceClaims;

impl Strategy for ResourceClaims {
    fn resource(&self) -> &'static Resource {
        crate::resource!("resource.k8s.io", "v1", "resourceclaims")
    }

    fn default(&self, obj: &mut Value) {
        if let Some(spec) = at_mut(obj, "spec") {
            device_request::default(spec);
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            meta::keep_for_status(new, old);
            drop_deallocated(new, old);
        } else {
            carry_over(new, old, "status");
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        let spec = at(obj, "spec").unwrap_or(&Value::Null);
        errors.extend(device_request::validate_spec(spec, &Path::new("spec")));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(validate_status(new, old));
            return errors;
        }
        errors.extend(meta::validate(new, true, subdomain_rule));
        if !same_at(new, old, "spec") {
            let spec = internal::bad_value("ResourceClaimSpec", at(new, "spec"));
            errors.push(field::invalid(&Path::new("spec"), spec, IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(state(obj)), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn state(obj: &Value) -> String {
    let is_deleted = at(obj, "metadata.deletionTimestamp").is_some();
    let is_allocated = at(obj, "status.allocation").is_some();
    let is_reserved = is_allocated && !list_at(obj, "status.reservedFor").is_empty();
    let states = [
        (is_deleted, "deleted"),
        (!is_deleted && !is_allocated, "pending"),
        (is_allocated, "allocated"),
        (is_reserved, "reserved"),
    ];
    let held: Vec<&str> = states.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect();
    held.join(",")
}

/// One device of a driver's pool, or a share of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct DeviceId([String; 4]);

impl DeviceId {
    fn of(result: &Value) -> DeviceId {
        DeviceId(["driver", "pool", "device", "shareID"].map(|name| str_at(result, name).to_owned()))
    }
}

impl From<DeviceId> for BadValue {
    fn from(id: DeviceId) -> BadValue {
        let names = ["Driver", "Pool", "Device", "ShareID"];
        let parts: Vec<String> = names
            .iter()
            .zip(&id.0)
            .map(|(name, value)| format!("\"{name}\":{}", field::go_json(&json!(value))))
            .collect();
        BadValue::Printed(format!("{{{}}}", parts.join(",")))
    }
}

fn allocated(obj: &Value) -> BTreeSet<DeviceId> {
    list_at(obj, "status.allocation.devices.results").iter().map(DeviceId::of).collect()
}

/// What drivers have reported of a device goes with the device.
fn drop_deallocated(new: &mut Value, old: &Value) {
    let (before, after) = (allocated(old), allocated(new));
    let gone: BTreeSet<DeviceId> = before.difference(&after).cloned().collect();
    let devices = list_at(new, "status.devices").iter();
    let kept: Vec<Value> = devices.filter(|device| !gone.contains(&DeviceId::of(device))).cloned().collect();
    if kept.is_empty() {
        remove(new, "status.devices");
    } else {
        set(new, "status.devices", Value::Array(kept));
    }
}

fn validate_status(new: &Value, old: &Value) -> Vec<Error> {
    let path = Path::new("status");
    let reserved_path = path.child("reservedFor");
    let reserved = list_at(new, "status.reservedFor");
    let by_uid = |consumer: &Value| str_at(consumer, "uid").to_owned();
    let mut errors = items::set(reserved, CONSUMERS_MAX, &reserved_path, validate_consumer, by_uid);
    let known = allocated(new);
    let devices = list_at(new, "status.devices");
    let rule = |device: &Value, path: &Path| validate_device(device, &known, path);
    errors.extend(items::set(devices, usize::MAX, &path.child("devices"), rule, DeviceId::of));

    let (allocation, before) = (at(new, "status.allocation"), at(old, "status.allocation"));
    if !reserved.is_empty() && allocation.is_none() {
        let text = "may not be specified when `allocated` is not set";
        errors.push(field::forbidden(&reserved_path, text));
    } else if at(new, "metadata.deletionTimestamp").is_some() {
        let stored = list_at(old, "status.reservedFor");
        if reserved.iter().any(|consumer| !stored.contains(consumer)) {
            let text =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(field::forbidden(&reserved_path, text));
        }
    }
    let path = path.child("allocation");
    match (allocation, before) {
        (Some(allocation), Some(_)) => {
            if !same_at(new, old, "status.allocation") {
                let value = internal::bad_value("*AllocationResult", Some(allocation));
                errors.push(field::invalid(&path, value, IMMUTABLE));
            }
        }
        (Some(allocation), None) => {
            let spec = at(new, "spec").unwrap_or(&Value::Null);
            errors.extend(validate_allocation(allocation, &Requests::of(spec), &path));
        }
        (None, _) => {}
    }
    errors
}

fn validate_consumer(consumer: &Value, path: &Path) -> Vec<Error> {
    let missing = ["resource", "name", "uid"].into_iter().filter(|name| str_at(consumer, name).is_empty());
    missing.map(|name| field::required(&path.child(name), "")).collect()
}

fn validate_allocation(allocation: &Value, known: &Requests, path: &Path) -> Vec<Error> {
    let devices = path.child("devices");
    let results = list_at(allocation, "devices.results");
    let mut errors = items::list(results, RESULTS_MAX, &devices.child("results"), |result, path| {
        validate_result(result, known, path)
    });
    let configs = list_at(allocation, "devices.config");
    errors.extend(items::list(configs, 2 * CONFIGS_MAX, &devices.child("config"), |config, path| {
        let mut errors: Vec<Error> = validate_source(config, &path.child("source")).into_iter().collect();
        errors.extend(known.references(config, path));
        errors.extend(device_request::configuration(config, false, path));
        errors
    }));
    if let Some(selector) = at(allocation, "nodeSelector") {
        errors.extend(node_selector(selector, false, &path.child("nodeSelector")));
    }
    errors
}

fn validate_result(result: &Value, known: &Requests, path: &Path) -> Vec<Error> {
    let mut errors = known.reference(str_at(result, "request"), &path.child("request"));
    errors.extend(names::driver(str_at(result, "driver"), &path.child("driver")));
    errors.extend(names::pool(str_at(result, "pool"), &path.child("pool")));
    errors.extend(names::label(str_at(result, "device"), &path.child("device")));
    errors.extend(binding_conditions(result, path));
    if let Some(id) = at(result, "shareID").and_then(Value::as_str) {
        errors.extend(names::share_id(id, &path.child("shareID")));
    }
    errors
}

fn validate_source(config: &Value, path: &Path) -> Option<Error> {
    match str_at(config, "source") {
        "" => Some(field::required(path, "")),
        "FromClaim" | "FromClass" => None,
        other => Some(field::not_supported(path, other, &["FromClaim", "FromClass"])),
    }
}

fn validate_device(device: &Value, known: &BTreeSet<DeviceId>, path: &Path) -> Vec<Error> {
    let mut errors = names::driver(str_at(device, "driver"), &path.child("driver"));
    errors.extend(names::pool(str_at(device, "pool"), &path.child("pool")));
    errors.extend(names::label(str_at(device, "device"), &path.child("device")));
    if let Some(id) = at(device, "shareID").and_then(Value::as_str) {
        errors.extend(names::share_id(id, &path.child("shareID")));
    }
    let id = DeviceId::of(device);
    if !known.contains(&id) {
        errors.push(field::invalid(path, id, "must be an allocated device in the claim"));
    }
    let (conditions, conditions_path) = (list_at(device, "conditions"), path.child("conditions"));
    if conditions.len() > DEVICE_CONDITIONS_MAX {
        errors.push(field::too_many(&conditions_path, conditions.len(), DEVICE_CONDITIONS_MAX));
    }
    errors.extend(validate_conditions(conditions, &conditions_path));
    if let Some(data) = at(device, "data") {
        errors.extend(device_request::raw_object(Some(data), DATA_BYTES_MAX, &path.child("data")));
    }
    if let Some(network) = at(device, "networkData") {
        errors.extend(validate_network(network, &path.child("networkData")));
    }
    errors
}

fn validate_network(network: &Value, path: &Path) -> Vec<Error> {
    let limits = [("interfaceName", INTERFACE_BYTES_MAX), ("hardwareAddress", HARDWARE_BYTES_MAX)];
    let long = limits.into_iter().filter(|(name, max)| str_at(network, name).len() > *max);
    let mut errors: Vec<Error> = long.map(|(name, max)| field::too_long(&path.child(name), max)).collect();
    let ips = strings_at(network, "ips");
    let key = |ip: &&str| (*ip).to_owned();
    errors.extend(items::set(&ips, IPS_MAX, &path.child("ips"), |ip, path| interface_ip(ip, path), key));
    errors
}

/// An address with the length of its network, canonical.
fn interface_ip(text: &str, path: &Path) -> Vec<Error> {
    let Some((ip, length)) = parse_cidr_sloppy(text) else {
        let rule = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return vec![field::invalid(path, text, rule)];
    };
    let canonical = format!("{ip}/{length}");
    if text == canonical {
        return Vec::new();
    }
    vec![field::invalid(path, text, format!("must be in canonical form (\"{canonical}\")"))]
}

fn validate_conditions(conditions: &[Value], path: &Path) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let (name, path) = (str_at(condition, "type"), path.index(index));
        if !seen.insert(name) {
            errors.push(field::duplicate(&path.child("type"), name));
        }
        errors.extend(validate_condition(condition, &path));
    }
    errors
}

fn validate_condition(condition: &Value, path: &Path) -> Vec<Error> {
    const STATUSES: &[&str] = &["False", "True", "Unknown"];
    const REASON: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
    const REASON_TEXT: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let part = |name: &str| str_at(condition, name);
    let mut errors = validate_label_name(part("type"), &path.child("type"));
    if !STATUSES.contains(&part("status")) {
        errors.push(field::not_supported(&path.child("status"), part("status"), STATUSES));
    }
    if let Some(generation) = int_at(condition, "observedGeneration").filter(|number| *number < 0) {
        let text = "must be greater than or equal to zero";
        errors.push(field::invalid(&path.child("observedGeneration"), generation, text));
    }
    if part("lastTransitionTime").is_empty() {
        errors.push(field::required(&path.child("lastTransitionTime"), ""));
    }
    let (reason, reason_path) = (part("reason"), path.child("reason"));
    if reason.is_empty() {
        errors.push(field::required(&reason_path, ""));
    } else {
        if !is_reason(reason) {
            let text = crate::names::pattern(
                REASON_TEXT,
                REASON,
                &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
            );
            errors.push(field::invalid(&reason_path, reason, text));
        }
        if reason.len() > 1024 {
            errors.push(field::too_long(&reason_path, 1024));
        }
    }
    if part("message").len() > 32 * 1024 {
        errors.push(field::too_long(&path.child("message"), 32 * 1024));
    }
    errors
}

fn is_reason(reason: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = reason.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|byte| is_word(*byte))
        && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b',' | b':'))
}
