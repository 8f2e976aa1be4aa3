//! Sets of paths, as a trie over path elements.

use std::collections::{BTreeMap, btree_map};

use super::element;
use super::shape;
use crate::node::{Schema, Struct};
use crate::{Object, Tree};

/// A set of paths. A path may be in the set whether or not longer ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<Box<str>, Entry>);

/// What the set says about one element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// The path that ends here is in the set.
    own: bool,
    below: Set,
}

/// A text in `fieldsV1` that is no path element.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path element: {0:?}")]
pub struct FieldsError(pub String);

impl Set {
    /// The set of these paths of field names: `&[&["status"]]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<Box<str>> = path.iter().map(|name| element::field(name)).collect();
            set.insert(&elements);
        }
        set
    }

    /// Reads a `fieldsV1` tree.
    pub fn from_tree(tree: &Tree) -> Result<Self, FieldsError> {
        let mut set = Self::default();
        for (key, below) in tree.as_object().into_iter().flatten() {
            if key == "." {
                continue;
            }
            let entry = Entry { own: is_own(below), below: Self::from_tree(below)? };
            set.0.insert(element::canonical(key)?, entry);
        }
        Ok(set)
    }

    /// Writes a `fieldsV1` tree.
    pub fn to_tree(&self) -> Tree {
        let pairs = self.0.iter().map(|(element, entry)| {
            let mut below = entry.below.to_tree();
            if let (Tree::Object(below), true, false) = (&mut below, entry.own, entry.below.is_empty()) {
                below.insert(".".to_owned(), Tree::Object(Object::new()));
            }
            (String::from(&**element), below)
        });
        Tree::Object(pairs.collect())
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Box<str>]) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = self.0.entry(first.clone()).or_default();
        if rest.is_empty() {
            entry.own = true;
        } else {
            entry.below.insert(rest);
        }
    }

    /// Puts what stands below an element into the set, and the element itself when `own`.
    pub(super) fn attach(&mut self, element: &str, own: bool, below: Self) {
        if !own && below.is_empty() {
            return;
        }
        let entry = self.0.entry(element.into()).or_default();
        entry.own |= own;
        if entry.below.is_empty() {
            entry.below = below;
        } else {
            entry.below = entry.below.union(&below);
        }
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a path, in its elements, is in the set.
    pub fn contains(&self, path: &[Box<str>]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.0
            .get(first)
            .is_some_and(|entry| if rest.is_empty() { entry.own } else { entry.below.contains(rest) })
    }

    /// Paths in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.add(other.clone());
        union
    }

    /// Takes in the paths of another set. The cost is that of the other.
    pub(super) fn add(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        for (element, theirs) in other.0 {
            match self.0.entry(element) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(theirs);
                }
                btree_map::Entry::Occupied(mut place) => {
                    let entry = place.get_mut();
                    entry.own |= theirs.own;
                    entry.below.add(theirs.below);
                }
            }
        }
    }

    /// Takes out the paths of another set. The cost is that of the other.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.cut(other, |entry, theirs| {
            entry.own &= !theirs.own;
            entry.below.subtract(&theirs.below);
        });
    }

    /// Takes out the paths of another set and everything below them. The cost is that of the other.
    pub(super) fn subtract_recursively(&mut self, other: &Self) {
        self.cut(other, |entry, theirs| {
            if theirs.own {
                *entry = Entry::default();
            } else {
                entry.below.subtract_recursively(&theirs.below);
            }
        });
    }

    /// Changes the entries that another set has too; those that say nothing any more go.
    fn cut(&mut self, other: &Self, change: impl Fn(&mut Entry, &Entry)) {
        for (element, theirs) in &other.0 {
            let Some(entry) = self.0.get_mut(element) else { continue };
            change(entry, theirs);
            if !entry.own && entry.below.is_empty() {
                self.0.remove(element);
            }
        }
    }

    /// Whether a path of this set is in the set that a `fieldsV1` tree in canonical form stands for.
    pub(super) fn meets(&self, tree: &Tree) -> bool {
        let Tree::Object(theirs) = tree else { return false };
        self.0.iter().any(|(element, entry)| {
            theirs
                .get(&**element)
                .is_some_and(|below| (entry.own && is_own(below)) || entry.below.meets(below))
        })
    }

    /// Paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.kept(|element, entry| match other.0.get(element) {
            Some(theirs) => {
                Entry { own: entry.own && theirs.own, below: entry.below.intersection(&theirs.below) }
            }
            None => Entry::default(),
        })
    }

    /// Paths of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.kept(|element, entry| match other.0.get(element) {
            Some(theirs) => {
                Entry { own: entry.own && !theirs.own, below: entry.below.difference(&theirs.below) }
            }
            None => entry.clone(),
        })
    }

    /// Paths of this set that neither are in the other nor lie below one that is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.kept(|element, entry| match other.0.get(element) {
            Some(theirs) if theirs.own => Entry::default(),
            Some(theirs) => Entry { own: entry.own, below: entry.below.recursive_difference(&theirs.below) },
            None => entry.clone(),
        })
    }

    /// The entries after a change; those that say nothing any more are left out.
    fn kept(&self, change: impl Fn(&str, &Entry) -> Entry) -> Self {
        let changed = self.0.iter().map(|(element, entry)| (element.clone(), change(element, entry)));
        Self(changed.filter(|(_, entry)| entry.own || !entry.below.is_empty()).collect())
    }

    /// With every declared field that a path goes through. Structs are in no set of their own accord.
    pub(super) fn with_structs(&self, schema: &Schema) -> Self {
        let fields: Option<&Struct> = shape::resolved(schema).as_struct();
        self.kept(|element, entry| {
            let name = element.strip_prefix("f:");
            let declared = fields.zip(name).is_some_and(|(fields, name)| fields.field(name).is_some());
            let below = match shape::below(schema, element) {
                Some((child, _)) => entry.below.with_structs(child),
                None => entry.below.clone(),
            };
            Entry { own: entry.own || (declared && !entry.below.is_empty()), below }
        })
    }

    /// With what lies in an atom replaced by the atom: whoever owned a part of what has become one owns all of it.
    pub(super) fn reconciled(&self, schema: &Schema) -> Self {
        self.kept(|element, entry| match shape::below(schema, element) {
            _ if entry.below.is_empty() => entry.clone(),
            None => entry.clone(),
            Some((child, atomic)) if shape::is_atom(child, atomic) => {
                Entry { own: true, below: Self::default() }
            }
            Some((child, _)) => Entry { own: entry.own, below: entry.below.reconciled(child) },
        })
    }

    /// Paths that no other path of the set is longer than.
    #[must_use]
    pub fn leaves(&self) -> Self {
        self.kept(|_, entry| Entry { own: entry.own && entry.below.is_empty(), below: entry.below.leaves() })
    }

    /// Every path, in its elements, in order.
    pub fn paths(&self) -> Vec<Vec<Box<str>>> {
        fn collect(set: &Set, prefix: &mut Vec<Box<str>>, paths: &mut Vec<Vec<Box<str>>>) {
            for (element, entry) in &set.0 {
                prefix.push(element.clone());
                if entry.own {
                    paths.push(prefix.clone());
                }
                collect(&entry.below, prefix, paths);
                prefix.pop();
            }
        }
        let mut paths = Vec::new();
        collect(self, &mut Vec::new(), &mut paths);
        paths
    }

    /// Every path in the order of conflicts: at each level first the paths that end there, then longer ones.
    pub fn paths_by_level(&self) -> Vec<Vec<Box<str>>> {
        fn collect(set: &Set, prefix: &[Box<str>], paths: &mut Vec<Vec<Box<str>>>) {
            let mut entries: Vec<(&Box<str>, &Entry)> = set.0.iter().collect();
            entries.sort_by(|(a, _), (b, _)| element::order(a, b));
            let path = |element: &str| [prefix, &[element.into()]].concat();
            paths.extend(entries.iter().filter(|(_, entry)| entry.own).map(|(element, _)| path(element)));
            for (element, entry) in entries {
                collect(&entry.below, &path(element), paths);
            }
        }
        let mut paths = Vec::new();
        collect(self, &[], &mut paths);
        paths
    }

    /// A path as conflict messages print it: `.spec.containers[name="a"].image`.
    pub fn describe(path: &[Box<str>]) -> String {
        path.iter().map(|element| element::describe(element)).collect()
    }

    /// What the set holds below an element; `None` when nothing.
    pub fn below(&self, element: &str) -> Option<&Self> {
        self.0.get(element).map(|entry| &entry.below)
    }

    /// Whether the path of this one element is in the set.
    pub fn owns(&self, element: &str) -> bool {
        self.0.get(element).is_some_and(|entry| entry.own)
    }
}

