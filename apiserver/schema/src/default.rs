//! Static defaults: those that stand in the schema itself.
//!
//! Most of upstream's defaulting depends on other fields and belongs to the kinds; what is left are constants such as a
//! container port's `protocol: TCP`.

use crate::node::{Field, Schema, Shape, Struct};
use crate::{Object, Tree};

/// Fills absent fields with their static defaults, everywhere in the tree.
///
/// Built-in kinds list the zero value as default of most required fields (`""`, `{}`); those say nothing, the tree is as
/// Go prints it already. A zero counts where the field is a pointer: there it is something else than nothing.
pub fn apply(schema: &Schema, tree: &mut Tree) {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), Tree::Object(object)) => structure(inner, object),
        (Shape::Map(map), Tree::Object(object)) => {
            object.values_mut().for_each(|value| apply(&map.value, value))
        }
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
        Tree::Bool(_) | Tree::Number(_) | Tree::String(_) if field.omission.pointer => true,
        Tree::Bool(flag) => *flag,
        Tree::Number(number) => number.as_f64() != Some(0.0),
        Tree::String(text) => !text.is_empty(),
        Tree::Array(items) => !items.is_empty(),
        Tree::Object(object) => !object.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn constants_fill_what_is_absent() {
        let check = |kind: (&str, &str), body: Tree, expected: Tree| {
            let schema = crate::kind(kind.0, "v1", kind.1).expect("a built-in kind");
            let mut tree = body.clone();
            apply(schema, &mut tree);
            assert_eq!(tree, expected, "{body}");
            apply(schema, &mut tree);
            assert_eq!(tree, expected, "twice: {body}");
        };
        check(
            ("", "Service"),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}, {"port": 3, "protocol": ""}]}}),
            json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "UDP"}, {"port": 3, "protocol": "TCP"}]}}),
        );
        check(
            ("", "Pod"),
            json!({"spec": {"volumes": [{"name": "v", "azureDisk": {"diskName": "d", "diskURI": "u", "kind": "Managed"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "azureDisk": {
                "diskName": "d", "diskURI": "u", "kind": "Managed", "cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": false}}]}}),
        );
        check(("", "ReplicationController"), json!({"spec": {}}), json!({"spec": {"replicas": 1}}));
        check(
            ("", "ReplicationController"),
            json!({"spec": {"replicas": 0}}),
            json!({"spec": {"replicas": 0}}),
        );
        check(("", "ConfigMap"), json!({"data": {"protocol": ""}}), json!({"data": {"protocol": ""}}));
    }
}
