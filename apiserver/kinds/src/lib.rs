//! Strategies of the built-in kinds: what is particular to a kind, and nothing else.
//!
//! A [`Strategy`] decides names, defaulting that depends on other fields, what a writer may set or change, validation with
//! upstream's texts, Table columns, selectable fields and how a kind is deleted. It never sees time, randomness, the store
//! or HTTP: the clock is an argument, and allocation of addresses and ports is left to the caller.
//! [`write`] is the order in which the parts of a strategy run around a create or an update.

pub mod columns;
pub(crate) mod conditions;
pub mod deletion;
mod domain_path;
pub mod field;
pub mod meta;
pub mod names;
pub mod network;
pub(crate) mod quantity;
pub mod resource;
pub mod selector;
pub mod tree;
pub mod write;

pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod pod_security;
pub mod policy;
pub mod quota;
pub mod rbac;
pub mod resource_claims;
pub mod scheduling;
pub mod storage;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use columns::Column;
pub use resource::{Resource, Subresource};

/// An object, from decode to encode.
pub type Tree = serde_json::Value;

/// What is particular to one kind.
///
/// Every method is pure. The defaults are those of a plain object with metadata and nothing else, so a strategy only says
/// where it differs.
pub trait Strategy: Send + Sync {
    /// The resource as discovery names it.
    fn resource(&self) -> &'static Resource;

    /// Kind and group by which an Invalid answer calls the object.
    fn error_kind(&self) -> (&'static str, &'static str) {
        let resource = self.resource();
        (&resource.kind, &resource.group)
    }

    /// Defaults that depend on other fields; runs after the static defaults of the schema, on writes and on reads.
    fn default(&self, _obj: &mut Tree) {}

    /// What reading the object back from the store adds, where a default depends on what preparing has set.
    fn settle(&self, _obj: &mut Tree) {}

    /// Drops or sets what a creator may not decide (status, generation) before validation.
    fn prepare_create(&self, _obj: &mut Tree) {}

    /// Carries over from `old` what this kind of update may not change.
    fn prepare_update(&self, _sub: Subresource, _new: &mut Tree, _old: &Tree) {}

    /// Sets the times that the server gives and not the writer, after either preparation; `old` is absent on create.
    fn stamp(&self, _sub: Subresource, _new: &mut Tree, _old: Option<&Tree>, _now: &str) {}

    /// Why a create is refused as a bad request, before anything else is looked at.
    fn bad_request(&self, _obj: &Tree) -> Option<String> {
        None
    }

    /// Everything wrong with a new object, metadata included.
    fn validate(&self, obj: &Tree) -> Vec<field::Error>;

    /// Everything wrong with replacing `old` by `new`, metadata included.
    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<field::Error>;

    /// Warnings for the writer; `old` is absent on create.
    fn warnings(&self, _new: &Tree, _old: Option<&Tree>) -> Vec<String> {
        Vec::new()
    }

    /// Whether a writer of the status is warned like one of the whole object.
    fn status_warns(&self) -> bool {
        false
    }

