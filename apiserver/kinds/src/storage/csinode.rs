//! CSINodes: which drivers a node has, and what it is called by them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::parameters::driver_name;
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::meta::{self, IMMUTABLE, NOT_NEGATIVE};
use crate::names::{qualified_name, subdomain_rule};
use crate::tree::{int_at, list_at, remove, same, str_at, strings_at};
use crate::{Resource, Strategy, Subresource};

/// Characters of a node's name among the driver's nodes.
const NODE_ID_MAX: usize = 256;

const COLUMNS: &[Column] =
    &[Column::NAME, Column::integer("Drivers", "How many drivers the node has."), Column::AGE];

/// The strategy of CSINodes.
pub(super) struct CsiNodes;

impl Strategy for CsiNodes {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "csinodes")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        let mut seen = BTreeSet::new();
        for (index, driver) in list_at(obj, "spec.drivers").iter().enumerate() {
            errors.extend(driver_errors(driver, &mut seen, &Path::new("spec.drivers").index(index)));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        for before in list_at(old, "spec.drivers") {
            let now = list_at(new, "spec.drivers").iter();
            let same_name = now.filter(|now| str_at(now, "name") == str_at(before, "name"));
            errors.extend(same_name.filter_map(|now| fixed_driver(now, before)));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(list_at(obj, "spec.drivers").len()), columns::age(obj, now)]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn driver_errors<'a>(driver: &'a Value, seen: &mut BTreeSet<&'a str>, path: &Path) -> Vec<Error> {
    let (name, node) = (str_at(driver, "name"), str_at(driver, "nodeID"));
    let mut errors = driver_name(name, &path.child("name"));
    let node_path = path.child("nodeID");
    if node.is_empty() {
        errors.push(field::required(&node_path, ""));
    }
    if node.len() > NODE_ID_MAX {
        errors.push(field::invalid(&node_path, node, format!("must be {NODE_ID_MAX} characters or less")));
    }
    if let Some(count) = int_at(driver, "allocatable.count").filter(|count| *count < 0) {
        errors.push(field::invalid(&path.child("allocatable").child("count"), count, NOT_NEGATIVE));
    }
    if !seen.insert(name) {
        errors.push(field::duplicate(&path.child("name"), name));
    }
    errors.extend(topology_keys(driver, path));
    errors
}

/// Upstream names the driver and not the key.
fn topology_keys(driver: &Value, path: &Path) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for key in strings_at(driver, "topologyKeys") {
        if key.is_empty() {
            errors.push(field::required(path, ""));
        }
        if !seen.insert(key) {
            errors.push(field::duplicate(path, key));
        }
        errors.extend(qualified_name(key).into_iter().map(|text| field::invalid(path, key, text)));
    }
    errors
}

/// A driver keeps what it said, except how many volumes the node takes.
fn fixed_driver(now: &Value, before: &Value) -> Option<Error> {
    let (mut now, mut before) = (now.clone(), before.clone());
    for driver in [&mut now, &mut before] {
        remove(driver, "allocatable");
    }
    let value = || internal::bad_value("CSINodeDriver", Some(&now));
    (!same(Some(&now), Some(&before))).then(|| field::invalid(&Path::new("spec.drivers"), value(), IMMUTABLE))
}
