//! Patches of all four kinds on objects of every kind served.

use std::collections::BTreeMap;

use schema::decode::{self, DecodeError};
use schema::fields::apply::{self, Apply, ApplyError};
use schema::fields::{Set, Write, decode_managers, encode_managers, update_managers};
use schema::{Schema, Tree, default, patch};

use crate::document::{Kind, two};
use crate::objects::{bytes, object};

/// What a patch may add beyond itself and the object: what upstream lets `copy` operations add up to.
const GROWTH_MAX: usize = 3 << 20;
const TIME: &str = "2026-01-02T03:04:05Z";

/// A JSON patch.
pub fn json(data: &[u8]) {
    let Some((kind, old, patch)) = read(data) else { return };
    if let Ok(new) = patch::json(&old, &patch) {
        let bound = bytes(&old).len() + bytes(&patch).len() + GROWTH_MAX;
        let have = bytes(&new).len();
        assert!(have <= bound, "{have} bytes out of {bound}");
        reads_again(&new);
        in_form(kind.schema, new);
    }
}

/// A merge patch. Agrees with the dozen lines of RFC 7386.
pub fn merge(data: &[u8]) {
    let Some((kind, old, patch)) = read(data) else { return };
    if !patch.is_object() {
        return;
    }
    let Ok(new) = patch::merge(&old, &patch) else { return };
    let mut model = old;
    merged(&mut model, &patch);
    assert_eq!(without_nulls(new.clone()), without_nulls(model), "{patch}");
    in_form(kind.schema, new);
}

/// RFC 7386, section 2.
fn merged(target: &mut Tree, patch: &Tree) {
    let Tree::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Tree::Object(schema::Object::new());
    }
    let object = target.as_object_mut().expect("made above");
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merged(object.entry(key.clone()).or_insert(Tree::Null), value);
        }
    }
}

/// Nulls in what a patch newly brings are dropped sooner or later; when is not the question here.
fn without_nulls(tree: Tree) -> Tree {
    match tree {
        Tree::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Tree::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Tree::Array(items) => {
            Tree::Array(items.into_iter().filter(|item| !item.is_null()).map(without_nulls).collect())
        }
        other => other,
    }
}

/// A strategic merge patch. One without directives, applied twice, says nothing new.
pub fn strategic(data: &[u8]) {
    let Some((kind, old, patch)) = read(data) else { return };
    let Ok(new) = patch::strategic(kind.schema, &old, &patch) else { return };
    reads_again(&new);
    let Some(new) = restored(kind.schema, new) else { return };
    if is_plain(&patch) {
        let twice = patch::strategic(kind.schema, &new, &patch).expect("it applied before");
        let twice = restored(kind.schema, twice).expect("it fitted before");
        assert_eq!(twice, new, "twice {patch}");
    }
}

fn restored(schema: &Schema, mut tree: Tree) -> Option<Tree> {
    patch::restore(schema, &mut tree).ok()?;
    in_form(schema, tree.clone());
    Some(tree)
}

/// Neither directives nor lists, whose elements may meet each other.
fn is_plain(patch: &Tree) -> bool {
    match patch {
        Tree::Object(object) => object.iter().all(|(key, value)| !key.starts_with('$') && is_plain(value)),
        Tree::Array(_) => false,
        _ => true,
    }
}

/// Server-side apply, after a plain write and an apply of somebody else. Applying again changes nothing.
pub fn apply(data: &[u8]) {
    let Some((kind, mut live, config)) = read(data) else { return };
    let reset = Set::default();
    let api_version = kind.api_version();
    let write = Write {
        manager: "writer",
        api_version: &api_version,
        subresource: "",
        time: TIME,
        reset: &reset,
        others: &[],
    };
    update_managers(kind.schema, None, &mut live, &write);
    for (manager, force) in [("one", false), ("two", true), ("kubectl", false)] {
        let Ok(applied) = applied(kind, &live, &config, manager, force) else { continue };
        in_form(kind.schema, applied.object.clone());
        let before = applied.object.clone();
        live = completed(kind, applied);
        // An empty text or a null that is part of an element's key is left out of the object, or becomes a default: the
        // element is another one then, upstream too. So it is when defaults contradict what was applied, as for a node's
        // podCIDRs.
        if has_empty_key(&config) || !is_within(&before, &live) {
            continue;
        }
        // An empty list of items with keys is nobody's: the next to apply finds an object from before all applies.
        if live["metadata"].get("managedFields").is_none() {
            continue;
        }
        let again = self::applied(kind, &live, &config, manager, force);
        let again = again.expect("nobody contests what one owns already");
        assert_eq!(completed(kind, again), live, "{manager} applies {config} twice");
    }
}

