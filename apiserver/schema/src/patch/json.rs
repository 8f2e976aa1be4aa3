//! JSON patch, RFC 6902, with the habits of the library upstream uses.
//!
//! `replace` of a missing key adds it, `copy` from a missing key and `add` without a value give `null`, negative indexes
//! count from the end, and a path without leading slash loses its first part.

use std::sync::OnceLock;

use k8s::tables::Omission;

use super::PatchError;
use crate::node::{Child, Field, List, ListKind, PatchStrategy, Schema, Shape, Struct};
use crate::{Object, Tree};

/// Operations one patch may have; more is 413.
pub const OPERATIONS_MAX: usize = 10_000;

type Refused<T> = Result<T, PatchError>;

/// Applies a list of operations, in order, all or none.
pub fn json(original: &Tree, patch: &Tree) -> Result<Tree, PatchError> {
    let Tree::Array(operations) = patch else {
        let found = crate::decode::json_type(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.Patch"
        )));
    };
    let mut document = original.clone();
    for operation in operations {
        apply(&mut document, operation.as_object().ok_or(PatchError::Refused)?)?;
    }
    Ok(document)
}

/// The form of a patch, for finding unknown and duplicate fields in one (`[0].foo`).
pub fn operations_schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = || node("string", Shape::String);
        let fields = vec![
            field("from", text()),
            field("op", text()),
            field("path", text()),
            field("value", node("interface {}", Shape::Any)),
        ];
        let operation = node("handlers.jsonPatchOp", Shape::Struct(Struct { fields, ..Struct::default() }));
        let list = Shape::List(List { item: operation, kind: ListKind::Atomic });
        Schema { name: "".into(), go: "[]handlers.jsonPatchOp".into(), shape: list }
    })
}

fn node(go: &str, shape: Shape) -> Child {
    Child::Owned(Box::new(Schema { name: "".into(), go: go.to_owned().into(), shape }))
}

fn field(name: &str, child: Child) -> Field {
    Field {
        name: name.into(),
        child,
        required: false,
        default: None,
        omission: Omission { omit_empty: true, ..Omission::default() },
        strategy: PatchStrategy::default(),
        atomic: None,
        zero: OnceLock::new(),
    }
}

fn apply(document: &mut Tree, operation: &Object) -> Refused<()> {
    let text = |name: &str| operation.get(name).and_then(Tree::as_str);
    let value = operation.get("value").unwrap_or(&Tree::Null);
    let path = text("path").ok_or(PatchError::Refused)?;
    match text("op").unwrap_or("") {
        "add" => add(document, path, value.clone()),
        "remove" => remove(document, path).map(drop),
        "replace" => replace(document, path, value.clone()),
        "move" => {
            let moved = remove(document, text("from").ok_or(PatchError::Refused)?)?;
            add(document, path, moved)
        }
        "copy" => {
            let copied = get(document, text("from").ok_or(PatchError::Refused)?)?.cloned();
            add(document, path, copied.unwrap_or(Tree::Null))
        }
        "test" => test(document, path, value),
        _ => Err(PatchError::Refused),
    }
}

fn add(document: &mut Tree, path: &str, value: Tree) -> Refused<()> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Tree::Object(object) => {
            object.insert(key, value);
        }
        Tree::Array(items) if key == "-" => items.push(value),
        Tree::Array(items) => {
            // An index may point just past the end, so it counts in a list one longer.
            let at = index(&key, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => return Err(PatchError::Refused),
    }
    Ok(())
}

fn remove(document: &mut Tree, path: &str) -> Refused<Tree> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Tree::Object(object) => object.remove(&key).ok_or(PatchError::Refused),
        Tree::Array(items) => {
            let at = index(&key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Err(PatchError::Refused),
    }
}

