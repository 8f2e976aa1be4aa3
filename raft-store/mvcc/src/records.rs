//! A state as a sequence of records, and back: what a snapshot holds.
//!
//! Objects come first, then history. A version that history shares with the state or with an earlier
//! change is named by its revision and not repeated, so that both share it again after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::store as wire;

use crate::hash::StateHash;
use crate::state::State;
use crate::types::{Change, ChangeKind, Entry, Key, Revision};
use crate::wire::{Malformed, entry, read_entry};

/// The objects of a state, in key order.
pub fn entries(state: &State) -> impl Iterator<Item = wire::Entry> {
    state.view().entries().map(|stored| entry(stored))
}

/// The history of a state, oldest first.
pub fn changes(state: &State) -> impl Iterator<Item = wire::Change> {
    let mut known: BTreeSet<Revision> = state.view().entries().map(|entry| entry.revision).collect();
    let mut once = move |stored: &Arc<Entry>| known.insert(stored.revision).then(|| entry(stored));
    state.history().iter().map(move |change| wire::Change {
        revision: change.revision.0,
        visible: change.visible.0,
        kind: kind(change.kind).into(),
        entry_revision: change.entry.revision.0,
        previous_revision: change.previous.as_ref().map_or(0, |previous| previous.revision.0),
        previous: change.previous.as_ref().and_then(&mut once),
        entry: once(&change.entry),
    })
}

/// Adds up the state hash of objects one by one, keeping none of them.
#[derive(Debug, Default)]
pub struct Tally(StateHash);

impl Tally {
    /// Takes an object.
    pub fn add(&mut self, message: wire::Entry) -> Result<(), Malformed> {
        self.0.add(read_entry(message)?.digest());
        Ok(())
    }

    /// The hash of a state with exactly these objects.
    pub fn hash(&self) -> StateHash {
        self.0
    }
}

/// Takes the records of a state, in the order they were written.
#[derive(Debug, Default)]
pub struct Restorer {
    entries: Vec<Arc<Entry>>,
    changes: Vec<Arc<Change>>,
    known: BTreeMap<Revision, Arc<Entry>>,
}

impl Restorer {
    /// Takes an object.
    pub fn entry(&mut self, message: wire::Entry) -> Result<(), Malformed> {
        let entry = self.learn(message)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Takes a change, which must follow the one before.
    pub fn change(&mut self, message: wire::Change) -> Result<(), Malformed> {
        let revision = Revision(message.revision);
        if self.changes.last().is_some_and(|last| last.revision.next() != revision) {
            return Err(Malformed { what: "history with a gap" });
        }
        let kind = read_kind(message.kind())?;
        if let Some(previous) = message.previous {
            self.learn(previous)?;
        }
        if let Some(entry) = message.entry {
            self.learn(entry)?;
        }
        let previous = match message.previous_revision {
            0 => None,
            revision => Some(self.version(revision)?),
        };
        let entry = self.version(message.entry_revision)?;
        let visible = Revision(message.visible);
        let fits = match (kind, &previous) {
            (ChangeKind::Created, None) => entry.revision == revision,
            (ChangeKind::Updated, Some(_)) => entry.revision == revision,
            (ChangeKind::Deleted, Some(previous)) => entry.revision == previous.revision,
            _ => false,
        };
        let came_before = previous.as_ref().is_none_or(|previous| previous.revision < revision);
        if !fits || !came_before || visible < revision {
            return Err(Malformed { what: "a change that contradicts itself" });
        }
        self.changes.push(Arc::new(Change { revision, visible, kind, entry, previous }));
        Ok(())
    }

    /// The state, if the records belong together.
    pub fn finish(self, revision: Revision, compacted: Revision) -> Result<State, Malformed> {
        let first = self.changes.first().map_or(revision.next(), |change| change.revision);
        let last = self.changes.last().map_or(compacted, |change| change.revision);
        if first != compacted.next() || last != revision {
            return Err(Malformed { what: "history that does not end at the state" });
        }
        let ahead = |visible: Revision| visible > revision;
        if self.entries.iter().any(|entry| ahead(entry.revision))
            || self.changes.iter().any(|change| ahead(change.visible))
        {
            return Err(Malformed { what: "a version ahead of the state" });
        }
        if !self.leads_to_the_state(compacted) {
            return Err(Malformed { what: "history that does not lead to the state" });
        }
        Ok(State::restored(revision, compacted, self.entries, self.changes))
    }

    /// Undoes the history in mind, newest first: each change must have left what the next one found, the last ones what
    /// the state holds, and the first ones must have found nothing that came later. A view of the past would otherwise
    /// fail when somebody asks for it, long after.
    fn leads_to_the_state(&self, compacted: Revision) -> bool {
        let mut now: BTreeMap<&Key, Revision> =
            self.entries.iter().map(|entry| (&entry.object.key, entry.revision)).collect();
        let is_once_each = now.len() == self.entries.len();
        let is_undone = is_once_each
            && self.changes.iter().rev().all(|change| {
                let key = &change.entry.object.key;
                let left = (change.kind != ChangeKind::Deleted).then_some(change.entry.revision);
                let found = change.previous.as_ref();
                let is_same =
                    now.get(key).copied() == left && found.is_none_or(|previous| previous.object.key == *key);
                match found {
                    Some(previous) => now.insert(key, previous.revision),
                    None => now.remove(key),
                };
                is_same
            });
        is_undone && now.values().all(|revision| *revision <= compacted)
    }

    fn learn(&mut self, message: wire::Entry) -> Result<Arc<Entry>, Malformed> {
        let entry = Arc::new(read_entry(message)?);
        self.known.insert(entry.revision, entry.clone());
        Ok(entry)
    }

    fn version(&self, revision: u64) -> Result<Arc<Entry>, Malformed> {
        self.known.get(&Revision(revision)).cloned().ok_or(Malformed { what: "a version that is not there" })
    }
}

fn kind(kind: ChangeKind) -> wire::ChangeKind {
    match kind {
        ChangeKind::Created => wire::ChangeKind::Created,
        ChangeKind::Updated => wire::ChangeKind::Updated,
        ChangeKind::Deleted => wire::ChangeKind::Deleted,
    }
}

fn read_kind(kind: wire::ChangeKind) -> Result<ChangeKind, Malformed> {
    match kind {
        wire::ChangeKind::Created => Ok(ChangeKind::Created),
        wire::ChangeKind::Updated => Ok(ChangeKind::Updated),
        wire::ChangeKind::Deleted => Ok(ChangeKind::Deleted),
        wire::ChangeKind::Unspecified => Err(Malformed { what: "a change of an unknown kind" }),
    }
}
