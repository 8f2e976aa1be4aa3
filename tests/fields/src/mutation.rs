//! In which ways a field can be another, a bad, or no value: a walk over an object along its schema.
//!
//! Each form of a field is changed once in each way, first where the object has it and then where it could have it, so that
//! thirty volumes do not ask thirty times whether a name may be empty.

use std::collections::BTreeSet;

use schema::{Child, Field, Schema, Shape};
use serde_json::{Value, json};

use crate::place::{Place, Step};

/// A change of one value.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// Where.
    pub place: Place,
    /// In which way.
    pub way: &'static str,
    /// What stands there afterwards; nothing removes the field.
    pub value: Option<Value>,
    /// The object does not have the field before.
    pub is_new: bool,
}

/// The way that adds a field nobody knows.
pub const UNKNOWN: &str = "unknown";
/// The way that removes a field.
pub const REMOVED: &str = "removed";

/// Ways whose outcome on an update says something else than on a create: another good value, a bad one, and none.
pub const OF_UPDATES: [&str; 9] =
    [REMOVED, "empty", "other", "bad", "flipped", "minus", "zero", "entry", "twice"];
/// The same of a merge patch, which mostly ends in the same update.
pub const OF_PATCHES: [&str; 3] = [REMOVED, "other", "flipped"];

/// Every change of an object.
pub fn all(schema: &Schema, tree: &Value) -> Vec<Mutation> {
    let mut walk = Walk::default();
    walk.value(schema, &[], tree, &Place::default());
    let Walk { present, absent, .. } = walk;
    let mut seen = BTreeSet::new();
    let both = present.into_iter().chain(absent);
    both.filter(|mutation| seen.insert((mutation.place.form(), mutation.way))).collect()
}

#[derive(Default)]
struct Walk {
    present: Vec<Mutation>,
    absent: Vec<Mutation>,
}

impl Walk {
    fn add(&mut self, place: &Place, way: &'static str, value: Option<Value>) {
        self.present.push(Mutation { place: place.clone(), way, value, is_new: false });
    }