fn replace(document: &mut Tree, path: &str, value: Tree) -> Refused<()> {
    if path.is_empty() {
        if !matches!(value, Tree::Object(_) | Tree::Array(_)) {
            return Err(PatchError::Refused);
        }
        *document = value;
        return Ok(());
    }
    let (parent, key) = parent(document, path)?;
    match parent {
        Tree::Object(object) => {
            object.insert(key, value);
        }
        Tree::Array(items) => {
            let at = index(&key, items.len())?;
            items[at] = value;
        }
        _ => return Err(PatchError::Refused),
    }
    Ok(())
}

fn test(document: &mut Tree, path: &str, value: &Tree) -> Refused<()> {
    let found = if path.is_empty() { Some(&*document) } else { get(document, path)? };
    if found.unwrap_or(&Tree::Null) == value { Ok(()) } else { Err(PatchError::Refused) }
}

/// The value at a path; `None` when the last key is missing in an object.
fn get<'a>(document: &'a mut Tree, path: &str) -> Refused<Option<&'a Tree>> {
    let (parent, key) = parent(document, path)?;
    match parent {
        Tree::Object(object) => Ok(object.get(&key)),
        Tree::Array(items) => index(&key, items.len()).map(|at| items.get(at)),
        _ => Err(PatchError::Refused),
    }
}

