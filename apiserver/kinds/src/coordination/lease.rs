//! Leases: who holds what, until when.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{carry_over, int_at, remove, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const COLUMNS: &[Column] = &[Column::NAME, Column::text("Holder", "Who holds the lease."), Column::AGE];

/// Fields of coordinated leader election, which is off: they are accepted and dropped.
const DROPPED: &[&str] = &["spec.strategy", "spec.preferredHolder"];

/// The strategy of Leases.
pub(super) struct Leases;

impl Strategy for Leases {
    fn resource(&self) -> &'static Resource {
        crate::resource!("coordination.k8s.io", "v1", "leases")
    }

    fn prepare_create(&self, obj: &mut Value) {
        for path in DROPPED {
            remove(obj, path);
        }
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        for path in DROPPED {
            if str_at(old, path).is_empty() {
                carry_over(new, old, path);
            }
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate_plain(obj, true, subdomain_rule);
        errors.extend(validate_spec(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(validate_spec(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(str_at(obj, "spec.holderIdentity")), columns::age(obj, now)]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn validate_spec(obj: &Value) -> Vec<Error> {
    let spec = Path::new("spec");
    let mut errors = Vec::new();
    if let Some(seconds) = int_at(obj, "spec.leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(field::invalid(&spec.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
    }
    if let Some(count) = int_at(obj, "spec.leaseTransitions").filter(|count| *count < 0) {
        errors.push(field::invalid(&spec.child("leaseTransitions"), count, meta::NOT_NEGATIVE));
    }
    errors
}