    /// Warnings for everyone who reads or writes the kind, such as its deprecation.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Columns of the kind's Table.
    fn columns(&self) -> &'static [Column] {
        columns::PLAIN
    }

    /// The cells of one Table row, in the order of [`Strategy::columns`]. The object is in its stored shape.
    fn row(&self, obj: &Tree, _now: jiff::Timestamp) -> Vec<Tree> {
        columns::plain_row(obj)
    }

    /// Conditions of one Table row, such as `Completed` of a finished pod.
    fn row_conditions(&self, _obj: &Tree) -> Vec<Tree> {
        Vec::new()
    }

    /// Fields a field selector may name, beyond `metadata.name` and `metadata.namespace`.
    fn selectable(&self) -> &'static [&'static str] {
        &[]
    }

    /// The name under which a field that a selector names is indexed, or `None` when selectors may not name it.
    fn stored_field<'a>(&self, field: &'a str) -> Option<&'a str> {
        let is_known = field == "metadata.name"
            || (field == "metadata.namespace" && self.resource().namespaced)
            || self.selectable().contains(&field);
        is_known.then_some(field)
    }

    /// The values of the selectable fields of a stored object (without the metadata fields), by their stored names.
    fn attributes(&self, _obj: &Tree) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether an update without a resourceVersion overwrites whatever is stored.
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    /// Whether a PUT of a missing object creates it.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether an immediate DELETE answers with the object instead of a Status.
    fn returns_deleted_object(&self) -> bool {
        false
    }

    /// The grace in seconds with which the object is deleted, or `None` when the kind knows no graceful deletion.
    fn graceful_period(&self, _obj: &Tree, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether the garbage collector's finalizers (`orphan`, `foregroundDeletion`) work on this kind.
    fn garbage_collected(&self) -> bool {
        true
    }

    /// Whether a deletion that says nothing about dependents leaves them, as the oldest kinds do.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// The warning for whoever deletes without saying what becomes of dependents.
    fn orphaning_warning(&self) -> Option<&'static str> {
        None
    }

    /// The shape that is stored, for kinds that two groups share. The identity otherwise.
    fn to_stored(&self, obj: Tree) -> Tree {
        obj
    }

    /// Whether metadata too differs between the stored shape and this one.
    fn converts_metadata(&self) -> bool {
        false
    }

    /// The inverse of [`Strategy::to_stored`].
    #[allow(clippy::wrong_self_convention)] // The strategy is not what is converted.
    fn from_stored(&self, stored: Tree) -> Tree {
        stored
    }
}

/// The strategy of a resource, by its plural name without subresource.
pub fn strategy(group: &str, version: &str, plural: &str) -> Option<&'static dyn Strategy> {
    let key = (group.to_owned(), version.to_owned(), plural.to_owned());
    REGISTRY.by_resource.get(&key).map(|&index| REGISTRY.strategies[index])
}

/// Every strategy, in the order of the resource table.
pub fn all() -> &'static [&'static dyn Strategy] {
    &REGISTRY.strategies
}

/// The strategies with an index by (group, version, plural).
struct Registry {
    strategies: Vec<&'static dyn Strategy>,
    by_resource: HashMap<(String, String, String), usize>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut strategies = Vec::new();
    strategies.extend(core::strategies());
    strategies.extend(apps::strategies());
    strategies.extend(authentication::strategies());
    strategies.extend(authorization::strategies());
    strategies.extend(autoscaling::strategies());
    strategies.extend(batch::strategies());
    strategies.extend(certificates::strategies());
    strategies.extend(coordination::strategies());
    strategies.extend(discovery::strategies());
    strategies.extend(events::strategies());
    strategies.extend(node::strategies());
    strategies.extend(policy::strategies());
    strategies.extend(rbac::strategies());
    strategies.extend(scheduling::strategies());
    strategies.extend(storage::strategies());
    strategies.extend(flowcontrol::strategies());
    strategies.extend(networking::strategies());
    strategies.extend(resource_claims::strategies());
    strategies.sort_by_key(|strategy| strategy.resource().position);

    let by_resource = strategies
        .iter()
        .enumerate()
        .map(|(index, strategy)| {
            let resource = strategy.resource();
            ((resource.group.clone(), resource.version.clone(), resource.plural.clone()), index)
        })
        .collect::<HashMap<_, _>>();
    assert_eq!(by_resource.len(), strategies.len(), "two strategies claim one resource");
    Registry { strategies, by_resource }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_found_by_its_resource() {
        for strategy in all() {
            let resource = strategy.resource();
            let found =
                super::strategy(&resource.group, &resource.version, &resource.plural).expect("registered");
            assert_eq!(found.resource().kind, resource.kind);
        }
        assert!(strategy("", "v1", "unicorns").is_none());
    }
}