    fn value(&mut self, schema: &Schema, values: &[String], tree: &Value, place: &Place) {
        let is_root = place.0.is_empty();
        for (way, value) in ways(schema, values, Some(tree)).into_iter().filter(|_| !is_root) {
            self.add(place, way, Some(value));
        }
        match (&schema.shape, tree) {
            (Shape::Struct(inner), Value::Object(fields)) => {
                self.add(&place.then(Step::Field("noSuchField".to_owned())), UNKNOWN, Some(json!(1)));
                for field in &inner.fields {
                    let here = place.then(Step::Field(field.name.to_string()));
                    match fields.get(&*field.name) {
                        Some(value) if !is_of_servers(&here) => self.field(schema, field, value, &here),
                        None if !is_of_servers(&here) && place.first() != "metadata" => {
                            self.missing(schema, field, &here);
                        }
                        _ => {}
                    }
                }
            }
            (Shape::Map(map), Value::Object(entries)) => {
                for (key, value) in entries {
                    self.value(&map.value, &[], value, &place.then(Step::Entry(key.clone())));
                }
            }
            (Shape::List(list), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&list.item, values, item, &place.then(Step::Item(index)));
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, owner: &Schema, field: &Field, value: &Value, place: &Place) {
        self.add(place, REMOVED, None);
        self.value(&field.child, &enumeration(owner, &field.name), value, place);
    }

    fn missing(&mut self, owner: &Schema, field: &Field, place: &Place) {
        for (way, value) in ways(&field.child, &enumeration(owner, &field.name), None) {
            self.absent.push(Mutation { place: place.clone(), way, value: Some(value), is_new: true });
        }
    }
}

/// What the server writes, and what says which kind of object it is.
fn is_of_servers(place: &Place) -> bool {
    matches!(
        place.to_string().as_str(),
        "apiVersion" | "kind" | "metadata.resourceVersion" | "metadata.uid" | "metadata.creationTimestamp"
    )
}

/// The values that a field of a definition may have, where the published schema lists them.
fn enumeration(owner: &Schema, field: &str) -> Vec<String> {
    let row = k8s::tables::definition(&owner.name).find(|row| row.name == field);
    let extensions: Value = row.and_then(|row| serde_json::from_str(row.extensions).ok()).unwrap_or_default();
    let values = extensions["enum"].as_array().cloned().unwrap_or_default();
    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Names of ways with the values they put in place of what is there.
fn ways(schema: &Schema, values: &[String], have: Option<&Value>) -> Vec<(&'static str, Value)> {
    match &schema.shape {
        Shape::String => texts(values, have),
        Shape::Boolean => {
            let have = have.and_then(Value::as_bool).unwrap_or_default();
            vec![("flipped", json!(!have)), ("type", json!("x"))]
        }
        Shape::Integer { bits } => {
            let beyond = if *bits == 32 { json!(2_147_483_648_i64) } else { json!(i64::MAX) };
            let have = have.and_then(Value::as_i64).unwrap_or(6);
            vec![
                ("minus", json!(-1)),
                ("zero", json!(0)),
                ("beyond", beyond),
                ("other", json!(have + 1)),
                ("type", json!("x")),
            ]
        }
        Shape::Number => vec![("minus", json!(-1)), ("type", json!("x"))],
        Shape::IntOrString => vec![
            ("minus", json!(-1)),
            ("zero", json!(0)),
            ("other", json!(7)),
            ("beyond", json!(70_000)),
            ("bad", json!("Not Valid!")),
            ("percent", json!("101%")),
            ("type", json!(true)),
        ],
        Shape::Quantity => vec![
            ("minus", json!("-1")),
            ("zero", json!("0")),
            ("other", json!("7")),
            ("fraction", json!("1500m")),
            ("bad", json!("abc")),
        ],
        Shape::Time => times("2030-01-01T00:00:00Z"),
        Shape::MicroTime => times("2030-01-01T00:00:00.000001Z"),
        Shape::Bytes => {
            vec![("empty", json!("")), ("other", json!("eHl6")), ("bad", json!("!")), ("type", json!(7))]
        }
        Shape::Struct(_) => vec![("empty", json!({})), ("null", Value::Null), ("type", json!("x"))],
        Shape::Map(map) => maps(&map.value, have),
        Shape::List(list) => lists(&list.item, have),
        Shape::Any | Shape::Embedded | Shape::Either { .. } => vec![("other", json!({"z": 1}))],
    }
}

fn texts(values: &[String], have: Option<&Value>) -> Vec<(&'static str, Value)> {
    let have = have.and_then(Value::as_str).unwrap_or_default();
    let known = values.iter().find(|value| *value != have && !value.is_empty());
    let other = known.cloned().unwrap_or_else(|| format!("{have}x"));
    vec![
        ("empty", json!("")),
        ("other", json!(other)),
        ("bad", json!("Not Valid!")),
        ("long", json!("x".repeat(300))),
        ("type", json!(7)),
    ]
}

fn times(other: &str) -> Vec<(&'static str, Value)> {
    vec![("other", json!(other)), ("bad", json!("yesterday")), ("type", json!(7))]
}

fn maps(value: &Child, have: Option<&Value>) -> Vec<(&'static str, Value)> {
    let entries = have.and_then(Value::as_object).cloned().unwrap_or_default();
    let sample = entries.values().next().cloned().unwrap_or_else(|| plain(value));
    let with = |key: &str| {
        let mut entries = entries.clone();
        entries.insert(key.to_owned(), sample.clone());
        Value::Object(entries)
    };
    vec![
        ("empty", json!({})),
        ("entry", with("other")),
        ("key", with("Not Valid!")),
        ("null", Value::Null),
        ("type", json!("x")),
    ]
}

fn lists(item: &Child, have: Option<&Value>) -> Vec<(&'static str, Value)> {
    let items = have.and_then(Value::as_array).cloned().unwrap_or_default();
    let sample = items.first().cloned().unwrap_or_else(|| plain(item));
    let twice = items.iter().chain([&sample]).cloned().collect();
    vec![
        ("empty", json!([])),
        ("twice", Value::Array(twice)),
        ("item", json!([plain(item)])),
        ("null", Value::Null),
        ("type", json!("x")),
    ]
}

/// The least that has the form.
fn plain(schema: &Schema) -> Value {
    match schema.shape {
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime => json!(""),
        Shape::Boolean => json!(false),
        Shape::Integer { .. } | Shape::Number | Shape::IntOrString | Shape::Quantity => json!(0),
        Shape::List(_) => json!([]),
        _ => json!({}),
    }
}
