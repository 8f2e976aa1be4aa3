//! How a value takes part in ownership: as a leaf, a map or a list, and the schema of what is below it.

use crate::Tree;
use crate::node::{List, ListKind, Schema, Shape};

/// What a value is for ownership. An embedded object is a leaf: nobody knows what is in it.
pub(super) enum Form<'a> {
    /// Owned as a whole.
    Leaf,
    /// Owned key by key.
    Map,
    /// Owned item by item.
    List(&'a List),
}

/// The form of a value. `atomic` is what the field that holds it says about structs.
pub(super) fn form<'a>(schema: &'a Schema, tree: &Tree, atomic: Option<bool>) -> Form<'a> {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), _) if !atomic.unwrap_or(inner.atomic) => Form::Map,
        (Shape::Map(map), _) if !map.atomic => Form::Map,
        (Shape::List(list), _) if list.kind != ListKind::Atomic => Form::List(list),
        (Shape::Any, Tree::Object(_)) => Form::Map,
        (Shape::Either { object, .. }, Tree::Object(_)) => form(object, tree, None),
        _ => Form::Leaf,
    }
}

/// The schema of a map's key or a struct's field, and what the field says about structs.
pub(super) fn member<'a>(schema: &'a Schema, key: &str) -> (&'a Schema, Option<bool>) {
    static ANY: Schema = Schema::any();
    match &schema.shape {
        Shape::Struct(inner) => inner.field(key).map_or((&ANY, None), |field| (&*field.child, field.atomic)),
        Shape::Map(map) => (&map.value, None),
        Shape::Either { object, .. } => member(object, key),
        _ => (schema, None),
    }
}

/// The schema below a path element; `None` when the schema knows of none.
pub(super) fn below<'a>(schema: &'a Schema, element: &str) -> Option<(&'a Schema, Option<bool>)> {
    let schema = resolved(schema);
    match (&schema.shape, element.strip_prefix("f:")) {
        (Shape::Struct(inner), Some(key)) => inner.field(key).map(|field| (&*field.child, field.atomic)),
        (Shape::Map(map), Some(_)) => Some((&map.value, None)),
        (Shape::Any, Some(_)) => Some((schema, None)),
        (Shape::List(list), None) => Some((&list.item, None)),
        _ => None,
    }
}

/// The schema whose fields a path can go through.
pub(super) fn resolved(schema: &Schema) -> &Schema {
    match &schema.shape {
        Shape::Either { object, .. } => resolved(object),
        _ => schema,
    }
}

/// Whether a struct, map or list is owned as a whole.
pub(super) fn is_atom(schema: &Schema, atomic: Option<bool>) -> bool {
    match &resolved(schema).shape {
        Shape::Struct(inner) => atomic.unwrap_or(inner.atomic),
        Shape::Map(map) => map.atomic,
        Shape::List(list) => list.kind == ListKind::Atomic,
        Shape::Embedded => true,
        _ => false,
    }
}
