//! Definitions as OpenAPI schemas, and all those that a set of them reaches.

use std::collections::BTreeSet;

use k8s::tables::{self, Descriptions, FieldRow};
use serde_json::json;

use crate::{Object, Tree};

/// A definition that stands for any patch body; no table row, since it is of no object.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The schemas of `wanted` definitions and of all they reach.
pub(super) fn closure(wanted: Vec<String>) -> Object {
    let mut schemas = Object::new();
    let mut open = wanted;
    let mut seen = BTreeSet::new();
    let descriptions = Descriptions::unpack();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let schema =
            if name == PATCH { json!({"type": "object"}) } else { schema(&name, &descriptions, &mut open) };
        schemas.insert(name, schema);
    }
    schemas
}

fn schema(name: &str, descriptions: &Descriptions, reached: &mut Vec<String>) -> Tree {
    let mut rows = tables::definition(name);
    let Some(own) = rows.next() else { return json!({"type": "object"}) };
    let mut schema = typed(own.ty, reached);
    let mut properties = Object::new();
    let mut required = Vec::new();
    for row in rows {
        if row.required {
            required.push(Tree::from(row.name));
        }
        let description = descriptions.of(name, row.name);
        properties.insert(row.name.to_owned(), property(row, description, reached));
    }
    if let Some(description) = descriptions.of(name, own.name) {
        schema.insert("description".to_owned(), description.into());
    }
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Tree::Object(properties));
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), Tree::Array(required));
    }
    extend(&mut schema, own.extensions);
    Tree::Object(schema)
}

fn property(row: FieldRow, description: Option<String>, reached: &mut Vec<String>) -> Tree {
    let mut schema = typed(row.ty, reached);
    if !row.default.is_empty() {
        let default = serde_json::from_str(row.default).unwrap_or_else(|_| Tree::from(row.default));
        schema.insert("default".to_owned(), default);
        // Beside a reference nothing else may stand: it moves into allOf.
        if let Some(reference) = schema.remove("$ref") {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
    }
    extend(&mut schema, row.extensions);
    let values = possible_values(schema.get("enum"));
    if description.is_some() || !values.is_empty() {
        schema.insert("description".to_owned(), (description.unwrap_or_default() + &values).into());
    }
    if schema.len() > 1
        && let Some(reference) = schema.remove("$ref")
    {
        schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
    Tree::Object(schema)
}

/// The paragraph that ends the description of an enumeration.
fn possible_values(values: Option<&Tree>) -> String {
    let Some(values) = values.and_then(Tree::as_array) else { return String::new() };
    let lines = values.iter().map(|value| format!("\n - `{value}`"));
    std::iter::once("\n\nPossible enum values:".to_owned()).chain(lines).collect()
}

fn typed(ty: &str, reached: &mut Vec<String>) -> Object {
    let tree = match ty {
        "any" => json!({}),
        "string" | "boolean" | "object" => json!({ "type": ty }),
        "integer|string" => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
        "string|number" => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        _ => match (ty.strip_prefix("[]"), ty.strip_prefix("map:")) {
            (Some(item), _) => json!({"type": "array", "items": nested(item, reached)}),
            (_, Some(value)) => json!({"type": "object", "additionalProperties": nested(value, reached)}),
            _ => match ty.split_once(':') {
                Some((base, format)) => json!({"type": base, "format": format}),
                None => {
                    reached.push(ty.to_owned());
                    json!({"$ref": reference(ty)})
                }
            },
        },
    };
    let Tree::Object(object) = tree else { unreachable!("every arm is an object") };
    object
}

/// An item or a map's value: a struct has an empty one as default, a scalar its zero.
fn nested(ty: &str, reached: &mut Vec<String>) -> Tree {
    let mut schema = typed(ty, reached);
    if let Some(reference) = schema.remove("$ref") {
        let pointer = reference.as_str().is_some_and(|reference| reference.ends_with(".JSONSchemaProps"));
        return if pointer {
            json!({"$ref": reference})
        } else {
            json!({"allOf": [{"$ref": reference}], "default": {}})
        };
    }
    match ty {
        "string" => schema.insert("default".to_owned(), "".into()),
        "integer:int32" | "integer:int64" => schema.insert("default".to_owned(), 0.into()),
        _ => None,
    };
    Tree::Object(schema)
}

/// The pointer to a definition within a document.
pub(super) fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn extend(schema: &mut Object, extensions: &str) {
    let Ok(Tree::Object(extensions)) = serde_json::from_str(extensions) else { return };
    for (name, value) in extensions {
        match name.as_str() {
            "enum" => {
                schema.insert(name, value);
            }
            "gvk" => {
                let kinds: Vec<Tree> =
                    value.as_array().into_iter().flatten().filter_map(Tree::as_str).map(kind).collect();
                schema.insert("x-kubernetes-group-version-kind".to_owned(), Tree::Array(kinds));
            }
            name => {
                schema.insert(format!("x-kubernetes-{name}"), value);
            }
        }
    }
}

fn kind(text: &str) -> Tree {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [group, version, kind] => json!({"group": group, "version": version, "kind": kind}),
        [version, kind] => json!({"group": "", "version": version, "kind": kind}),
        _ => json!({"group": "", "version": "", "kind": text}),
    }
}
