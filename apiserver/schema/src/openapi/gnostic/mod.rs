//! OpenAPI documents in protobuf, as the gnostic project lays them out: a JSON document goes in, bytes come out.
//!
//! The layouts are tables ([`v2`], [`v3`]) of the messages our documents use; a key that a table does not name is left
//! out. Writes only: no client sends such a document.

mod v2;
mod v3;

use crate::protobuf::wire::{put_bytes, put_double, put_number};
use crate::{Object, Tree};

/// An OpenAPI v2 document in protobuf.
pub fn v2(document: &Tree) -> Vec<u8> {
    message(&v2::DOCUMENT, document)
}

/// An OpenAPI v3 document in protobuf.
pub fn v3(document: &Tree) -> Vec<u8> {
    message(&v3::DOCUMENT, document)
}

/// A message made of a JSON object. `{"$ref": "#/a", "x-b": 1}` with a field for `$ref` and extensions at 31 becomes
/// `1: "#/a", 31: {1: "x-b", 2: {2: "1"}}`.
struct Message {
    /// Key, number and shape of the values.
    fields: &'static [(&'static str, u32, Shape)],
    /// What is written of keys that are no fields: number of a repeated pair {1: key, 2: value}, and the value's shape.
    others: Option<(u32, Shape)>,
    /// Number of the repeated pairs of keys that start with `x-`.
    extensions: Option<u32>,
}

/// How a JSON value is written.
enum Shape {
    Text,
    Flag,
    Number,
    /// Any JSON at all, as a text of YAML; JSON is one.
    Any,
    Message(&'static Message),
    /// A message whose only field, of this number, is the value.
    Within(u32, &'static Shape),
    /// One field for each item of a list.
    Each(&'static Shape),
    /// The value itself tells which shape it has.
    Choice(fn(&Tree) -> &'static Shape),
}

/// A message of pairs only: a map from names to one shape.
const fn map(shape: Shape) -> Message {
    Message { fields: &[], others: Some((1, shape)), extensions: None }
}

fn message(layout: &Message, tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(object) = tree.as_object() else { return out };
    for (key, number, shape) in layout.fields {
        if let Some(value) = object.get(*key) {
            field(*number, shape, value, &mut out);
        }
    }
    for (key, value) in unnamed(layout, object) {
        if let Some(number) = layout.extensions.filter(|_| key.starts_with("x-")) {
            pair(number, key, &Shape::Any, value, &mut out);
        } else if let Some((number, shape)) = &layout.others {
            pair(*number, key, shape, value, &mut out);
        }
    }
    out
}

/// The entries that the table has no field for.
fn unnamed<'a>(layout: &Message, object: &'a Object) -> impl Iterator<Item = (&'a String, &'a Tree)> {
    object.iter().filter(|(key, _)| !layout.fields.iter().any(|(name, ..)| name == key))
}

fn pair(number: u32, key: &str, shape: &Shape, value: &Tree, out: &mut Vec<u8>) {
    let mut nested = Vec::new();
    put_bytes(&mut nested, 1, key.as_bytes());
    field(2, shape, value, &mut nested);
    put_bytes(out, number, &nested);
}

fn field(number: u32, shape: &Shape, value: &Tree, out: &mut Vec<u8>) {
    match shape {
        Shape::Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Shape::Flag => put_number(out, number, u64::from(value.as_bool().unwrap_or_default())),
        Shape::Number => put_double(out, number, value.as_f64().unwrap_or_default()),
        Shape::Any => {
            let mut nested = Vec::new();
            put_bytes(&mut nested, 2, format!("{value}\n").as_bytes());
            put_bytes(out, number, &nested);
        }
        Shape::Message(layout) => put_bytes(out, number, &message(layout, value)),
        Shape::Within(inner, shape) => {
            let mut nested = Vec::new();
            field(*inner, shape, value, &mut nested);
            put_bytes(out, number, &nested);
        }
        Shape::Each(shape) => {
            for item in value.as_array().into_iter().flatten() {
                field(number, shape, item, out);
            }
        }
        Shape::Choice(choose) => field(number, choose(value), value, out),
    }
}

#[cfg(test)]
mod tests;
