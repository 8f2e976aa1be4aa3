//! Empty lists and maps that a writer gave for fields that may be left out.
//!
//! Go's decoder keeps them and its encoder leaves them out, so upstream's validation tells `scopes: []` from no scopes while
//! nobody reads it back. [`super::conform`] is the decoder and the encoder in one; what stood there before is found here, and
//! put back into the tree that validation looks at.

use std::borrow::Cow;

use super::scan::Step;
use crate::node::{Schema, Shape};
use crate::{Object, Tree};

/// Upstream has no internal form of it, so errors show it as it is encoded.
const SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";

/// Places of empty lists and maps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Empties(Vec<Empty>);

#[derive(Debug, Clone, PartialEq)]
struct Empty {
    way: Vec<Owned>,
    value: Tree,
}

#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Key(String),
    Index(usize),
}

impl Empties {
    /// Those of a tree that is not conformed yet.
    pub fn of(schema: &Schema, tree: &Tree) -> Self {
        let mut found = Self::default();
        if holds_any(tree) {
            found.collect(schema, tree, &mut Vec::new());
        }
        found
    }

    /// Without maps. An update compares what is new with what is stored, where no map and an empty one are the same.
    pub fn lists(mut self) -> Self {
        self.0.retain(|empty| empty.value.is_array());
        self
    }

    /// The conformed tree with them where nothing has taken their place.
    pub fn put_back<'a>(&self, tree: &'a Tree) -> Cow<'a, Tree> {
        let mut tree = Cow::Borrowed(tree);
        for Empty { way, value } in &self.0 {
            let Some((Owned::Key(name), way)) = way.split_last() else { continue };
            if parent(&tree, way).is_some_and(|parent| !parent.contains_key(name)) {
                let parent = parent_mut(tree.to_mut(), way).expect("found above");
                parent.insert(name.clone(), value.clone());
            }
        }
        tree
    }

    fn collect<'a>(&mut self, schema: &Schema, tree: &'a Tree, way: &mut Vec<Step<'a>>) {
        match (&schema.shape, tree) {
            (Shape::Struct(_), _) if schema.name == SELECTOR => {}
            (Shape::Struct(inner), Tree::Object(object)) => {
                // Most members hold none, and need no look at their schema.
                for (name, value) in object.iter().filter(|(_, value)| holds_any(value)) {
                    let Some(field) = inner.field(name) else { continue };
                    way.push(Step::Key(name));
                    let is_omitted = field.omission.omit_empty && !field.omission.pointer;
                    if is_omitted && is_empty(&field.child, value) {
                        self.0.push(Empty { way: way.iter().map(owned).collect(), value: value.clone() });
                    } else {
                        self.collect(&field.child, value, way);
                    }
                    way.pop();
                }
            }
            (Shape::Map(map), Tree::Object(object)) => {
                for (name, value) in object {
                    way.push(Step::Key(name));
                    self.collect(&map.value, value, way);
                    way.pop();
                }
            }
            (Shape::List(list), Tree::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    way.push(Step::Index(index));
                    self.collect(&list.item, item, way);
                    way.pop();
                }
            }
            _ => {}
        }
    }
}

fn owned(step: &Step<'_>) -> Owned {
    match step {
        Step::Key(name) => Owned::Key((*name).to_owned()),
        Step::Index(index) => Owned::Index(*index),
    }
}

fn parent<'a>(tree: &'a Tree, way: &[Owned]) -> Option<&'a Object> {
    let found = way.iter().try_fold(tree, |tree, step| match step {
        Owned::Key(name) => tree.get(name),
        Owned::Index(index) => tree.get(index),
    });
    found?.as_object()
}

fn parent_mut<'a>(tree: &'a mut Tree, way: &[Owned]) -> Option<&'a mut Object> {
    let found = way.iter().try_fold(tree, |tree, step| match step {
        Owned::Key(name) => tree.get_mut(name),
        Owned::Index(index) => tree.get_mut(index),
    });
    found?.as_object_mut()
}

fn is_empty(schema: &Schema, tree: &Tree) -> bool {
    match (&schema.shape, tree) {
        (Shape::List(_), Tree::Array(items)) => items.is_empty(),
        (Shape::Map(_), Tree::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

/// Most trees hold none, and then no path is made.
fn holds_any(tree: &Tree) -> bool {
    match tree {
        Tree::Array(items) => items.is_empty() || items.iter().any(holds_any),
        Tree::Object(object) => object.is_empty() || object.values().any(holds_any),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode::conform;

    #[test]
    fn what_conforming_left_out_is_put_back_for_validation() {
        let schema = crate::kind("", "v1", "ResourceQuota").expect("a kind");
        let check = |sent: Tree, shown: Tree, lists: Tree| {
            let empties = Empties::of(schema, &sent);
            let mut tree = sent.clone();
            conform(schema, &mut tree).expect("a quota");
            assert_eq!(*empties.put_back(&tree), shown, "{sent}");
            assert_eq!(*empties.lists().put_back(&tree), lists, "{sent}");
        };
        let status = json!({});
        check(
            json!({"spec": {"scopes": [], "hard": {}}, "metadata": {}}),
            json!({"spec": {"scopes": [], "hard": {}}, "metadata": {}, "status": status}),
            json!({"spec": {"scopes": []}, "metadata": {}, "status": status}),
        );
        let plain = json!({"spec": {"scopes": ["NotTerminating"]}, "metadata": {}, "status": status});
        check(plain.clone(), plain.clone(), plain);
    }
}
