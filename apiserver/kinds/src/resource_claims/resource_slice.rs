//! ResourceSlices: the devices of a driver, as it publishes them.

use serde_json::{Value, json};

use super::{items, names, slice_devices};
use crate::columns::{self, Column};
use crate::core::pod::validate::scheduling::node_selector;
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, bool_at, int_at, list_at, map_at, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const DEVICES_MAX: usize = 128;
/// The same for slices whose devices take more to understand.
const RICH_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const WHERE: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Node", "The node the devices are on, if it is one."),
    Column::text("Driver", "Whose devices they are."),
    Column::text("Pool", "The pool they belong to."),
    Column::AGE,
];

/// The strategy of ResourceSlices.
pub(super) struct ResourceSlices;

impl Strategy for ResourceSlices {
    fn resource(&self) -> &'static Resource {
        crate::resource!("resource.k8s.io", "v1", "resourceslices")
    }

    fn prepare_create(&self, obj: &mut Value) {
        meta::start_generation(obj);
        slice_devices::drop_disabled(obj, None);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        slice_devices::drop_disabled(new, Some(old));
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(validate_spec(obj, None));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(validate_spec(new, Some(old)));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let driver = str_at(new, "spec.driver");
        if driver == driver.to_lowercase() {
            return Vec::new();
        }
        let driver = field::quote(driver);
        vec![format!("spec.driver: driver names should be lowercase; {driver} contains uppercase characters")]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.nodeName")),
            json!(str_at(obj, "spec.driver")),
            json!(str_at(obj, "spec.pool.name")),
            columns::age(obj, now),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.driver", "spec.nodeName"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        ["spec.driver", "spec.nodeName"].map(|path| (path, str_at(obj, path).to_owned())).into()
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn validate_spec(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let path = Path::new("spec");
    let spec = at(obj, "spec").unwrap_or(&Value::Null);
    let mut errors = names::driver(str_at(spec, "driver"), &path.child("driver"));
    errors.extend(validate_pool(spec, &path.child("pool")));
    if let Some(old) = old {
        let fixed = ["spec.pool.name", "spec.driver", "spec.nodeName"];
        errors.extend(fixed.iter().filter_map(|path| meta::validate_immutable(obj, old, path)));
    }
    errors.extend(validate_place(spec, &path));
    let (devices, counters) = (list_at(spec, "devices"), list_at(spec, "sharedCounters"));
    if at(spec, "devices").is_some() && at(spec, "sharedCounters").is_some() {
        errors.push(field::invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let max = if devices.iter().any(is_rich) { RICH_DEVICES_MAX } else { DEVICES_MAX };
    let per_device = bool_at(spec, "perDeviceNodeSelection") == Some(true);
    let stored = old.map_or(&[][..], |old| list_at(old, "spec.devices"));
    let by_name = |item: &Value| str_at(item, "name").to_owned();
    let rule = |device: &Value, path: &Path| {
        let old = stored.iter().find(|old| str_at(old, "name") == str_at(device, "name"));
        slice_devices::validate(device, old, per_device, path)
    };
    errors.extend(items::set(devices, max, &path.child("devices"), rule, by_name));
    let path = path.child("sharedCounters");
    errors.extend(items::set(counters, COUNTER_SETS_MAX, &path, validate_counter_set, by_name));
    errors
}

fn is_rich(device: &Value) -> bool {
    !list_at(device, "taints").is_empty() || !list_at(device, "consumesCounters").is_empty()
}

fn validate_pool(spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = names::pool(str_at(spec, "pool.name"), &path.child("name"));
    let (slices, generation) =
        (int_at(spec, "pool.resourceSliceCount").unwrap_or(0), int_at(spec, "pool.generation").unwrap_or(0));
    if slices <= 0 {
        let path = path.child("resourceSliceCount");
        errors.push(field::invalid(&path, slices, "must be greater than zero"));
    }
    if generation < 0 {
        let path = path.child("generation");
        errors.push(field::invalid(&path, generation, "must be greater than or equal to zero"));
    }
    errors
}

/// Where the devices are: one of four ways to say it.
fn validate_place(spec: &Value, path: &Path) -> Vec<Error> {
    let mut said: Vec<&str> = Vec::new();
    let mut errors = Vec::new();
    match at(spec, "nodeName").and_then(Value::as_str) {
        None => {}
        Some("") => {
            let text = "must be either unset or set to a non-empty string";
            errors.push(field::invalid(&path.child("nodeName"), "", text));
        }
        Some(name) => {
            said.push("`nodeName`");
            errors.extend(names::subdomain(name, &path.child("nodeName")));
        }
    }
    if let Some(selector) = at(spec, "nodeSelector") {
        said.push("`nodeSelector`");
        let path = path.child("nodeSelector");
        errors.extend(node_selector(selector, false, &path));
        if list_at(selector, "nodeSelectorTerms").len() != 1 {
            let terms = crate::core::pod::internal::bad_value(
                "[]NodeSelectorTerm",
                at(selector, "nodeSelectorTerms"),
            );
            let text = "must have exactly one node selector term";
            errors.push(field::invalid(&path.child("nodeSelectorTerms"), terms, text));
        }
    }
    for (name, quoted) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        match bool_at(spec, name) {
            None => {}
            Some(true) => said.push(quoted),
            Some(false) => {
                let text = "must be either unset or set to true";
                errors.push(field::invalid(&path.child(name), false, text));
            }
        }
    }
    match said.len() {
        0 => errors.push(field::required(path, WHERE)),
        1 => {}
        _ => {
            let text = format!("{WHERE}, but multiple fields are set");
            errors.push(field::invalid(path, format!("{{{}}}", said.join(", ")), text));
        }
    }
    errors
}

fn validate_counter_set(set: &Value, path: &Path) -> Vec<Error> {
    let (name, name_path) = (str_at(set, "name"), path.child("name"));
    let mut errors =
        if name.is_empty() { vec![field::required(&name_path, "")] } else { names::label(name, &name_path) };
    errors.extend(counters(set, COUNTERS_MAX, path));
    errors
}

/// Everything wrong with a map of counters; there must be one.
pub(super) fn counters(owner: &Value, max: usize, path: &Path) -> Vec<Error> {
    let (counters, path) = (map_at(owner, "counters"), path.child("counters"));
    if counters.is_none_or(serde_json::Map::is_empty) {
        return vec![field::required(&path, "")];
    }
    items::map(counters, max, &path, names::label, |_, _| Vec::new())
}
