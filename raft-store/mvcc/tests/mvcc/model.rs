//! A store as one would write it without thinking of speed: every version of the whole state is kept,
//! and every question is answered by looking at all of it. Shares no code with the store but its words.

use std::collections::BTreeMap;

use mvcc::{ChangeKind, Interest, Key, Object, Operation, Precondition, Term, Transaction};

/// An object, the revision that wrote it, the revision that created it.
pub type Version = (Object, u64, u64);

type Objects = BTreeMap<Key, Version>;

/// A change: revision, kind, content, content before.
pub type Event = (u64, ChangeKind, Version, Option<Version>);

#[derive(Default)]
pub struct Model {
    /// The state visible at each revision, from 0 on.
    states: Vec<Objects>,
    events: Vec<Event>,
    /// First and last revision of each transaction.
    transactions: Vec<(u64, u64)>,
    compacted: u64,
}

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Applied { first: u64, last: u64 },
    Refused { precondition: usize },
}

impl Model {
    pub fn new() -> Self {
        Self { states: vec![Objects::new()], ..Self::default() }
    }

    pub fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    pub fn now(&self) -> &Objects {
        &self.states[self.states.len() - 1]
    }

    /// The state at a revision, unless it is forgotten.
    pub fn at(&self, revision: u64) -> Option<&Objects> {
        let index = usize::try_from(revision.min(self.revision())).expect("an index");
        (revision >= self.compacted).then(|| &self.states[index])
    }

    /// The events after a revision, unless they are forgotten.
    pub fn after(&self, revision: u64, interest: &Interest) -> Option<Vec<&Event>> {
        let wanted = |event: &&Event| {
            let (at, _, (now, ..), before) = *event;
            *at > revision
                && (matches(interest, now)
                    || before.as_ref().is_some_and(|(before, ..)| matches(interest, before)))
        };
        (revision >= self.compacted).then(|| self.events.iter().filter(wanted).collect())
    }

    pub fn compact(&mut self, at: u64) {
        let at = at.min(self.revision());
        // Half a transaction is never visible: forget all of it.
        let mut until = at;
        while until > 0 && self.same(until, until + 1) {
            until += 1;
        }
        self.compacted = self.compacted.max(until);
    }

    /// Whether two revisions belong to one transaction: their readers see the same.
    fn same(&self, one: u64, other: u64) -> bool {
        self.transactions.iter().any(|(first, last)| *first <= one && other <= *last)
    }

    pub fn transact(&mut self, transaction: &Transaction, term: Term) -> Verdict {
        if transaction.fence.is_some_and(|fence| fence != term) {
            return Verdict::Refused { precondition: usize::MAX };
        }
        if let Some(precondition) = transaction.preconditions.iter().position(|it| !self.holds(it)) {
            return Verdict::Refused { precondition };
        }
        let first = self.revision() + 1;
        let mut objects = self.now().clone();
        let mut events = Vec::new();
        for (index, operation) in transaction.operations.iter().enumerate() {
            let revision = first + index as u64;
            let before = objects.get(operation.key()).cloned();
            match (operation, before) {
                (Operation::Put(object), before) => {
                    let created = before.as_ref().map_or(revision, |(_, _, created)| *created);
                    let kind = if before.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
                    let version = (object.clone(), revision, created);
                    objects.insert(object.key.clone(), version.clone());
                    events.push((revision, kind, version, before));
                }
                (Operation::Delete(key), Some(before)) => {
                    objects.remove(key);
                    events.push((revision, ChangeKind::Deleted, before.clone(), Some(before)));
                }
                (Operation::Delete(_), None) => {
                    return Verdict::Refused { precondition: transaction.preconditions.len() + index };
                }
            }
        }
        let last = self.revision() + transaction.operations.len() as u64;
        if !events.is_empty() {
            self.transactions.push((first, last));
        }
        self.states.extend(events.iter().map(|_| objects.clone()));
        self.events.extend(events);
        Verdict::Applied { first, last }
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        let now = self.now();
        match precondition {
            Precondition::Absent(key) => !now.contains_key(key),
            Precondition::Exists(key) => now.contains_key(key),
            Precondition::AtRevision(key, wanted) => now.get(key).is_some_and(|(_, at, _)| *at == wanted.0),
            Precondition::Uid(key, uid) => now.get(key).is_some_and(|(object, ..)| object.uid == *uid),
            Precondition::Attribute { key, name, value } => now
                .get(key)
                .is_some_and(|(object, ..)| object.attributes.iter().any(|(n, v)| n == name && v == value)),
            Precondition::NamespaceEmpty { namespace } => now.keys().all(|key| key.namespace != *namespace),
            Precondition::RangeEmpty { resource, namespace } => now.keys().all(|key| {
                key.resource != *resource || namespace.as_ref().is_some_and(|wanted| key.namespace != *wanted)
            }),
            Precondition::Unchanged { range, since } => {
                self.after(since.0, range).is_some_and(|events| events.is_empty())
            }
        }
    }
}

pub fn matches(interest: &Interest, object: &Object) -> bool {
    let key = &object.key;
    match interest {
        Interest::Resource(resource) => key.resource == *resource,
        Interest::Namespace { resource, namespace } => {
            (&key.resource, &key.namespace) == (resource, namespace)
        }
        Interest::Object(wanted) => key == wanted,
        Interest::Attribute { resource, name, value } => {
            key.resource == *resource && object.attributes.iter().any(|(n, v)| n == name && v == value)
        }
        Interest::Owner(uid) => object.owners.iter().any(|owner| owner == uid),
    }
}
