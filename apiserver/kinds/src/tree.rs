//! Access to object trees: small typed getters and setters by dotted field path.
//!
//! The getters never fail: what is absent, or has another type than asked for, reads as absent. Decoding has already
//! refused wrong types, so absence is all a strategy has to think about.

use serde_json::{Map, Value};

/// The value at a dotted path, or `None` when it is absent or null.
pub fn at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// The string at a path; empty when absent.
pub fn str_at<'a>(tree: &'a Value, path: &str) -> &'a str {
    at(tree, path).and_then(Value::as_str).unwrap_or("")
}

/// The integer at a path.
pub fn int_at(tree: &Value, path: &str) -> Option<i64> {
    at(tree, path).and_then(Value::as_i64)
}

/// The boolean at a path.
pub fn bool_at(tree: &Value, path: &str) -> Option<bool> {
    at(tree, path).and_then(Value::as_bool)
}

/// The list at a path; empty when absent.
pub fn list_at<'a>(tree: &'a Value, path: &str) -> &'a [Value] {
    at(tree, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings of the list at a path.
pub fn strings_at<'a>(tree: &'a Value, path: &str) -> Vec<&'a str> {
    list_at(tree, path).iter().filter_map(Value::as_str).collect()
}

/// The map at a path.
pub fn map_at<'a>(tree: &'a Value, path: &str) -> Option<&'a Map<String, Value>> {
    at(tree, path).and_then(Value::as_object)
}

/// The string entries of the map at a path, in key order.
pub fn entries_at<'a>(tree: &'a Value, path: &str) -> Vec<(&'a str, &'a str)> {
    map_at(tree, path)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or("")))
        .collect()
}

/// Sets the value at a path, making the objects on the way.
pub fn set(tree: &mut Value, path: &str, value: impl Into<Value>) {
    *slot(tree, path) = value.into();
}

/// Sets the value at a path when nothing is there.
pub fn set_default(tree: &mut Value, path: &str, value: impl Into<Value>) {
    if at(tree, path).is_none() {
        set(tree, path, value);
    }
}

/// Removes and returns the value at a path. The objects on the way stay.
pub fn remove(tree: &mut Value, path: &str) -> Option<Value> {
    let (parent, name) = match path.rsplit_once('.') {
        Some((parent, name)) => (at_mut(tree, parent)?, name),
        None => (tree, path),
    };
    parent.as_object_mut()?.remove(name)
}

/// The value at a path, for changing it.
pub fn at_mut<'a>(tree: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(tree, |value, name| value.get_mut(name)).filter(|value| !value.is_null())
}

/// The list at a path, for changing its items; empty when absent.
pub fn list_at_mut<'a>(tree: &'a mut Value, path: &str) -> &'a mut [Value] {
    at_mut(tree, path).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Makes `new` have at `path` what `old` has there, absence included.
pub fn carry_over(new: &mut Value, old: &Value, path: &str) {
    match at(old, path) {
        // Mostly nothing has changed, and looking costs less than copying.
        value @ Some(_) if value == at(new, path) => {}
        Some(value) => set(new, path, value.clone()),
        None => drop(remove(new, path)),
    }
}

/// Whether two trees hold equal values at a path. Absent, null and an empty list are all equal, as Go's semantic equality
/// has it, and quantities are compared by value: `1.500` is `1500m`. An empty object is something: conforming left out empty
/// maps, and `affinity: {}` is not the same as no affinity.
pub fn same_at(left: &Value, right: &Value, path: &str) -> bool {
    let (left, right) = (at(left, path), at(right, path));
    // Mostly they are equal to the letter, which is seen in one walk without a lookup.
    left == right || same(left, right)
}

/// Whether two values are semantically equal, see [`same_at`].
pub fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(only), None) | (None, Some(only)) => is_empty(only),
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            left.keys().chain(right.keys()).all(|key| {
                let (left, right) = (left.get(key), right.get(key));
                same(left, right) || (holds_quantities(key) && same_quantities(left, right))
            })
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same(Some(left), Some(right)))
        }
        (Some(left), Some(right)) => left == right || (is_empty(left) && is_empty(right)),
    }
}

