//! What an applier gives up: fields it applied last time, does not apply now, and nobody else claims.

use std::collections::BTreeMap;

use super::super::managers::Manager;
use super::super::set::Set;
use super::super::shape::{self, Form};
use super::super::{element, of};
use super::Convert;
use crate::node::Schema;
use crate::{Object, Tree};

/// Takes out of `merged` what the applier's last set had and no manager's set has. `managers` includes the applier with its
/// new set, whose version is `version`.
pub(super) fn prune(
    schema: &Schema,
    merged: Tree,
    version: &str,
    last: &Manager,
    managers: &[Manager],
    convert: Convert<'_>,
) -> Tree {
    if last.fields.is_empty() {
        return merged;
    }
    let mut steps = Steps { schema, version, convert };
    let Some((last_schema, base)) = steps.in_version(&merged, version, &last.api_version) else {
        return merged;
    };
    let pruned = without(last_schema, &base, &last.fields.with_structs(last_schema), None);
    let (pruned, at) = steps.add_back_owned(&base, pruned, &last.api_version, managers);
    let Some((_, pruned)) = steps.in_version(&pruned, &at, &last.api_version) else {
        return merged;
    };
    let pruned = add_back_foreign(last_schema, &base, &pruned, &last.fields);
    match steps.in_version(&pruned, &last.api_version, version) {
        Some((_, pruned)) => pruned,
        None => merged,
    }
}

struct Steps<'a> {
    schema: &'a Schema,
    version: &'a str,
    convert: Convert<'a>,
}

impl<'a> Steps<'a> {
    /// An object of one version in another.
    fn in_version(&self, object: &Tree, from: &str, to: &str) -> Option<(&'a Schema, Tree)> {
        if from == to && to == self.version {
            return Some((self.schema, object.clone()));
        }
        if to == self.version {
            return (self.convert)(object, from, to).map(|(_, tree)| (self.schema, tree));
        }
        (self.convert)(object, from, to)
    }

    /// Puts back what some manager owns, version by version, the pruned one first. Also says which version the result is in.
    fn add_back_owned(
        &mut self,
        merged: &Tree,
        pruned: Tree,
        version: &str,
        managers: &[Manager],
    ) -> (Tree, String) {
        let mut owned: BTreeMap<&str, Set> = BTreeMap::new();
        for manager in managers {
            let set = owned.entry(&manager.api_version).or_default();
            *set = set.union(&manager.fields);
        }
        let first = owned.remove_entry(version);
        let (mut merged, mut pruned, mut at) = (merged.clone(), pruned, version.to_owned());
        for (version, set) in first.into_iter().chain(owned) {
            let (Some((schema, whole)), Some((_, cut))) =
                (self.in_version(&merged, &at, version), self.in_version(&pruned, &at, version))
            else {
                continue;
            };
            let all = of(schema, &whole).with_structs(schema);
            let stay = of(schema, &cut).with_structs(schema).union(&set.with_structs(schema));
            pruned = without(schema, &whole, &all.difference(&stay), None);
            (merged, at) = (whole, version.to_owned());
        }
        (pruned, at)
    }
}

/// Puts back what went with something pruned but was never the applier's.
fn add_back_foreign(schema: &Schema, merged: &Tree, pruned: &Tree, last: &Set) -> Tree {
    let gone = of(schema, merged).with_structs(schema).difference(&of(schema, pruned).with_structs(schema));
    without(schema, merged, &gone.intersection(&last.with_structs(schema)), None)
}

/// A value without the paths of a set. `null` when nothing is left of it; a container that only lost what was inside its
/// parts stays, empty.
fn without(schema: &Schema, tree: &Tree, paths: &Set, atomic: Option<bool>) -> Tree {
    match (shape::form(schema, tree, atomic), tree) {
        (Form::Map, Tree::Object(object)) => {
            let mut kept = Object::new();
            let mut touched = false;
            for (key, value) in object {
                let (child, atomic) = shape::member(schema, key);
                let step = Step { child, atomic, element: Some(element::field(key)) };
                if let Some(left) = step.left(value, paths, &mut touched) {
                    kept.insert(key.clone(), left);
                }
            }
            if kept.is_empty() && !touched { Tree::Null } else { Tree::Object(kept) }
        }
        (Form::List(list), Tree::Array(items)) => {
            let mut touched = false;
            let kept: Vec<Tree> = items
                .iter()
                .filter_map(|item| {
                    let step = Step { child: &list.item, atomic: None, element: element::item(list, item) };
                    step.left(item, paths, &mut touched)
                })
                .collect();
            if kept.is_empty() && !touched { Tree::Null } else { Tree::Array(kept) }
        }
        (_, Tree::Object(_) | Tree::Array(_)) => Tree::Null,
        (_, scalar) => scalar.clone(),
    }
}

/// One member of a map or item of a list.
struct Step<'a> {
    child: &'a Schema,
    atomic: Option<bool>,
    element: Option<Box<str>>,
}

impl Step<'_> {
    /// What is left of the member; `None` when it goes itself.
    fn left(&self, value: &Tree, paths: &Set, touched: &mut bool) -> Option<Tree> {
        let Some(element) = &self.element else { return Some(value.clone()) };
        if paths.owns(element) {
            return None;
        }
        let Some(below) = paths.below(element).filter(|below| !below.is_empty()) else {
            return Some(value.clone());
        };
        *touched = true;
        let left = without(self.child, value, below, self.atomic);
        Some(match (left, value) {
            (Tree::Null, Tree::Object(_)) => Tree::Object(Object::new()),
            (Tree::Null, Tree::Array(_)) => Tree::Array(Vec::new()),
            (left, _) => left,
        })
    }
}
