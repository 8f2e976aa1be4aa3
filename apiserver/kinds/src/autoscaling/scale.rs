//! Scale: the replicas of an object, seen through a window that is the same for every kind.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta::{self, NOT_NEGATIVE};
use crate::names::subdomain_rule;
use crate::tree::{at, int_at, set, str_at};

/// Kind and group by which an Invalid answer calls a scale.
pub const ERROR_KIND: (&str, &str) = ("Scale", "autoscaling");

/// Columns of a Scale's Table.
pub const COLUMNS: &[Column] = &[
    Column { format: "", ..Column::NAME },
    Column::integer("Desired", "Replicas wanted."),
    Column::integer("Available", "Replicas there are."),
    Column::AGE,
];

/// The cells of one Table row.
pub fn row(scale: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let count = |path: &str| json!(int_at(scale, path).unwrap_or(0));
    vec![columns::name(scale), count("spec.replicas"), count("status.replicas"), columns::age(scale, now)]
}

/// The scale of an object: its identity, replicas and selector. `selector` is in selector syntax.
pub fn of(parent: &Value, selector: &str) -> Value {
    let mut metadata = serde_json::Map::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = at(parent, &format!("metadata.{name}")) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": int_at(parent, "status.replicas").unwrap_or(0)},
    });
    // Zero replicas wanted are left out, as every number there that may be absent.
    let replicas = int_at(parent, "spec.replicas").unwrap_or(0);
    if replicas != 0 {
        set(&mut scale, "spec.replicas", replicas);
    }
    if !selector.is_empty() {
        set(&mut scale, "status.selector", selector);
    }
    scale
}

/// Puts the replicas a scale wants into the object it belongs to.
pub fn apply(scale: &Value, parent: &mut Value) {
    set(parent, "spec.replicas", int_at(scale, "spec.replicas").unwrap_or(0));
    let version = str_at(scale, "metadata.resourceVersion");
    if !version.is_empty() {
        set(parent, "metadata.resourceVersion", version);
    }
}

/// Everything wrong with a scale.
pub fn validate(scale: &Value) -> Vec<Error> {
    let mut errors = meta::validate(scale, true, subdomain_rule);
    let replicas = int_at(scale, "spec.replicas").unwrap_or(0);
    if replicas < 0 {
        errors.push(field::invalid(&Path::new("spec.replicas"), replicas, NOT_NEGATIVE));
    }
    errors
}
