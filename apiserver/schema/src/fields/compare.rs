//! What a write changed, as sets of paths.
//!
//! Equal parts are passed over before anything is said about them, so the cost is that of what changed.

use std::sync::LazyLock;

use super::element;
use super::extract::is_leaf;
use super::set::Set;
use super::shape;
use crate::node::{List, ListKind, Schema, Shape};
use crate::{Object, Tree};

/// The difference between two trees. No path is in two of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Paths only in the old tree.
    pub removed: Set,
    /// Leaves in both, with different values.
    pub modified: Set,
    /// Paths only in the new tree.
    pub added: Set,
}

impl Comparison {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Without the given paths and everything below them.
    #[must_use]
    pub fn without(mut self, paths: &Set) -> Self {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.subtract_recursively(paths);
        }
        self
    }

    fn attach(&mut self, element: &str, change: Change) {
        self.removed.attach(element, change.removed, change.below.removed);
        self.modified.attach(element, change.modified, change.below.modified);
        self.added.attach(element, change.added, change.below.added);
    }
}

/// Compares two trees of one schema.
pub fn compare(schema: &Schema, old: &Tree, new: &Tree) -> Comparison {
    if old == new { Comparison::default() } else { differ(schema, Some(old), Some(new), None).below }
}

/// What happened to one path, and below it.
#[derive(Default)]
struct Change {
    removed: bool,
    modified: bool,
    added: bool,
    below: Comparison,
}

fn differ(schema: &Schema, old: Option<&Tree>, new: Option<&Tree>, atomic: Option<bool>) -> Change {
    let mut change = Change { removed: new.is_none(), added: old.is_none(), ..Change::default() };
    let shown = new.or(old).unwrap_or(&Tree::Null);
    if let (Shape::Either { object, .. }, Tree::Object(_)) = (&schema.shape, shown) {
        return differ(object, old, new, None);
    }
    match contents(schema, old, new, atomic) {
        Contents::Leaf => change.modified = matches!((old, new), (Some(old), Some(new)) if old != new),
        Contents::Objects(old, new) => change.below = objects(schema, old, new),
        Contents::Lists(list, old, new) => change.below = lists(list, old, new),
    }
    change
}

enum Contents<'a> {
    Leaf,
    Objects(&'a Object, &'a Object),
    Lists(&'a List, &'a [Tree], &'a [Tree]),
}

/// How two values are compared. When both are empty or absent they are a leaf: there is nothing to go into.
fn contents<'a>(
    schema: &'a Schema,
    old: Option<&'a Tree>,
    new: Option<&'a Tree>,
    atomic: Option<bool>,
) -> Contents<'a> {
    static NOTHING: LazyLock<Object> = LazyLock::new(Object::new);
    let shown = match new {
        None | Some(Tree::Null) => old.or(new),
        some => some,
    };
    if is_leaf(schema, shown.unwrap_or(&Tree::Null), atomic) {
        return Contents::Leaf;
    }
    let object = |tree: Option<&'a Tree>| match tree {
        None | Some(Tree::Null) => Some(&*NOTHING),
        Some(Tree::Object(object)) => Some(object),
        Some(_) => None,
    };
    let items = |tree: Option<&'a Tree>| match tree {
        None | Some(Tree::Null) => Some(&[][..]),
        Some(Tree::Array(items)) => Some(&items[..]),
        Some(_) => None,
    };
    match &schema.shape {
        Shape::List(list) => match (items(old), items(new)) {
            (Some([]), Some([])) | (None, _) | (_, None) => Contents::Leaf,
            (Some(old), Some(new)) => Contents::Lists(list, old, new),
        },
        _ => match (object(old), object(new)) {
            (Some(old), Some(new)) if !(old.is_empty() && new.is_empty()) => Contents::Objects(old, new),
            _ => Contents::Leaf,
        },
    }
}

fn objects(schema: &Schema, old: &Object, new: &Object) -> Comparison {
    let mut comparison = Comparison::default();
    for (key, before) in old {
        let after = new.get(key);
        if after != Some(before) {
            comparison.attach(&element::field(key), member(schema, key, Some(before), after));
        }
    }
    for (key, after) in new {
        if !old.contains_key(key) {
            comparison.attach(&element::field(key), member(schema, key, None, Some(after)));
        }
    }
    comparison
}

fn member(schema: &Schema, key: &str, old: Option<&Tree>, new: Option<&Tree>) -> Change {
    let (child, atomic) = shape::member(schema, key);
    differ(child, old, new, atomic)
}

