//! From a message's bytes to a tree.

use serde_json::{Map, Value as Tree};

use super::message::{self, Cardinality, Field, Link, Message, Other, Type};
use super::wire::{Reader, Value};
use super::{ProtobufError, scalar};

/// Messages inside messages; the deepest of the built-in kinds has about 20.
const DEPTH_MAX: usize = 64;

/// Decodes the message of a definition (`io.k8s.api.core.v1.Pod`). The tree has no kind and apiVersion: the envelope
/// holds them.
///
/// # Errors
/// The table has no such message, or the bytes are not one.
pub fn decode(definition: &str, bytes: &[u8]) -> Result<Tree, ProtobufError> {
    let message = message::of_definition(definition)
        .ok_or_else(|| ProtobufError::UnknownMessage(definition.to_owned()))?;
    let mut object = Map::new();
    read(message, bytes, &mut object, 0)?;
    Ok(Tree::Object(object))
}

fn read(
    message: &'static Message,
    bytes: &[u8],
    into: &mut Map<String, Tree>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::TooDeep);
    }
    let mut reader = Reader::new(bytes, message.name);
    while let Some((number, value)) = reader.field()? {
        let Ok(at) = message.fields.binary_search_by_key(&number, |field| field.number) else { continue };
        take(message, &message.fields[at], value, into, depth)?;
    }
    Ok(())
}

fn take(
    message: &'static Message,
    field: &Field,
    value: Value<'_>,
    into: &mut Map<String, Tree>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let malformed = ProtobufError::Malformed { message: message.name };
    match field.cardinality {
        Cardinality::Inline => {
            let (Type::Message(link), Value::Bytes(bytes)) = (field.ty, value) else { return Err(malformed) };
            let inner = link.get().ok_or(malformed)?;
            read(inner, bytes, into, depth + 1)
        }
        Cardinality::One => {
            if let Some(tree) = single(message, field, value, depth)? {
                into.insert(field.name.to_owned(), tree);
            }
            Ok(())
        }
        Cardinality::List => {
            let item = single(message, field, value, depth)?.unwrap_or(Tree::Null);
            match into.entry(field.name).or_insert_with(|| Tree::Array(Vec::new())) {
                Tree::Array(items) => items.push(item),
                _ => return Err(malformed),
            }
            Ok(())
        }
        Cardinality::WrappedList => {
            let Value::Bytes(bytes) = value else { return Err(malformed) };
            into.insert(field.name.to_owned(), Tree::Array(wrapped(message, field, bytes, depth)?));
            Ok(())
        }
        Cardinality::Map | Cardinality::MapOfWrappedLists => {
            let Value::Bytes(bytes) = value else { return Err(malformed) };
            let (key, tree) = entry(message, field, bytes, depth)?;
            match into.entry(field.name).or_insert_with(|| Tree::Object(Map::new())) {
                Tree::Object(entries) => entries.insert(key, tree),
                _ => return Err(malformed),
            };
            Ok(())
        }
    }
}

fn single(
    message: &'static Message,
    field: &Field,
    value: Value<'_>,
    depth: usize,
) -> Result<Option<Tree>, ProtobufError> {
    let malformed = ProtobufError::Malformed { message: message.name };
    match (field.ty, value) {
        (Type::Message(link), Value::Bytes(bytes)) => object(link, bytes, depth).map(Some),
        (Type::Either(other, link), Value::Bytes(bytes)) => {
            either(message, field, (other, link), bytes, depth).map(Some)
        }
        (Type::Message(_) | Type::Either(..), _) => Err(malformed),
        (ty, value) => scalar::decode(ty, value, message.name, field.name),
    }
}

fn object(link: &'static Link, bytes: &[u8], depth: usize) -> Result<Tree, ProtobufError> {
    let mut object = Map::new();
    // A message without fields has no rows in the table.
    if let Some(inner) = link.get() {
        read(inner, bytes, &mut object, depth + 1)?;
    }
    Ok(Tree::Object(object))
}

/// A schema, or what stands instead of it. As Go prints it: a list that has items, else the schema.
fn either(
    message: &'static Message,
    field: &Field,
    (other, link): (Other, &'static Link),
    bytes: &[u8],
    depth: usize,
) -> Result<Tree, ProtobufError> {
    let (mut schema, mut allows, mut items) = (None, false, Vec::new());
    let mut reader = Reader::new(bytes, message.name);
    while let Some((number, value)) = reader.field()? {
        match (other, number, value) {
            (Other::Bool, 1, Value::Varint(value)) => allows = value != 0,
            (Other::Texts, 2, Value::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes);
                let not_text = |_| ProtobufError::NotText { message: message.name, field: field.name };
                items.push(Tree::from(text.map_err(not_text)?));
            }
            (Other::Schemas, 2, Value::Bytes(bytes)) => items.push(object(link, bytes, depth)?),
            (_, number, Value::Bytes(bytes)) if number == other.schema_number() => {
                schema = Some(object(link, bytes, depth)?);
            }
            _ => {}
        }
    }
    let instead = if other == Other::Bool { Tree::Bool(allows) } else { Tree::Null };
    Ok(if items.is_empty() { schema.unwrap_or(instead) } else { Tree::Array(items) })
}

fn wrapped(
    message: &'static Message,
    field: &Field,
    bytes: &[u8],
    depth: usize,
) -> Result<Vec<Tree>, ProtobufError> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes, message.name);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            items.push(single(message, field, value, depth)?.unwrap_or(Tree::Null));
        }
    }
    Ok(items)
}

fn entry(
    message: &'static Message,
    field: &Field,
    bytes: &[u8],
    depth: usize,
) -> Result<(String, Tree), ProtobufError> {
    let (mut key, mut tree) = (String::new(), None);
    let mut reader = Reader::new(bytes, message.name);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes);
                key = text
                    .map_err(|_| ProtobufError::NotText { message: message.name, field: field.name })?
                    .to_owned();
            }
            (2, Value::Bytes(bytes)) if field.cardinality == Cardinality::MapOfWrappedLists => {
                tree = Some(Tree::Array(wrapped(message, field, bytes, depth)?));
            }
            (2, value) => tree = single(message, field, value, depth)?,
            _ => {}
        }
    }
    Ok((key, tree.unwrap_or_else(|| empty(field))))
}

/// What a map's value is when its bytes were left out.
fn empty(field: &Field) -> Tree {
    match field.ty {
        Type::String | Type::Bytes => Tree::String(String::new()),
        Type::Message(_) => Tree::Object(Map::new()),
        _ => Tree::Null,
    }
}
