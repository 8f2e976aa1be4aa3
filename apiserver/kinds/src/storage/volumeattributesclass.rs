//! VolumeAttributesClasses: parameters of volumes that may change while they are used.

use serde_json::{Value, json};

use super::parameters::{self, Emptiness};
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::subdomain_rule;
use crate::tree::{same_at, str_at};
use crate::{Resource, Strategy, Subresource};

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("DriverName", "The driver the parameters are for."), Column::AGE];

/// The strategy of VolumeAttributesClasses.
pub(super) struct VolumeAttributesClasses;

impl Strategy for VolumeAttributesClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "volumeattributesclasses")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(parameters::provisioner(str_at(obj, "driverName"), &Path::new("driverName")));
        errors.extend(parameters::validate(obj, Emptiness::Refused));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        for name in ["driverName", "parameters"] {
            if !same_at(new, old, name) {
                let text = format!("updates to {name} are forbidden.");
                errors.push(field::forbidden(&Path::new(name), text));
            }
        }
        errors.extend(self.validate(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(str_at(obj, "driverName")), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}
