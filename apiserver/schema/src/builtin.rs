//! Schemas of the built-in kinds, from the tables.
//!
//! A definition is built when it is first asked for and then lives as long as the process. The definitions that Go encodes
//! by hand (quantities, times, int-or-string, raw JSON) are recognised by name here and nowhere else.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, RwLock};

use k8s::tables::{self, FieldRow, Omission};

use crate::node::{Child, Field, List, ListKind, Map, PatchStrategy, Schema, Shape, Struct};
use crate::{Object, Tree};

static BUILT: LazyLock<RwLock<HashMap<&'static str, &'static Schema>>> = LazyLock::new(RwLock::default);

/// The schema of a built-in kind.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    definition(tables::definition_of_kind(group, version, kind)?)
}

/// The schema of a definition by its OpenAPI name (`io.k8s.api.core.v1.Pod`).
pub fn definition(name: &str) -> Option<&'static Schema> {
    if let Some(schema) = BUILT.read().expect("no writer panics").get(name) {
        return Some(schema);
    }
    let (name, schema) = build(name)?;
    // Two threads may build the same definition; the first to arrive here wins and both get its address.
    Some(BUILT.write().expect("no writer panics").entry(name).or_insert_with(|| Box::leak(Box::new(schema))))
}

fn build(name: &str) -> Option<(&'static str, Schema)> {
    let name = tables::static_name(name)?;
    let mut rows = tables::definition(name);
    let own = rows.next()?;
    let shape = special(name).unwrap_or_else(|| structure(name, own, rows));
    Some((name, Schema { name: name.into(), go: go_of(name).into(), shape }))
}

/// Definitions with an encoding of their own.
fn special(name: &str) -> Option<Shape> {
    const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";
    const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let props = || Child::Named(PROPS, OnceLock::new());
    if let Some(last) = name.strip_prefix(APIEXTENSIONS) {
        return match last {
            "JSON" => Some(Shape::Any),
            "JSONSchemaPropsOrBool" => {
                Some(Shape::Either { object: props(), other: plain("bool", Shape::Boolean) })
            }
            "JSONSchemaPropsOrArray" => {
                Some(Shape::Either { object: props(), other: list("[]v1.JSONSchemaProps", props()) })
            }
            "JSONSchemaPropsOrStringArray" => Some(Shape::Either {
                object: props(),
                other: list("[]string", plain("string", Shape::String)),
            }),
            _ => None,
        };
    }
    match name.strip_prefix("io.k8s.apimachinery.pkg.")? {
        "api.resource.Quantity" => Some(Shape::Quantity),
        "apis.meta.v1.Time" => Some(Shape::Time),
        "apis.meta.v1.MicroTime" => Some(Shape::MicroTime),
        "apis.meta.v1.FieldsV1" => Some(Shape::Any),
        "runtime.RawExtension" => Some(Shape::Embedded),
        "util.intstr.IntOrString" => Some(Shape::IntOrString),
        _ => None,
    }
}

fn plain(go: &str, shape: Shape) -> Child {
    Child::Owned(Box::new(Schema { name: "".into(), go: go.to_owned().into(), shape }))
}

fn list(go: &str, item: Child) -> Child {
    plain(go, Shape::List(List { item, kind: ListKind::Atomic }))
}

fn structure(name: &str, own: FieldRow, rows: impl Iterator<Item = FieldRow>) -> Shape {
    let omissions = omissions(name);
    let mut fields: Vec<Field> = rows.map(|row| field(name, row, &omissions)).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let always = (0..fields.len()).filter(|&at| always_printed(&fields[at])).collect();
    let atomic = extensions(own.extensions).get("map-type").is_some_and(|kind| kind == "atomic");
    Shape::Struct(Struct { fields, atomic, preserve_unknown: false, always })
}

/// Go leaves a field out only when its value can be empty and its tag asks for it; a struct is never empty.
fn always_printed(field: &Field) -> bool {
    let omission = field.omission;
    if omission.omit_zero {
        return false;
    }
    // Every definition is a struct in Go, those with an encoding of their own included.
    !omission.omit_empty || (!omission.pointer && matches!(field.child, Child::Named(..)))
}

fn field(definition: &str, row: FieldRow, omissions: &HashMap<&'static str, Omission>) -> Field {
    let extensions = extensions(row.extensions);
    let named = tables::go_type(definition, row.name);
    let mut child = child_of(row.ty);
    if let Child::Owned(schema) = &mut child {
        if let Some(go) = named {
            rename(schema, go);
        }
        apply_extensions(schema, &extensions);
    }
    let omission = omissions.get(row.name).copied();
    Field {
        name: row.name.into(),
        child,
        required: row.required,
        default: static_default(row.default),
        // apiVersion and kind are not part of the message; Go leaves both out when empty.
        omission: omission.unwrap_or(Omission { omit_empty: true, ..Omission::default() }),
        strategy: strategy(&extensions),
        atomic: extensions.get("map-type").map(|kind| kind == "atomic"),
        zero: OnceLock::new(),
    }
}