fn lists(list: &List, old: &[Tree], new: &[Tree]) -> Comparison {
    debug_assert!(list.kind != ListKind::Atomic, "an atomic list is a leaf");
    let mut comparison = Comparison::default();
    let (before, after) = (grouped(list, old), grouped(list, new));
    for (name, olds) in &before {
        let news = after.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, items)| items);
        comparison.attach(name, item(list, olds, news));
    }
    for (name, news) in &after {
        if !before.iter().any(|(other, _)| other == name) {
            comparison.attach(name, item(list, &[], news));
        }
    }
    comparison
}

/// Items by identity, in order of appearance; items without one are left out. Lists are short, so a scan does.
fn grouped<'a>(list: &List, items: &'a [Tree]) -> Vec<(Box<str>, Vec<&'a Tree>)> {
    let mut groups: Vec<(Box<str>, Vec<&'a Tree>)> = Vec::with_capacity(items.len());
    for tree in items {
        let Some(name) = element::item(list, tree) else { continue };
        match groups.iter_mut().find(|(other, _)| *other == name) {
            Some((_, group)) => group.push(tree),
            None => groups.push((name, vec![tree])),
        }
    }
    groups
}

/// Items of one identity. Several of them count as one atom, marked by the identity alone.
fn item(list: &List, old: &[&Tree], new: &[&Tree]) -> Change {
    match (old, new) {
        ([] | [_], [] | [_]) => {
            let (old, new) = (old.first().copied(), new.first().copied());
            if old == new { Change::default() } else { differ(&list.item, old, new, None) }
        }
        ([_, _, ..], [_, _, ..]) => Change { modified: old != new, ..Change::default() },
        ([_, _, ..], _) => {
            let mut change =
                new.first().map_or_else(Change::default, |new| differ(&list.item, None, Some(new), None));
            change.removed = true;
            change
        }
        (_, _) => {
            let mut change =
                old.first().map_or_else(Change::default, |old| differ(&list.item, Some(old), None, None));
            change.added = true;
            change
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Shows a comparison as `-removed ~modified +added`.
    fn check(kind: (&str, &str), old: Tree, new: Tree, expected: &str) {
        let schema = crate::kind(kind.0, "v1", kind.1).expect("a built-in kind");
        let comparison = compare(schema, &old, &new);
        let show = |sign: &str, set: &Set| -> Vec<String> {
            set.paths().iter().map(|path| format!("{sign}{}", Set::describe(path))).collect()
        };
        let shown =
            [show("-", &comparison.removed), show("~", &comparison.modified), show("+", &comparison.added)]
                .concat()
                .join(" ");
        assert_eq!(shown, expected, "{old} {new}");
    }

    #[test]
    fn maps_and_structs() {
        let map = ("", "ConfigMap");
        check(map, json!({"data": {"a": "1"}}), json!({"data": {"a": "1"}}), "");
        check(
            map,
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"a": "x", "c": "3"}}),
            "-.data.b ~.data.a +.data.c",
        );
        check(map, json!({}), json!({"data": {"a": "1"}}), "+.data +.data.a");
        check(map, json!({"data": {"a": "1"}}), json!({}), "-.data -.data.a");
        check(map, json!({"data": {"a": ""}}), json!({"data": {}}), "-.data.a");
    }

    #[test]
    fn atoms_change_as_a_whole() {
        let deployment = ("apps", "Deployment");
        let selector = |value: &str| json!({"spec": {"selector": {"matchLabels": {"a": value}}}});
        check(deployment, selector("b"), selector("c"), "~.spec.selector");
        check(deployment, json!({"spec": {"selector": null}}), selector("c"), "~.spec.selector");
        check(
            ("", "Pod"),
            json!({"spec": {}}),
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
            "+.spec.nodeSelector",
        );
    }

    #[test]
    fn lists_with_identities() {
        let pod = ("", "Pod");
        let containers = |list: Tree| json!({"spec": {"containers": list}});
        check(
            pod,
            containers(json!(null)),
            containers(json!([{"name": "a", "resources": {}}])),
            "+.spec.containers[name=\"a\"] +.spec.containers[name=\"a\"].name +.spec.containers[name=\"a\"].resources",
        );
        check(
            pod,
            containers(json!([{"name": "a", "image": "1"}])),
            containers(json!([{"name": "a", "image": "2"}])),
            "~.spec.containers[name=\"a\"].image",
        );
        check(
            pod,
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "b"}, {"name": "a"}])),
            "",
        );
        let finalizers = |list: Tree| json!({"metadata": {"finalizers": list}});
        check(
            pod,
            finalizers(json!(["a", "b"])),
            finalizers(json!(["z"])),
            "-.metadata.finalizers[=\"a\"] -.metadata.finalizers[=\"b\"] +.metadata.finalizers[=\"z\"]",
        );
        check(
            pod,
            finalizers(json!(["a"])),
            finalizers(json!(["a", "a"])),
            "-.metadata.finalizers[=\"a\"] +.metadata.finalizers[=\"a\"]",
        );
    }
}