/// With the defaults that a changed object still wants.
fn completed(kind: Kind, applied: apply::Applied) -> Tree {
    let apply::Applied { mut object, changed } = applied;
    if changed {
        default::apply(kind.schema, &mut object);
        kind.strategy.default(&mut object);
    }
    object
}

/// Whether everything in `a` is in `b`, which may have more fields.
fn is_within(a: &Tree, b: &Tree) -> bool {
    match (a, b) {
        (Tree::Object(a), Tree::Object(b)) => {
            a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_within(value, other)))
        }
        (Tree::Array(a), Tree::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_within(a, b))
        }
        _ => a == b,
    }
}

fn has_empty_key(tree: &Tree) -> bool {
    let has_null = |item: &Tree| item.as_object().is_some_and(|item| item.values().any(Tree::is_null));
    match tree {
        Tree::Object(object) => object.values().any(has_empty_key),
        Tree::Array(items) => items.iter().any(|item| has_empty_key(item) || has_null(item)),
        other => other.as_str() == Some(""),
    }
}

fn applied(
    kind: Kind,
    live: &Tree,
    config: &Tree,
    manager: &str,
    force: bool,
) -> Result<apply::Applied, ApplyError> {
    let resource = kind.strategy.resource();
    let api_version = kind.api_version();
    let convert = |tree: &Tree, _: &str, to: &str| (to == api_version).then(|| (kind.schema, tree.clone()));
    let request = Apply {
        manager,
        force,
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
        subresource: "",
        time: TIME,
        reset: &Set::default(),
        convert: &convert,
    };
    apply::apply(kind.schema, live, config, &request)
}

/// Field sets and lists of managers as a client may write them.
pub fn managed_fields(data: &[u8]) {
    let Ok((tree, _)) = decode::json(data) else { return };
    if let Ok(set) = Set::from_tree(&tree) {
        let again = Set::from_tree(&set.to_tree()).expect("what was written is read");
        assert_eq!(again, set);
        assert_eq!(set.union(&set), set);
        assert_eq!(set.intersection(&set), set);
        assert!(set.difference(&set).is_empty());
        let paths: BTreeMap<_, ()> = set.paths().into_iter().map(|path| (path, ())).collect();
        assert_eq!(paths.len(), set.paths().len(), "paths are told once");
        assert!(paths.keys().all(|path| set.contains(path)));
        paths.keys().for_each(|path| drop(Set::describe(path)));
    }
    if let Ok(managers) = decode_managers(&tree) {
        let written = encode_managers(managers);
        let again = decode_managers(&written).expect("what was written is read");
        assert_eq!(encode_managers(again), written);
    }
}

fn read(data: &[u8]) -> Option<(Kind, Tree, Tree)> {
    let (kind, rest) = Kind::of(data);
    let (old, patch) = two(rest);
    let old = object(kind, old)?;
    let read: Result<_, DecodeError> = decode::json(patch);
    Some((kind, old, read.ok()?.0))
}

fn reads_again(tree: &Tree) {
    assert_eq!(&decode::json(&bytes(tree)).expect("what was written is read").0, tree);
}

/// What fits a schema once fits it ever after.
fn in_form(schema: &Schema, mut tree: Tree) {
    if decode::conform(schema, &mut tree).is_ok() {
        let form = tree.clone();
        decode::conform(schema, &mut tree).expect("it fitted before");
        assert_eq!(tree, form);
    }
}
