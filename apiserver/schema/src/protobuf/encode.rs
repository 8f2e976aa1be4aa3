//! From a tree to a message's bytes, as Go's encoder writes them: fields in order of number, numbers, texts and
//! messages that are no pointers also when they are empty.

use serde_json::{Map, Value as Tree};

use super::message::{self, Cardinality, Field, Message, Type};
use super::wire::{put_bytes, put_number};
use super::{ProtobufError, scalar};

/// Encodes a tree as the message of a definition (`io.k8s.api.core.v1.Pod`). What the message has no field for is left
/// out, kind and apiVersion among it: the envelope holds them.
///
/// # Errors
/// The table has no such message.
pub fn encode(definition: &str, tree: &Tree) -> Result<Vec<u8>, ProtobufError> {
    let message = message::of_definition(definition)
        .ok_or_else(|| ProtobufError::UnknownMessage(definition.to_owned()))?;
    let mut out = Vec::new();
    if let Tree::Object(object) = tree {
        write(message, object, &mut out);
    }
    Ok(out)
}

fn write(message: &Message, object: &Map<String, Tree>, out: &mut Vec<u8>) {
    for field in &message.fields {
        match (field.cardinality, object.get(field.name)) {
            (Cardinality::Inline, _) => inline(field, object, out),
            (_, None | Some(Tree::Null)) => zero(field, out),
            (Cardinality::List, Some(Tree::Array(items))) => {
                items.iter().for_each(|item| single(field, field.number, item, out));
            }
            (Cardinality::WrappedList, Some(Tree::Array(items))) => {
                put_bytes(out, field.number, &wrapped(field, items))
            }
            (Cardinality::Map | Cardinality::MapOfWrappedLists, Some(Tree::Object(entries))) => {
                entries
                    .iter()
                    .for_each(|(key, value)| put_bytes(out, field.number, &entry(field, key, value)));
            }
            (Cardinality::One, Some(value)) => single(field, field.number, value, out),
            // A tree of another form than the schema's was refused on its way in.
            _ => {}
        }
    }
}

fn inline(field: &Field, object: &Map<String, Tree>, out: &mut Vec<u8>) {
    let Type::Message(link) = field.ty else { return };
    let mut bytes = Vec::new();
    if let Some(inner) = link.get() {
        write(inner, object, &mut bytes);
    }
    put_bytes(out, field.number, &bytes);
}

fn single(field: &Field, number: u32, tree: &Tree, out: &mut Vec<u8>) {
    let Type::Message(link) = field.ty else { return scalar::encode(out, number, field.ty, tree) };
    let Tree::Object(object) = tree else { return };
    let mut bytes = Vec::new();
    if let Some(inner) = link.get() {
        write(inner, object, &mut bytes);
    }
    put_bytes(out, number, &bytes);
}

fn wrapped(field: &Field, items: &[Tree]) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.iter().for_each(|item| single(field, 1, item, &mut bytes));
    bytes
}

fn entry(field: &Field, key: &str, value: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, key.as_bytes());
    match (field.cardinality, value) {
        (Cardinality::MapOfWrappedLists, Tree::Array(items)) => {
            put_bytes(&mut bytes, 2, &wrapped(field, items))
        }
        _ => single(field, 2, value, &mut bytes),
    }
    bytes
}

/// What Go writes for a field that is not set: nothing for pointers, lists, maps and bytes.
fn zero(field: &Field, out: &mut Vec<u8>) {
    if field.omission.pointer || field.cardinality != Cardinality::One {
        return;
    }
    match field.ty {
        Type::String => put_bytes(out, field.number, b""),
        Type::Bool | Type::Int32 | Type::Int64 => put_number(out, field.number, 0),
        Type::Time | Type::MicroTime => put_bytes(out, field.number, b""),
        Type::Message(link) => {
            let mut bytes = Vec::new();
            if let Some(inner) = link.get() {
                write(inner, &Map::new(), &mut bytes);
            }
            put_bytes(out, field.number, &bytes);
        }
        Type::IntOrString => scalar::encode(out, field.number, field.ty, &Tree::from(0)),
        Type::Quantity => scalar::encode(out, field.number, field.ty, &Tree::from("0")),
        Type::Bytes | Type::Double | Type::RawJson => {}
    }
}
