//! DeviceClasses: a selection of devices under one name, with configuration.

use serde_json::Value;

use super::{device_request, items};
use crate::columns::{self, Column};
use crate::core::pod::resource_math::is_extended;
use crate::field::{self, Error, Path};
use crate::names::long_name_rule;
use crate::tree::{at, list_at, same_at};
use crate::{Resource, Strategy, Subresource, meta};

const COLUMNS: &[Column] = &[Column::NAME, Column::AGE];

/// The strategy of DeviceClasses.
pub(super) struct DeviceClasses;

impl Strategy for DeviceClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("resource.k8s.io", "v1", "deviceclasses")
    }

    fn prepare_create(&self, obj: &mut Value) {
        meta::start_generation(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, long_name_rule);
        errors.extend(validate_spec(obj, None));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate(new, false, long_name_rule);
        errors.extend(meta::validate_update(new, old));
        errors.extend(validate_spec(new, Some(old)));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn validate_spec(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let path = Path::new("spec");
    let is_stored = |part: &str| old.is_some_and(|old| same_at(obj, old, part));
    let mut errors = device_request::selectors(list_at(obj, "spec.selectors"), &path.child("selectors"));
    let stored = is_stored("spec.config");
    let configs = list_at(obj, "spec.config");
    errors.extend(items::list(
        configs,
        device_request::CONFIGS_MAX,
        &path.child("config"),
        |config, path| device_request::configuration(config, stored, path),
    ));
    if let Some(name) = at(obj, "spec.extendedResourceName").and_then(Value::as_str)
        && !is_extended(name)
    {
        let path = path.child("extendedResourceName");
        errors.push(field::invalid(&path, name, "must be a valid extended resource name"));
    }
    errors
}
