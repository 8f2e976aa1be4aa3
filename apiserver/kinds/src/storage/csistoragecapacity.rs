//! CSIStorageCapacities: how much room a driver has for volumes of a class in a part of the cluster.

use serde_json::Value;

use crate::core::pod::internal;
use crate::core::pod::warnings::old_node_label;
use crate::field::{self, Error, Path};
use crate::meta::{self, IMMUTABLE, NOT_NEGATIVE, validate_immutable};
use crate::names::{dns_subdomain, subdomain_rule};
use crate::quantity;
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, entries_at, list_at, same_at, str_at};
use crate::{Resource, Strategy, Subresource};

/// The strategy of CSIStorageCapacities.
pub(super) struct CsiStorageCapacities;

impl Strategy for CsiStorageCapacities {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "csistoragecapacities")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate(obj, Leniency::default())
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let path = Path::new("nodeTopology");
        let broken = !validate_label_selector(old, "nodeTopology", Leniency::default(), &path).is_empty();
        let mut errors = validate(new, Leniency { any_values: broken, any_operator: false });
        errors.extend(meta::validate_update(new, old));
        if !same_at(new, old, "nodeTopology") {
            errors.push(field::invalid(&path, internal::bad_value("l", at(new, "nodeTopology")), IMMUTABLE));
        }
        errors.extend(validate_immutable(new, old, "storageClassName"));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let path = Path::new("nodeTopology");
        let mut warnings = Vec::new();
        for (index, expression) in list_at(new, "nodeTopology.matchExpressions").iter().enumerate() {
            let key = str_at(expression, "key");
            if let Some(text) = old_node_label(key) {
                let path = path.child("matchExpressions").index(index).child("key");
                warnings.push(format!("{path}: {key} is {text}"));
            }
        }
        for (label, _) in entries_at(new, "nodeTopology.matchLabels") {
            if let Some(text) = old_node_label(label) {
                warnings.push(format!("{}: {text}", path.child("matchLabels").child(label)));
            }
        }
        warnings
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn validate(obj: &Value, leniency: Leniency) -> Vec<Error> {
    let mut errors = meta::validate(obj, true, subdomain_rule);
    errors.extend(validate_label_selector(obj, "nodeTopology", leniency, &Path::new("nodeTopology")));
    let class = str_at(obj, "storageClassName");
    let path = Path::new("storageClassName");
    errors.extend(dns_subdomain(class).into_iter().map(|text| field::invalid(&path, class, text)));
    if let Some(capacity) = at(obj, "capacity").map(quantity::of).filter(quantity::is_negative) {
        errors.push(field::invalid(&Path::new("capacity"), capacity.to_string(), NOT_NEGATIVE));
    }
    errors
}
