//! The paths that a tree sets.

use super::element;
use super::set::Set;
use crate::Tree;
use crate::node::{List, ListKind, Schema, Shape, Struct};

/// Every path that `tree` sets: leaves, items of lists with identities, empty structs and keys of maps.
pub fn of(schema: &Schema, tree: &Tree) -> Set {
    below(schema, tree, None)
}

/// The paths below a value. For an atom and a scalar the set is empty: the value itself is the path, which the caller adds.
fn below(schema: &Schema, tree: &Tree, atomic: Option<bool>) -> Set {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), Tree::Object(object)) if !atomic.unwrap_or(inner.atomic) => {
            let mut set = Set::default();
            for (key, value) in object {
                struct_field(inner, key, value, &mut set);
            }
            set
        }
        (Shape::Map(map), Tree::Object(object)) if !map.atomic => {
            let mut set = Set::default();
            for (key, value) in object {
                set.attach(&element::field(key), true, below(&map.value, value, None));
            }
            set
        }
        (Shape::Any, Tree::Object(object)) => {
            let mut set = Set::default();
            for (key, value) in object {
                set.attach(&element::field(key), true, below(schema, value, None));
            }
            set
        }
        (Shape::Either { object, .. }, Tree::Object(_)) => below(object, tree, None),
        (Shape::List(list), Tree::Array(items)) if list.kind != ListKind::Atomic => list_items(list, items),
        _ => Set::default(),
    }
}

fn struct_field(inner: &Struct, key: &str, value: &Tree, set: &mut Set) {
    let Some(field) = inner.field(key) else {
        set.attach(&element::field(key), true, Set::default());
        return;
    };
    let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    let own = empty || is_leaf(&field.child, value, field.atomic);
    set.attach(&element::field(key), own, below(&field.child, value, field.atomic));
}

/// Whether a value is owned as a whole.
pub(super) fn is_leaf(schema: &Schema, tree: &Tree, atomic: Option<bool>) -> bool {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), _) => atomic.unwrap_or(inner.atomic),
        (Shape::Map(map), _) => map.atomic,
        (Shape::List(list), _) => list.kind == ListKind::Atomic,
        (Shape::Any, Tree::Object(_)) => false,
        (Shape::Either { object, .. }, Tree::Object(_)) => is_leaf(object, tree, None),
        _ => true,
    }
}

/// Items that appear twice are named, but nothing below them.
fn list_items(list: &List, items: &[Tree]) -> Set {
    let mut set = Set::default();
    let elements: Vec<Option<Box<str>>> = items.iter().map(|item| element::item(list, item)).collect();
    for (item, name) in items.iter().zip(&elements) {
        let Some(name) = name else { continue };
        let twice = elements.iter().filter(|other| other.as_deref() == Some(name)).count() > 1;
        let inner = if twice { Set::default() } else { below(&list.item, item, None) };
        set.attach(name, true, inner);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: (&str, &str), tree: Tree, expected: Tree) {
        let schema = crate::kind(kind.0, "v1", kind.1).expect("a built-in kind");
        assert_eq!(of(schema, &tree).to_tree(), expected, "{tree}");
    }

    #[test]
    fn what_a_tree_sets() {
        check(
            ("", "ConfigMap"),
            json!({"data": {"a": "1"}, "metadata": {"finalizers": ["x"]}}),
            json!({"f:data": {"f:a": {}}, "f:metadata": {"f:finalizers": {"v:\"x\"": {}}}}),
        );
        check(
            ("", "Pod"),
            json!({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}], "containers": [{"name": "a", "resources": {}, "ports": [{"containerPort": 80}]}]}}),
            json!({"f:spec": {"f:nodeSelector": {}, "f:tolerations": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:resources": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}),
        );
        check(
            ("apps", "Deployment"),
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
            json!({"f:spec": {"f:selector": {}}}),
        );
        check(
            ("", "ConfigMap"),
            json!({"metadata": {"finalizers": ["x", "x", "y"]}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}, "v:\"y\"": {}}}}),
        );
    }
}
