//! A message's fields, compiled from the table on first use and kept.

use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

use k8s::tables::{self, Omission};

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name without the package, for errors.
    pub(super) name: &'static str,
    /// Its fields in ascending order of number.
    pub(super) fields: Vec<Field>,
    members: OnceLock<Vec<Member>>,
}

/// A member of the JSON object that a message stands for.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    name: &'static str,
    /// Its place among all members when they are counted in order of number, those of inlined messages where these are.
    pub(super) slot: usize,
    /// The field it becomes.
    pub(super) field: &'static Field,
}

impl Message {
    /// The members in ascending order of name.
    pub(super) fn members(&'static self) -> &'static [Member] {
        self.members.get_or_init(|| {
            let mut members = Vec::new();
            self.collect_members(&mut members);
            members.sort_by_key(|member| member.name);
            members
        })
    }

    fn collect_members(&'static self, members: &mut Vec<Member>) {
        for field in &self.fields {
            match field.ty {
                Type::Message(link) if field.cardinality == Cardinality::Inline => {
                    link.get().into_iter().for_each(|inner| inner.collect_members(members));
                }
                _ => members.push(Member { name: field.name, slot: members.len(), field }),
            }
        }
    }
}

/// The member of a name.
pub(super) fn find(members: &'static [Member], name: &[u8]) -> Option<&'static Member> {
    let at = members.binary_search_by(|member| member.name.as_bytes().cmp(name)).ok()?;
    Some(&members[at])
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Name in JSON; for an inlined message, of no meaning.
    pub(super) name: &'static str,
    pub(super) cardinality: Cardinality,
    pub(super) ty: Type,
    pub(super) omission: Omission,
    /// What Go writes when the field is not set.
    pub(super) unset: OnceLock<Box<[u8]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cardinality {
    One,
    /// The message's fields stand in the parent's JSON object.
    Inline,
    List,
    /// String keys; the field's type is that of the values.
    Map,
    /// A message whose only field, number 1, holds the items of a list.
    WrappedList,
    /// A map whose values are wrapped lists.
    MapOfWrappedLists,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// A message whose field 1 holds JSON text.
    RawJson,
    /// A message that is either a schema (the link) or something else: parts of custom resource schemas.
    Either(Other, &'static Link),
    Message(&'static Link),
}

/// What stands instead of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// Field 1, always written; the schema is field 2.
    Bool,
    /// Schemas, field 2; the one schema is field 1.
    Schemas,
    /// Texts, field 2; the schema is field 1.
    Texts,
}

impl Other {
    /// Number of the schema's field.
    pub(super) fn schema_number(self) -> u32 {
        if self == Other::Bool { 2 } else { 1 }
    }
}

/// A message by name, looked up when it is first needed: messages may contain themselves.
pub(super) struct Link {
    name: &'static str,
    message: OnceLock<Option<&'static Message>>,
}

impl Link {
    pub(super) fn get(&self) -> Option<&'static Message> {
        *self.message.get_or_init(|| {
            let (package, name) = self.name.rsplit_once('.')?;
            message(package, name)
        })
    }
}

/// Only the name: a message that contains itself has no end.
impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// The message of a definition (`io.k8s.api.core.v1.Pod`).
pub(super) fn of_definition(definition: &str) -> Option<&'static Message> {
    let (package, name) = definition.strip_prefix("io.k8s.")?.rsplit_once('.')?;
    message(&format!("k8s.io.{package}"), name)
}

fn message(package: &str, name: &str) -> Option<&'static Message> {
    static KNOWN: OnceLock<RwLock<HashMap<String, &'static Message>>> = OnceLock::new();
    let known = KNOWN.get_or_init(RwLock::default);
    let key = format!("{package}.{name}");
    if let Some(message) = known.read().expect("no reader panics").get(&key) {
        return Some(message);
    }
    let mut fields: Vec<Field> = tables::message(package, name).map(field).collect();
    if fields.is_empty() {
        return None;
    }
    fields.sort_by_key(|field| field.number);
    // Messages live as long as the program; the table bounds how many there are.
    let name: &'static str = name.to_owned().leak();
    let compiled: &'static Message = Box::leak(Box::new(Message { name, fields, members: OnceLock::new() }));
    Some(known.write().expect("no writer panics").entry(key).or_insert(compiled))
}

fn field(row: tables::MessageRow) -> Field {
    let (cardinality, ty) = typed(row.ty);
    // An embedded struct without a JSON name of its own is inlined as well.
    let inline = row.is_embedded();
    let cardinality = if inline { Cardinality::Inline } else { cardinality };
    Field {
        number: row.number,
        name: row.name,
        cardinality,
        ty,
        omission: row.omission,
        unset: OnceLock::new(),
    }
}

fn typed(text: &'static str) -> (Cardinality, Type) {
    if let Some(values) = text.strip_prefix("map<string,").and_then(|rest| rest.strip_suffix('>')) {
        return match values.split_once("=[]") {
            Some((_, item)) => (Cardinality::MapOfWrappedLists, scalar(item)),
            None => (Cardinality::Map, scalar(values)),
        };
    }
    if let Some(item) = text.strip_prefix("[]") {
        return (Cardinality::List, scalar(item));
    }
    match text.split_once("=[]") {
        // A named list of messages repeats like any list; a named list of strings is wrapped.
        Some((_, item)) if item.contains('.') => (Cardinality::List, scalar(item)),
        Some((_, item)) => (Cardinality::WrappedList, scalar(item)),
        None => (Cardinality::One, scalar(text)),
    }
}

fn scalar(text: &'static str) -> Type {
    const EITHER: &str = "k8s.io.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    // Fields live as long as the program, and so do their links.
    let link = |name| -> &'static Link { Box::leak(Box::new(Link { name, message: OnceLock::new() })) };
    match text.strip_prefix(EITHER) {
        Some("OrBool") => return Type::Either(Other::Bool, link(EITHER)),
        Some("OrArray") => return Type::Either(Other::Schemas, link(EITHER)),
        Some("OrStringArray") => return Type::Either(Other::Texts, link(EITHER)),
        _ => {}
    }
    match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" | "uint32" | "uint64" => Type::Int64,
        "float64" | "double" => Type::Double,
        "k8s.io.apimachinery.pkg.api.resource.Quantity" => Type::Quantity,
        "k8s.io.apimachinery.pkg.util.intstr.IntOrString" => Type::IntOrString,
        "k8s.io.apimachinery.pkg.apis.meta.v1.Time" => Type::Time,
        "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime" => Type::MicroTime,
        "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1"
        | "k8s.io.apimachinery.pkg.runtime.RawExtension"
        | "k8s.io.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => Type::RawJson,
        name => Type::Message(link(name)),
    }
}