/// Whether the fields of an object under this name are quantities, or stand beside one.
fn holds_quantities(name: &str) -> bool {
    matches!(
        name,
        "allocatable"
            | "allocatedResources"
            | "capacity"
            | "emptyDir"
            | "limits"
            | "overhead"
            | "requests"
            | "resourceFieldRef"
    )
}

fn same_quantities(left: Option<&Value>, right: Option<&Value>) -> bool {
    let (Some(Value::Object(left)), Some(Value::Object(right))) = (left, right) else { return false };
    let quantity = |value: Option<&Value>| schema::quantity::Quantity::from_tree(value?).ok();
    left.keys().chain(right.keys()).all(|key| {
        let (left, right) = (left.get(key), right.get(key));
        same(left, right) || quantity(left).is_some_and(|left| Some(left) == quantity(right))
    })
}

/// Whether a value is what an absent field would read as, scalars and structs aside.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn slot<'a>(tree: &'a mut Value, path: &str) -> &'a mut Value {
    let mut slot = tree;
    for name in path.split('.') {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot = slot.as_object_mut().expect("made an object above").entry(name).or_insert(Value::Null);
    }
    slot
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn getters_read_absence_from_anything_else() {
        let tree = json!({"spec": {"type": "A", "n": 3, "on": true, "list": ["x"], "none": null}});
        assert_eq!(str_at(&tree, "spec.type"), "A");
        assert_eq!(str_at(&tree, "spec.n"), "");
        assert_eq!(int_at(&tree, "spec.n"), Some(3));
        assert_eq!(bool_at(&tree, "spec.on"), Some(true));
        assert_eq!(strings_at(&tree, "spec.list"), ["x"]);
        assert!(list_at(&tree, "spec.type").is_empty());
        assert!(at(&tree, "spec.none").is_none());
        assert!(at(&tree, "spec.type.deeper").is_none());
    }

    #[test]
    fn setters_make_and_remove() {
        let mut tree = json!({});
        set(&mut tree, "a.b", 1);
        set_default(&mut tree, "a.b", 2);
        set_default(&mut tree, "a.c", 3);
        assert_eq!(tree, json!({"a": {"b": 1, "c": 3}}));
        assert_eq!(remove(&mut tree, "a.b"), Some(json!(1)));
        assert_eq!(remove(&mut tree, "x.y"), None);

        carry_over(&mut tree, &json!({"a": {"d": 4}}), "a");
        assert_eq!(tree, json!({"a": {"d": 4}}));
        carry_over(&mut tree, &json!({}), "a");
        assert_eq!(tree, json!({}));
    }

    #[test]
    fn equality_forgives_empty_lists() {
        let (left, right) = (json!({"a": [], "b": null}), json!({}));
        assert!(same(Some(&left), Some(&right)));
        assert!(!same(Some(&json!({"b": {}})), Some(&right)));
        assert!(!same(Some(&json!({"a": 0})), Some(&right)));
        assert!(!same(Some(&json!([1])), Some(&json!([1, 2]))));
    }

    #[test]
    fn quantities_are_equal_by_value() {
        let check = |left: Value, right: Value, equal: bool| {
            assert_eq!(same(Some(&left), Some(&right)), equal, "{left} {right}");
        };
        let limits = |cpu: &str| json!({"resources": {"limits": {"cpu": cpu}}});
        check(limits("1.500"), limits("1500m"), true);
        check(limits("1e3"), limits("1k"), true);
        check(limits("1"), limits("1m"), false);
        check(limits("1"), json!({"resources": {"limits": {"memory": "1"}}}), false);
        check(json!({"emptyDir": {"sizeLimit": "1024Mi"}}), json!({"emptyDir": {"sizeLimit": "1Gi"}}), true);
        check(json!({"annotations": {"cpu": "1e3"}}), json!({"annotations": {"cpu": "1k"}}), false);
    }
}