/// Gives a node the Go type that the table names, and its items or values the part of it that is theirs.
fn rename(schema: &mut Schema, go: &str) {
    schema.go = go.to_owned().into();
    let (child, part) = match &mut schema.shape {
        Shape::List(list) => (&mut list.item, go.strip_prefix("[]")),
        Shape::Map(map) => (
            &mut map.value,
            go.strip_prefix("map[").and_then(|rest| rest.split_once(']')).map(|(_, value)| value),
        ),
        _ => return,
    };
    if let (Child::Owned(inner), Some(part)) = (child, part) {
        rename(inner, part);
    }
}

/// Omissions of a message's fields, those of embedded messages included.
fn omissions(definition: &str) -> HashMap<&'static str, Omission> {
    let mut found = HashMap::new();
    if let Some((package, name)) = tables::message_name(definition) {
        collect_omissions(&package, name, &mut found);
    }
    found
}

fn collect_omissions(package: &str, name: &str, found: &mut HashMap<&'static str, Omission>) {
    for row in tables::message(package, name) {
        if row.is_embedded() {
            if let Some((package, name)) = row.ty.rsplit_once('.') {
                collect_omissions(package, name, found);
            }
        } else {
            found.insert(row.name, row.omission);
        }
    }
}

fn extensions(json: &str) -> Object {
    if json.len() <= 2 {
        Object::new()
    } else {
        serde_json::from_str(json).expect("extensions in the table are JSON")
    }
}

/// A default stands in the table as JSON, or as a bare word for a string.
fn static_default(text: &str) -> Option<Tree> {
    if text.is_empty() {
        return None;
    }
    Some(serde_json::from_str(text).unwrap_or_else(|_| Tree::String(text.to_owned())))
}

fn strategy(extensions: &Object) -> PatchStrategy {
    let named = extensions.get("patch-strategy").and_then(Tree::as_str).unwrap_or("");
    let has = |word| named.split(',').any(|part| part == word);
    PatchStrategy {
        merge: has("merge"),
        replace: has("replace"),
        retain_keys: has("retainKeys"),
        merge_key: extensions.get("patch-merge-key").and_then(Tree::as_str).map(Into::into),
    }
}

fn apply_extensions(schema: &mut Schema, extensions: &Object) {
    match &mut schema.shape {
        Shape::Map(map) => map.atomic = extensions.get("map-type").is_some_and(|kind| kind == "atomic"),
        Shape::List(list) => {
            list.kind = match extensions.get("list-type").and_then(Tree::as_str) {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(list_keys(extensions)),
                _ => ListKind::Atomic,
            }
        }
        _ => {}
    }
}

fn list_keys(extensions: &Object) -> Vec<Box<str>> {
    let keys = extensions.get("list-map-keys").and_then(Tree::as_array);
    keys.into_iter().flatten().filter_map(Tree::as_str).map(Into::into).collect()
}

fn child_of(ty: &'static str) -> Child {
    if ty.starts_with("io.") {
        return Child::Named(ty, OnceLock::new());
    }
    let shape = if let Some(item) = ty.strip_prefix("[]") {
        Shape::List(List { item: child_of(item), kind: ListKind::Atomic })
    } else if let Some(value) = ty.strip_prefix("map:") {
        Shape::Map(Map { value: child_of(value), atomic: false })
    } else {
        match ty {
            "string" => Shape::String,
            "string:byte" => Shape::Bytes,
            "boolean" => Shape::Boolean,
            "integer:int32" => Shape::Integer { bits: 32 },
            "integer:int64" => Shape::Integer { bits: 64 },
            "number:double" => Shape::Number,
            _ => Shape::Any,
        }
    };
    plain(&go_of(ty), shape)
}

/// The Go type that a type column stands for.
fn go_of(ty: &str) -> String {
    if let Some(item) = ty.strip_prefix("[]") {
        return format!("[]{}", go_of(item));
    }
    if let Some(value) = ty.strip_prefix("map:") {
        return format!("map[string]{}", go_of(value));
    }
    match ty {
        "string:byte" => "[]uint8".to_owned(),
        "boolean" => "bool".to_owned(),
        "integer:int32" => "int32".to_owned(),
        "integer:int64" => "int64".to_owned(),
        "number:double" => "float64".to_owned(),
        _ if ty.starts_with("io.") => {
            let mut parts = ty.rsplitn(3, '.');
            let (name, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            format!("{package}.{name}")
        }
        _ => ty.to_owned(),
    }
}
