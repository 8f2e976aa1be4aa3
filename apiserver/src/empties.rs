//! What becomes of empty lists in the store. Upstream stores most kinds in an
//! encoding that knows no difference between an empty list and none, so a list
//! that is always printed comes back as `null`. Decides only that; dry runs
//! pass through here too, as they pass through upstream's encoding.

use schema::decode::Empties;
use schema::{Schema, Shape, Tree};
use std::borrow::Cow;
use std::sync::{Arc, Mutex};

/// The empty lists and maps of a request's body, which validation sees and nobody else.
#[derive(Clone, Default)]
pub(crate) struct SentEmpty(Arc<Mutex<Empties>>);

impl SentEmpty {
    /// Notes those of a body that is not conformed yet; of a patch that is tried again, the last outcome counts.
    pub(crate) fn note(&self, schema: &Schema, tree: &Tree) {
        *self.0.lock().expect("nobody panics while holding it") = Empties::of(schema, tree);
    }

    /// Those that were noted.
    pub(crate) fn get(&self) -> Empties {
        self.0.lock().expect("nobody panics while holding it").clone()
    }
}

/// The object as it comes back from the store.
pub(crate) fn settled<'a>(schema: &Schema, tree: Cow<'a, Tree>) -> Cow<'a, Tree> {
    if !holds_empty_list(&tree) {
        return tree;
    }
    let mut settled = tree.into_owned();
    settle(schema, &mut settled);
    Cow::Owned(settled)
}

/// Most objects hold none, and then nothing is copied.
fn holds_empty_list(tree: &Tree) -> bool {
    match tree {
        Tree::Array(items) => items.is_empty() || items.iter().any(holds_empty_list),
        Tree::Object(members) => {
            members.iter().any(|(key, value)| key != "managedFields" && holds_empty_list(value))
        }
        _ => false,
    }
}

fn settle(schema: &Schema, tree: &mut Tree) {
    match (&schema.shape, tree) {
        (Shape::Struct(inner), Tree::Object(members)) => {
            for field in &inner.fields {
                let Some(value) = members.get_mut(&*field.name) else { continue };
                let is_list = matches!(field.child.shape, Shape::List(_)) && !field.omission.pointer;
                if is_list && !field.omission.omit_empty && value.as_array().is_some_and(Vec::is_empty) {
                    *value = Tree::Null;
                } else {
                    settle(&field.child, value);
                }
            }
        }
        (Shape::List(list), Tree::Array(items)) => items.iter_mut().for_each(|item| settle(&list.item, item)),
        (Shape::Map(map), Tree::Object(members)) => {
            members.values_mut().for_each(|value| settle(&map.value, value))
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(group: &str, kind: &str, sent: Tree, stored: Tree) {
        let schema = schema::kind(group, "v1", kind).expect(kind);
        assert_eq!(*settled(schema, Cow::Borrowed(&sent)), stored, "{sent}");
    }

    #[test]
    fn an_empty_list_that_is_always_printed_is_stored_as_none() {
        check("rbac.authorization.k8s.io", "Role", json!({"rules": []}), json!({"rules": null}));
        check(
            "rbac.authorization.k8s.io",
            "Role",
            json!({"rules": [{"verbs": ["get"]}]}),
            json!({"rules": [{"verbs": ["get"]}]}),
        );
        check(
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"endpoints": [{"addresses": []}], "ports": []}),
            json!({"endpoints": [{"addresses": null}], "ports": null}),
        );
        check(
            "",
            "ConfigMap",
            json!({"metadata": {"annotations": {"a": "[]"}}}),
            json!({"metadata": {"annotations": {"a": "[]"}}}),
        );
        check(
            "",
            "Pod",
            json!({"metadata": {"managedFields": []}}),
            json!({"metadata": {"managedFields": []}}),
        );
    }
}