/// Whether the path that ends above this part of a `fieldsV1` tree is in the set.
fn is_own(below: &Tree) -> bool {
    below.as_object().is_none_or(|below| below.is_empty() || below.contains_key("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn set(tree: Tree) -> Set {
        Set::from_tree(&tree).expect("a set")
    }

    #[test]
    fn sets_are_what_stands_on_the_wire() {
        let check = |tree: Tree| assert_eq!(set(tree.clone()).to_tree(), tree);
        check(json!({}));
        check(json!({"f:data": {".": {}, "f:a": {}}}));
        check(json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}));
        check(json!({"f:metadata": {"f:finalizers": {"v:\"example.com/f\"": {}, "i:3": {}}}}));
        assert_eq!(
            set(json!({"k:{ \"b\": 1, \"a\": \"x\" }": {}})).to_tree(),
            json!({"k:{\"a\":\"x\",\"b\":1}": {}})
        );
        for wrong in ["data", "x:y", "v:{", "k:[]", "i:x"] {
            assert_eq!(Set::from_tree(&json!({ wrong: {} })), Err(FieldsError(wrong.to_owned())));
        }
    }

    #[test]
    fn paths_print_as_in_conflicts() {
        let check = |tree: Tree, expected: &[&str]| {
            let described: Vec<String> = set(tree).paths().iter().map(|path| Set::describe(path)).collect();
            assert_eq!(described, expected);
        };
        check(json!({"f:data": {"f:a": {}, "f:b": {}}}), &[".data.a", ".data.b"]);
        check(
            json!({"f:spec": {"k:{\"name\":\"a\",\"port\":80}": {".": {}, "f:image": {}}}}),
            &[".spec[name=\"a\",port=80]", ".spec[name=\"a\",port=80].image"],
        );
        check(json!({"f:finalizers": {"v:\"x\"": {}}}), &[".finalizers[=\"x\"]"]);
    }

    #[test]
    fn differences_take_paths_or_everything_below() {
        let have = set(json!({"f:status": {".": {}, "f:a": {}, "f:b": {}}, "f:spec": {}}));
        let without = set(json!({"f:status": {}}));
        assert_eq!(
            have.difference(&without).to_tree(),
            json!({"f:status": {"f:a": {}, "f:b": {}}, "f:spec": {}})
        );
        assert_eq!(have.recursive_difference(&without).to_tree(), json!({"f:spec": {}}));
        assert_eq!(have.leaves().to_tree(), json!({"f:status": {"f:a": {}, "f:b": {}}, "f:spec": {}}));
    }

    fn any_set() -> impl Strategy<Value = Set> {
        let path = prop::collection::vec(
            prop_oneof![Just("f:a"), Just("f:b"), Just("k:{\"n\":1}"), Just("v:\"x\"")],
            1..4,
        );
        prop::collection::vec(path, 0..6).prop_map(|paths| {
            let mut set = Set::default();
            for path in paths {
                let path: Vec<Box<str>> = path.into_iter().map(Into::into).collect();
                set.insert(&path);
            }
            set
        })
    }

    proptest! {
        /// Sets over a trie obey what sets over paths obey.
        #[test]
        fn operations_agree_with_sets_of_paths(a in any_set(), b in any_set()) {
            let paths = |set: &Set| set.paths().into_iter().collect::<std::collections::BTreeSet<_>>();
            let (pa, pb) = (paths(&a), paths(&b));
            prop_assert_eq!(paths(&a.union(&b)), pa.union(&pb).cloned().collect());
            prop_assert_eq!(paths(&a.intersection(&b)), pa.intersection(&pb).cloned().collect());
            prop_assert_eq!(paths(&a.difference(&b)), pa.difference(&pb).cloned().collect());
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert_eq!(a.meets(&b.to_tree()), !a.intersection(&b).is_empty());
            let changed = |change: fn(&mut Set, &Set)| {
                let mut set = a.clone();
                change(&mut set, &b);
                set
            };
            prop_assert_eq!(changed(Set::subtract), a.difference(&b));
            prop_assert_eq!(changed(Set::subtract_recursively), a.recursive_difference(&b));
            prop_assert_eq!(Set::from_tree(&a.to_tree()), Ok(a.clone()));
            prop_assert!(a.iter_contains(&pa));
        }
    }

    impl Set {
        fn iter_contains(&self, paths: &std::collections::BTreeSet<Vec<Box<str>>>) -> bool {
            paths.iter().all(|path| self.contains(path))
        }
    }
}
