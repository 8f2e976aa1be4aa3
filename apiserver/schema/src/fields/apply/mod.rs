//! Server-side apply: a configuration states the fields that a manager cares for, and nothing else.
//!
//! Decides what the object becomes, who owns what then, and which fields conflict. It never defaults, validates or asks for
//! the time.
//!
//! ```text
//! object {a: 1, b: 2}   m owns a b
//! m applies {a: 3}      ->  {a: 3}         m owns a; b was m's alone and goes
//! n applies {a: 4}      ->  conflict: m owns .a
//! n applies {a: 3}      ->  {a: 3}         m and n share a
//! ```

mod check;
mod conflict;
mod kubectl;
mod merge;
mod prune;
pub mod scale;

use super::compare::compare;
use super::managers::{
    Manager, Operation, decode_managers, encode_managers, never_owned, put_managers, take_managers,
};
use super::of;
use super::set::Set;
use crate::node::Schema;
use crate::{Object, Tree, decode};
use conflict::conflicts;
pub use conflict::{Conflict, message};

/// The manager that owns what an object without managers had before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Turns an object of one `group/version` into another: `convert(object, from, to)`. `None` when that version is not served.
pub type Convert<'a> = &'a dyn Fn(&Tree, &str, &str) -> Option<(&'static Schema, Tree)>;

/// An apply request.
#[derive(Clone, Copy)]
pub struct Apply<'a> {
    /// Who applies.
    pub manager: &'a str,
    /// Take fields from other managers instead of a conflict.
    pub force: bool,
    /// Group of the kind.
    pub group: &'a str,
    /// Version of the kind.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Subresource applied to, or empty.
    pub subresource: &'a str,
    /// Now, RFC 3339 in whole seconds.
    pub time: &'a str,
    /// Fields the resource resets in this kind of write: nobody owns them through it.
    pub reset: &'a Set,
    /// Other versions of the object.
    pub convert: Convert<'a>,
}

/// What an apply comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object, conformed, with its managers.
    pub object: Tree,
    /// Whether more than ownership changed: then the object still wants its defaults.
    pub changed: bool,
}

/// Why an apply is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration is none for this endpoint.
    #[error("{0}")]
    Unfit(String),
    /// The configuration is not of its kind's form, or the outcome is no object of the kind.
    #[error("{0}")]
    Malformed(String),
    /// Other managers own fields with other values.
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
}

/// Applies a configuration to the live object, or to an empty one (`decode::zero`) when there is none.
pub fn apply(schema: &Schema, live: &Tree, config: &Tree, apply: &Apply<'_>) -> Result<Applied, ApplyError> {
    check_kind(config, apply)?;
    let config = normal(config);
    let mut bare = live.clone();
    let managers = match take_managers(&mut bare) {
        None | Some(Tree::Null) => Vec::new(),
        Some(managers) => decode_managers(&managers)
            .map_err(|why| ApplyError::Malformed(format!("failed to decode managed fields: {why}")))?,
    };
    let attempt = Attempt { schema, live: &bare, config: &config, apply };
    let managers = if managers.is_empty() { attempt.before_first() } else { managers };
    let outcome = match attempt.run(&managers, apply.force) {
        Err(ApplyError::Conflicts(conflicts)) if apply.manager == kubectl::MANAGER => {
            kubectl::left_over(schema, &bare, &attempt.api_version(), conflicts)?;
            attempt.run(&managers, true)
        }
        outcome => outcome,
    };
    let (merged, managers) = outcome?;
    let called = attempt.called();
    let changed = merged.is_some();
    let mut object = merged.unwrap_or(bare);
    if changed {
        decode::conform(schema, &mut object).map_err(|why| {
            ApplyError::Malformed(format!("failed to convert new typed object ({called}) to object: {why}"))
        })?;
    }
    if apply.manager == kubectl::MANAGER {
        kubectl::follow(&mut object, &config);
    }
    let encoded = encode_managers(managers);
    if !encoded.is_null() {
        put_managers(&mut object, encoded);
    }
    Ok(Applied { object, changed })
}

/// The configuration must name exactly the kind, and no managers.
fn check_kind(config: &Tree, apply: &Apply<'_>) -> Result<(), ApplyError> {
    let text = |name: &str| config.get(name).and_then(Tree::as_str).unwrap_or_default();
    let (api_version, mut kind) = (text("apiVersion"), text("kind"));
    let (group, version) = match api_version.split_once('/') {
        None => ("", api_version),
        Some((_, version)) if version.contains('/') => {
            kind = "";
            ("", "")
        }
        Some(parts) => parts,
    };
    if (group, version, kind) == (apply.group, apply.version, apply.kind) {
        return Ok(());
    }
    Err(ApplyError::Unfit(format!("invalid object type: {group}/{version}, Kind={kind}")))
}

/// A configuration as the typed value that it is: `2.0` is the number 2.
fn normal(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(object) => {
            Tree::Object(object.iter().map(|(key, value)| (key.clone(), normal(value))).collect())
        }
        Tree::Array(items) => Tree::Array(items.iter().map(normal).collect()),
        Tree::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole and small enough for an i64")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                Tree::from(float as i64)
            }
            _ => tree.clone(),
        },
        other => other.clone(),
    }
}

struct Attempt<'a> {
    schema: &'a Schema,
    live: &'a Tree,
    config: &'a Tree,
    apply: &'a Apply<'a>,
}

