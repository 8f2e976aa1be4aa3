//! Whether a transaction may be applied to a state. Reads the state, changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::History;
use crate::types::{
    Entry, Interest, Key, Operation, Precondition, REFUSED_BY_FENCE, Revision, Term, Transaction,
};
use crate::view::View;

/// The first condition that does not hold, in the form of [`crate::Outcome::Refused`].
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) precondition: usize,
    pub(crate) current: Option<Arc<Entry>>,
}

/// Checks the fence, then the preconditions in order, then that every deletion finds its object.
pub(crate) fn check(
    view: &View,
    history: &History,
    transaction: &Transaction,
    term: Term,
) -> Result<(), Refusal> {
    if transaction.fence.is_some_and(|fence| fence != term) {
        return Err(Refusal { precondition: REFUSED_BY_FENCE, current: None });
    }
    for (index, precondition) in transaction.preconditions.iter().enumerate() {
        if !holds(view, history, precondition) {
            let current = subject(precondition).and_then(|key| view.get(key));
            return Err(Refusal { precondition: index, current });
        }
    }
    match absent_deletion(view, &transaction.operations) {
        Some(index) => Err(Refusal { precondition: transaction.preconditions.len() + index, current: None }),
        None => Ok(()),
    }
}

fn holds(view: &View, history: &History, precondition: &Precondition) -> bool {
    match precondition {
        Precondition::Absent(key) => view.entry(key).is_none(),
        Precondition::Exists(key) => view.entry(key).is_some(),
        Precondition::AtRevision(key, revision) => {
            view.entry(key).is_some_and(|entry| entry.revision == *revision)
        }
        Precondition::Uid(key, uid) => view.entry(key).is_some_and(|entry| entry.object.uid == *uid),
        Precondition::Attribute { key, name, value } => {
            view.entry(key).is_some_and(|entry| entry.object.attribute(name) == Some(value))
        }
        Precondition::NamespaceEmpty { namespace } => view.resources_in(namespace).next().is_none(),
        Precondition::RangeEmpty { resource, namespace } => view.count(resource, namespace.as_deref()) == 0,
        Precondition::Unchanged { range, since } => unchanged(history, range, *since),
    }
}

/// The object whose state explains a refusal.
fn subject(precondition: &Precondition) -> Option<&Key> {
    match precondition {
        Precondition::Absent(key)
        | Precondition::Exists(key)
        | Precondition::AtRevision(key, _)
        | Precondition::Uid(key, _)
        | Precondition::Attribute { key, .. }
        | Precondition::Unchanged { range: Interest::Object(key), .. } => Some(key),
        Precondition::NamespaceEmpty { .. }
        | Precondition::RangeEmpty { .. }
        | Precondition::Unchanged { .. } => None,
    }
}

/// Looks back from the newest change. Writers read recently, so the look is short; history bounds it.
fn unchanged(history: &History, range: &Interest, since: Revision) -> bool {
    match history.after(since) {
        Ok(changes) => !changes.rev().any(|change| range.concerns(change)),
        // What history no longer tells may have changed.
        Err(_) => false,
    }
}

/// The first operation that deletes an object which is not there at that point of the transaction.
fn absent_deletion(view: &View, operations: &[Operation]) -> Option<usize> {
    let mut written: BTreeMap<&Key, bool> = BTreeMap::new();
    operations.iter().position(|operation| {
        let key = operation.key();
        let deletes = matches!(operation, Operation::Delete(_));
        let present = written.get(key).copied().unwrap_or_else(|| deletes && view.entry(key).is_some());
        written.insert(key, !deletes);
        deletes && !present
    })
}
