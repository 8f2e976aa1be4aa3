//! Merge patch, RFC 7386: objects merge, `null` removes, everything else replaces.

use super::PatchError;
use crate::decode::json_type;
use crate::{Object, Tree};

/// Applies a merge patch. It must be an object.
pub fn merge(original: &Tree, patch: &Tree) -> Result<Tree, PatchError> {
    let Tree::Object(patch) = patch else {
        let found = json_type(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    };
    let mut object = original.as_object().cloned().unwrap_or_default();
    merge_object(&mut object, patch);
    Ok(Tree::Object(object))
}

fn merge_object(object: &mut Object, patch: &Object) {
    for (key, value) in patch {
        match (object.get_mut(key), value) {
            (_, Tree::Null) => {
                object.remove(key);
            }
            (Some(Tree::Object(inner)), Tree::Object(patch)) => merge_object(inner, patch),
            _ => {
                object.insert(key.clone(), without_nulls(value));
            }
        }
    }
}

/// What is new comes without its nulls, even inside lists, where the RFC would keep them.
fn without_nulls(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(object) => {
            let kept = object.iter().filter(|(_, value)| !value.is_null());
            Tree::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Tree::Array(items) => Tree::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_merge_and_nulls_remove() {
        let check = |original: Tree, patch: Tree, expected: Tree| {
            assert_eq!(merge(&original, &patch), Ok(expected), "{original} {patch}");
        };
        check(
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"a": "n", "c": "m"}}),
            json!({"data": {"a": "n", "b": "2", "c": "m"}}),
        );
        check(
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"a": null, "zz": null}}),
            json!({"data": {"b": "2"}}),
        );
        check(json!({"data": {"a": "1"}, "x": 1}), json!({"data": null}), json!({"x": 1}));
        check(json!({"l": ["a", "b"]}), json!({"l": ["z"]}), json!({"l": ["z"]}));
        check(
            json!({}),
            json!({"a": {"b": null, "c": [{"d": null, "e": 1}, null]}}),
            json!({"a": {"c": [{"e": 1}, null]}}),
        );
        check(json!({"a": "text"}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
    }

    #[test]
    fn a_merge_patch_is_an_object() {
        let error = merge(&json!({}), &json!([])).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned())
        );
    }
}