impl Attempt<'_> {
    /// The object when more than ownership changes, and the managers then.
    fn run(&self, managers: &[Manager], force: bool) -> Result<(Option<Tree>, Vec<Manager>), ApplyError> {
        let given = self.config.pointer("/metadata/managedFields");
        if given.is_some_and(Tree::is_array) {
            return Err(ApplyError::Unfit("metadata.managedFields must be nil".to_owned()));
        }
        check::check(self.schema, self.config).map_err(|why| {
            ApplyError::Malformed(format!("failed to create typed patch object ({}): {why}", self.called()))
        })?;
        let mut managers: Vec<Manager> =
            managers.iter().filter_map(|manager| self.reconciled(manager)).collect();
        let last = managers.iter().position(|manager| manager.is_same(&self.applier(Set::default())));
        let last = last.map(|at| managers.remove(at));
        let mut applier = self.applier(of(self.schema, self.config).recursive_difference(self.apply.reset));
        let mut merged = merge::merge(self.schema, self.live, self.config);
        managers.push(applier.clone());
        if let Some(last) = &last {
            let version = self.api_version();
            merged = prune::prune(self.schema, merged, &version, last, &managers, self.apply.convert);
        }
        managers.pop();
        self.settle(&mut managers, &merged, force)?;
        applier.fields = applier.fields.difference(never_owned());
        let changed = merged != *self.live;
        applier.time =
            if changed { Some(self.apply.time.to_owned()) } else { last.and_then(|last| last.time) };
        if !applier.fields.is_empty() {
            managers.push(applier);
        }
        Ok((changed.then_some(merged), managers))
    }

    /// Takes what changes from the other managers, or refuses. What is gone is nobody's in any case.
    fn settle(&self, managers: &mut Vec<Manager>, merged: &Tree, force: bool) -> Result<(), ApplyError> {
        let mut comparisons: Vec<(String, super::Comparison)> = Vec::new();
        let mut contested: Vec<(Manager, Set)> = Vec::new();
        let mut kept: Vec<Manager> = Vec::with_capacity(managers.len());
        for mut manager in std::mem::take(managers) {
            let at = match comparisons.iter().position(|(version, _)| *version == manager.api_version) {
                Some(at) => at,
                None => {
                    // A version that is no longer served owns nothing.
                    let Some((schema, live)) = self.in_version(self.live, &manager.api_version) else {
                        continue;
                    };
                    let Some((_, new)) = self.in_version(merged, &manager.api_version) else { continue };
                    let changes = compare(schema, &live, &new).without(self.apply.reset);
                    comparisons.push((manager.api_version.clone(), changes));
                    comparisons.len() - 1
                }
            };
            let changes = &comparisons[at].1;
            let conflict = manager.fields.intersection(&changes.modified.union(&changes.added));
            manager.fields = manager.fields.difference(&conflict).difference(&changes.removed);
            if !conflict.is_empty() {
                contested.push((manager.clone(), conflict));
            }
            if !manager.fields.is_empty() {
                kept.push(manager);
            }
        }
        if !force && !contested.is_empty() {
            return Err(ApplyError::Conflicts(conflicts(contested)));
        }
        *managers = kept;
        Ok(())
    }

    /// A manager whose paths go no further than today's atoms; `None` when its version is not served.
    fn reconciled(&self, manager: &Manager) -> Option<Manager> {
        let fields = if manager.api_version == self.api_version() {
            manager.fields.reconciled(self.schema)
        } else {
            let (schema, _) = self.in_version(self.live, &manager.api_version)?;
            manager.fields.reconciled(schema)
        };
        Some(Manager { fields, ..manager.clone() })
    }

    /// The owner of all there is in an object that nobody has managed yet.
    fn before_first(&self) -> Vec<Manager> {
        let changes = compare(self.schema, &decode::zero(self.schema), self.live).without(self.apply.reset);
        let fields = changes.modified.union(&changes.added).difference(never_owned());
        if fields.is_empty() {
            return Vec::new();
        }
        vec![Manager {
            name: BEFORE_FIRST_APPLY.to_owned(),
            operation: Operation::Update,
            api_version: self.api_version(),
            subresource: self.apply.subresource.to_owned(),
            time: Some(self.apply.time.to_owned()),
            fields,
        }]
    }

    fn applier(&self, fields: Set) -> Manager {
        Manager {
            name: self.apply.manager.to_owned(),
            operation: Operation::Apply,
            api_version: self.api_version(),
            subresource: self.apply.subresource.to_owned(),
            time: None,
            fields,
        }
    }

    fn in_version(&self, object: &Tree, version: &str) -> Option<(&Schema, Tree)> {
        if version == self.api_version() {
            return Some((self.schema, object.clone()));
        }
        (self.apply.convert)(object, &self.api_version(), version)
    }

    fn api_version(&self) -> String {
        let Apply { group, version, .. } = self.apply;
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// How errors call the configuration: `ns/name; apps/v1, Kind=Deployment`.
    fn called(&self) -> String {
        let text = |name: &str| {
            let metadata = self.config.get("metadata").and_then(Tree::as_object);
            metadata
                .and_then(|metadata: &Object| metadata.get(name))
                .and_then(Tree::as_str)
                .unwrap_or_default()
        };
        let Apply { group, version, kind, .. } = self.apply;
        format!("{}/{}; {group}/{version}, Kind={kind}", text("namespace"), text("name"))
    }
}

#[cfg(test)]
mod tests;
