//! Semantic equality: what upstream's `equality.Semantic.DeepEqual` calls the same.

use crate::{Object, Tree};

/// Whether two conformed trees mean the same: an absent field, `null` and an empty list are no difference.
///
/// An empty object is something: conforming left out empty maps, so what remains is a struct, and `emptyDir: {}` is not the
/// same as no `emptyDir`. Quantities and times stand in canonical form, so comparing their text is comparing their value.
pub fn semantic_equal(a: &Tree, b: &Tree) -> bool {
    match (a, b) {
        (Tree::Object(a), Tree::Object(b)) => objects_equal(a, b),
        (Tree::Array(a), Tree::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| semantic_equal(a, b))
        }
        _ => a == b || (is_nothing(a) && is_nothing(b)),
    }
}

fn objects_equal(a: &Object, b: &Object) -> bool {
    let covered = |from: &Object, by: &Object| {
        from.iter().all(|(key, value)| match by.get(key) {
            Some(other) => semantic_equal(value, other),
            None => is_nothing(value),
        })
    };
    covered(a, b) && b.iter().all(|(key, value)| a.contains_key(key) || is_nothing(value))
}

fn is_nothing(tree: &Tree) -> bool {
    match tree {
        Tree::Null => true,
        Tree::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_nothing() {
        let check = |a: Tree, b: Tree, equal: bool| {
            assert_eq!(semantic_equal(&a, &b), equal, "{a} {b}");
            assert_eq!(semantic_equal(&b, &a), equal, "{b} {a}");
        };
        check(json!({"a": 1}), json!({"a": 1, "b": null, "c": []}), true);
        check(json!({"a": 1}), json!({"a": 1, "d": {}}), false);
        check(json!({"a": 1}), json!({"a": 1, "b": 0}), false);
        check(json!({"a": [1, 2]}), json!({"a": [2, 1]}), false);
        check(json!({"a": {"b": []}}), json!({"a": {}}), true);
    }
}