/// The container that a path's last part is a key of.
fn parent<'a>(document: &'a mut Tree, path: &str) -> Refused<(&'a mut Tree, String)> {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let key = parts.pop().ok_or(PatchError::Refused)?;
    let mut here = document;
    for part in parts {
        let part = unescaped(part);
        here = match here {
            Tree::Object(object) => object.get_mut(&part),
            Tree::Array(items) => {
                let at = index(&part, items.len())?;
                items.get_mut(at)
            }
            _ => None,
        }
        .ok_or(PatchError::Refused)?;
    }
    Ok((here, unescaped(key)))
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// An index into a list of `length` items; negative ones count from the end.
fn index(key: &str, length: usize) -> Refused<usize> {
    let number: i64 = key.parse().map_err(|_| PatchError::Refused)?;
    let length = i64::try_from(length).map_err(|_| PatchError::Refused)?;
    let at = if number < 0 { number + length } else { number };
    if (0..length).contains(&at) {
        usize::try_from(at).map_err(|_| PatchError::Refused)
    } else {
        Err(PatchError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Applies one operation to a small ConfigMap and shows what changed, or `refused`.
    fn check(operation: Tree, expected: &str) {
        let object = json!({"data": {"a": "1", "b": "2"}, "metadata": {"annotations": {"example.com/x": "3"}, "finalizers": ["a", "b"]}});
        let got = match json(&object, &json!([operation])) {
            Err(error) => {
                assert_eq!(error, PatchError::Refused);
                "refused".to_owned()
            }
            Ok(patched) => format!(
                "{} {} {}",
                patched["data"],
                patched["metadata"]["annotations"]["example.com/x"],
                patched["metadata"]["finalizers"]
            ),
        };
        assert_eq!(got, expected, "{operation}");
    }

    #[test]
    fn operations_do_what_upstream_s_library_does() {
        check(
            json!({"op": "add", "path": "/data/c", "value": "n"}),
            r#"{"a":"1","b":"2","c":"n"} "3" ["a","b"]"#,
        );
        check(json!({"op": "add", "path": "/data/a", "value": "n"}), r#"{"a":"n","b":"2"} "3" ["a","b"]"#);
        check(
            json!({"op": "replace", "path": "/data/a", "value": "n"}),
            r#"{"a":"n","b":"2"} "3" ["a","b"]"#,
        );
        check(json!({"op": "remove", "path": "/data/a"}), r#"{"b":"2"} "3" ["a","b"]"#);
        check(
            json!({"op": "move", "path": "/data/c", "from": "/data/a"}),
            r#"{"b":"2","c":"1"} "3" ["a","b"]"#,
        );
        check(
            json!({"op": "copy", "path": "/data/c", "from": "/data/a"}),
            r#"{"a":"1","b":"2","c":"1"} "3" ["a","b"]"#,
        );
        check(json!({"op": "test", "path": "/data/zz", "value": null}), r#"{"a":"1","b":"2"} "3" ["a","b"]"#);
        check(
            json!({"op": "replace", "path": "/metadata/annotations/example.com~1x", "value": "n"}),
            r#"{"a":"1","b":"2"} "n" ["a","b"]"#,
        );
        check(
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": "c"}),
            r#"{"a":"1","b":"2"} "3" ["a","b","c"]"#,
        );
        check(
            json!({"op": "add", "path": "/metadata/finalizers/0", "value": "c"}),
            r#"{"a":"1","b":"2"} "3" ["c","a","b"]"#,
        );
        check(
            json!({"op": "add", "path": "/metadata/finalizers/-1", "value": "c"}),
            r#"{"a":"1","b":"2"} "3" ["a","b","c"]"#,
        );
        check(json!({"op": "remove", "path": "/metadata/finalizers/-1"}), r#"{"a":"1","b":"2"} "3" ["a"]"#);
        check(
            json!({"op": "replace", "path": "/data/zz", "value": "1"}),
            r#"{"a":"1","b":"2","zz":"1"} "3" ["a","b"]"#,
        );
        check(
            json!({"op": "copy", "path": "/data/c", "from": "/data/zz"}),
            r#"{"a":"1","b":"2","c":null} "3" ["a","b"]"#,
        );
        check(json!({"op": "add", "path": "/data/c"}), r#"{"a":"1","b":"2","c":null} "3" ["a","b"]"#);
        check(json!({"op": "replace", "path": "data/a", "value": "1"}), r#"{"a":"1","b":"2"} "3" ["a","b"]"#);
        check(
            json!({"op": "replace", "path": "", "value": {"data": {"only": "1"}}}),
            r#"{"only":"1"} null null"#,
        );
    }

    #[test]
    fn operations_that_do_not_apply_are_refused() {
        for operation in [
            json!({"op": "test", "path": "/data/a", "value": "2"}),
            json!({"op": "test", "path": "/data/zz", "value": "2"}),
            json!({"op": "add", "path": "/metadata/finalizers/9", "value": "c"}),
            json!({"op": "add", "path": "/metadata/finalizers/x", "value": "c"}),
            json!({"op": "remove", "path": "/data/zz"}),
            json!({"op": "move", "path": "/data/c", "from": "/data/zz"}),
            json!({"op": "add", "path": "/binaryData/a", "value": "AA=="}),
            json!({"op": "merge", "path": "/data/a", "value": "1"}),
            json!({"path": "/data/a", "value": "1"}),
            json!({"op": "remove"}),
            json!({"op": "remove", "path": ""}),
            json!({"op": "add", "path": "", "value": {}}),
        ] {
            check(operation, "refused");
        }
    }

    #[test]
    fn all_operations_apply_or_none() {
        let object = json!({"data": {"a": "1"}});
        let patch = json!([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "n"}]);
        assert_eq!(json(&object, &patch), Ok(json!({"data": {"a": "n"}})));
        let patch =
            json!([{"op": "replace", "path": "/data/a", "value": "n"}, {"op": "remove", "path": "/no/way"}]);
        assert_eq!(json(&object, &patch), Err(PatchError::Refused));
    }

    #[test]
    fn unknown_fields_of_operations_are_found() {
        let text = br#"[{"op":"add","op":"add","path":"/a","value":1,"x":2}]"#;
        let decoded =
            crate::decode::typed(operations_schema(), crate::decode::Syntax::Json, text).expect("a patch");
        assert_eq!(decoded.strict, ["duplicate field \"[0].op\"", "unknown field \"[0].x\""]);
        let error = crate::decode::typed(operations_schema(), crate::decode::Syntax::Json, b"{}")
            .map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned())
        );
    }
}
