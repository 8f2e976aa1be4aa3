//! Static defaults: those that stand in the schema itself.
//!
//! Most of upstream's defaulting depends on other fields and belongs to the kinds; what is left are constants such as a
//! container port's `protocol: TCP`.

use crate::node::{Field, Schema, Shape, Struct};
use crate::{Object, Tree};

/// Fills absent fields with their static defaults, everywhere in the tree.
///
/// Built-in kinds list the zero value as default of most required fields (`""`, `{}`); only defaults that say more than
/// zero are filled in, everything else is already as Go prints it.
pub fn apply(schema: &Schema, tree: &mut Tree) {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), Tree::Object(object)) => structure(inner, object),
        (Shape::Map(map), Tree::Object(object)) => object.values_mut().for_each(|value| apply(&map.value, value)),
        (Shape::List(list), Tree::Array(items)) => items.iter_mut().for_each(|item| apply(&list.item, item)),
        (Shape::Either { object, .. }, tree @ Tree::Object(_)) => apply(object, tree),
        (Shape::Either { other, .. }, tree) => apply(other, tree),
        _ => {}
    }
}

fn structure(inner: &Struct, object: &mut Object) {
    let mut fields = inner.fields.iter().peekable();
    for (key, value) in object.iter_mut() {
        while fields.next_if(|field| *field.name < **key).is_some() {}
        if let Some(field) = fields.next_if(|field| *field.name == **key) {
            if let Some(default) = meaningful(field)
                && (value.is_null() || value.as_str() == Some(""))
                && !field.omission.pointer
            {
                *value = default.clone();
            }
            apply(&field.child, value);
        }
    }
    for field in &inner.fields {
        if let Some(default) = meaningful(field)
            && !object.contains_key(&*field.name)
        {
            object.insert(String::from(&*field.name), default.clone());
        }
    }
}

fn meaningful(field: &Field) -> Option<&Tree> {
    field.default.as_ref().filter(|default| match default {
        Tree::Null => false,
        Tree::Bool(flag) => *flag,
        Tree::Number(number) => number.as_f64() != Some(0.0),
        Tree::String(text) => !text.is_empty(),
        Tree::Array(items) => !items.is_empty(),
        Tree::Object(object) => !object.is_empty(),
    })
}
