//! The typed merge of an applied configuration into an object.
//!
//! Granular maps and structs merge key by key, lists with identities item by item, everything else is replaced. A list
//! keeps the order of the configuration; items only the object has stay where they are between their neighbours.
//!
//! ```text
//! object a b c, configuration d b   ->   a d b c
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::super::element;
use super::super::shape::{self, Form};
use crate::node::{List, Schema};
use crate::{Object, Tree};

/// Merges `config` into `live`; both conform to `schema`.
pub(super) fn merge(schema: &Schema, live: &Tree, config: &Tree) -> Tree {
    value(schema, Some(live), Some(config), None).unwrap_or_default()
}

fn value(schema: &Schema, live: Option<&Tree>, config: Option<&Tree>, atomic: Option<bool>) -> Option<Tree> {
    let shown = config.filter(|tree| !tree.is_null()).or(live).or(config)?;
    let whole = || config.or(live).cloned();
    match shape::form(schema, shown, atomic) {
        Form::Leaf => whole(),
        Form::Map => {
            let object =
                |tree: Option<&'_ Tree>| tree.and_then(Tree::as_object).is_some_and(|map| !map.is_empty());
            if !object(live) && !object(config) {
                return whole();
            }
            let map = |tree: Option<&Tree>| tree.and_then(Tree::as_object).cloned().unwrap_or_default();
            let merged = objects(schema, map(live), &map(config));
            (!merged.is_empty()).then_some(Tree::Object(merged))
        }
        Form::List(list) => {
            let items = |tree: Option<&'_ Tree>| -> Vec<Tree> {
                tree.and_then(Tree::as_array).cloned().unwrap_or_default()
            };
            let (live_items, config_items) = (items(live), items(config));
            if live_items.is_empty() && config_items.is_empty() {
                return whole();
            }
            let merged = lists(list, &live_items, &config_items);
            (!merged.is_empty()).then_some(Tree::Array(merged))
        }
    }
}

/// Keys that only the object has are kept as they are.
fn objects(schema: &Schema, mut live: Object, config: &Object) -> Object {
    for (key, theirs) in config {
        let (child, atomic) = shape::member(schema, key);
        match value(child, live.get(key), Some(theirs), atomic) {
            Some(merged) => live.insert(key.clone(), merged),
            None => live.remove(key),
        };
    }
    live
}

/// Items in order, with their identity; items without one cannot be merged and are left out.
fn named<'a>(list: &List, items: &'a [Tree]) -> Vec<(Box<str>, &'a Tree)> {
    items.iter().filter_map(|item| Some((element::item(list, item)?, item))).collect()
}

/// The items of a list by identity. One that stands several times is replaced instead of merged: which one would it be?
fn by_name<'a>(items: &'a [(Box<str>, &'a Tree)]) -> BTreeMap<&'a str, &'a Tree> {
    static SEVERAL: Tree = Tree::Null;
    let mut names = BTreeMap::new();
    for (name, item) in items {
        names.entry(&**name).and_modify(|item| *item = &SEVERAL).or_insert(*item);
    }
    names
}

fn lists(list: &List, live: &[Tree], config: &[Tree]) -> Vec<Tree> {
    let (live, config) = (named(list, live), named(list, config));
    let (live_by_name, config_by_name) = (by_name(&live), by_name(&config));
    let mut shared = config.iter().map(|(name, _)| &**name).filter(|name| live_by_name.contains_key(name));
    let mut next_shared = shared.next();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let both = |name: &str| {
        value(&list.item, live_by_name.get(name).copied(), config_by_name.get(name).copied(), None)
    };
    let (mut left, mut right) = (live.iter().peekable(), config.iter().peekable());
    loop {
        let (mine, theirs) = (left.peek().map(|(name, _)| &**name), right.peek().map(|(name, _)| &**name));
        if let (Some(name), Some(other)) = (mine, theirs) {
            if name == other {
                merged.extend(both(name));
                taken.insert(name);
                left.next();
                right.next();
                next_shared = shared.next();
                continue;
            }
            // Shared, but not the shared item whose turn it is: it comes where the configuration has it.
            if config_by_name.contains_key(name) && next_shared.is_some_and(|next| next != name) {
                left.next();
                continue;
            }
        }
        if let Some((name, item)) = left.peek() {
            if !config_by_name.contains_key(&**name) {
                merged.push((*item).clone());
                left.next();
                continue;
            }
            if taken.contains(&**name) {
                left.next();
            }
        }
        match right.next() {
            Some((name, _)) => {
                taken.insert(name);
                merged.extend(both(name));
                if next_shared == Some(&**name) {
                    next_shared = shared.next();
                }
            }
            None if left.peek().is_none() => return merged,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Finalizers are a set: letters before and after.
    fn check(live: &str, config: &str, expected: &str) {
        let schema = crate::kind("", "v1", "ConfigMap").expect("a built-in kind");
        let object = |letters: &str| {
            let items: Vec<&str> = letters.split_whitespace().collect();
            json!({"metadata": {"finalizers": items}})
        };
        assert_eq!(merge(schema, &object(live), &object(config)), object(expected), "{live} | {config}");
    }

    #[test]
    fn order_of_a_merged_list() {
        check("a b c", "", "a b c");
        check("", "a b", "a b");
        check("a b", "c a", "c a b");
        check("a b c", "d b", "a d b c");
        check("a b c", "c a", "b c a");
        check("a b c d", "d x a", "b c d x a");
        check("a b", "b a", "b a");
        check("a b c", "x y", "a b c x y");
        check("a a b", "b", "a a b");
        check("a a b", "a", "a b");
    }

    #[test]
    fn nulls_replace_leaves_and_leave_maps_alone() {
        let check = |live: Tree, config: Tree, expected: Tree| {
            let schema = crate::kind("", "v1", "Pod").expect("a built-in kind");
            assert_eq!(merge(schema, &live, &config), expected);
        };
        let labels = |value: Tree| json!({"metadata": {"labels": value}});
        check(labels(json!({"a": "1"})), labels(json!(null)), labels(json!({"a": "1"})));
        check(labels(json!({"a": "1"})), labels(json!({"a": null})), labels(json!({"a": null})));
        check(json!({}), labels(json!(null)), labels(json!(null)));
        let spec = |key: &str, value: Tree| json!({"spec": {key: value}});
        check(
            spec("nodeSelector", json!({"a": "1"})),
            spec("nodeSelector", json!({"b": "2"})),
            spec("nodeSelector", json!({"b": "2"})),
        );
        check(
            spec("containers", json!([{"name": "a", "image": "x"}, {"name": "b"}])),
            spec("containers", json!([{"name": "b", "image": "y"}])),
            spec("containers", json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}])),
        );
    }
}
