//! The ring of recent changes, oldest first, one for each revision after the compaction point.
//!
//! It decides which revisions can still be resumed from or read at. It never decides when to compact:
//! that is a replicated command, so that every member remembers the same.

use std::sync::Arc;

use imbl::Vector;

use crate::types::{Change, Revision};

/// The revision asked for is no longer known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("history begins after the revision asked for, oldest is {oldest}")]
pub struct Compacted {
    /// The oldest revision that can be read at or resumed from.
    pub oldest: Revision,
}

/// Recent changes. Cheap to clone; a clone never changes under its reader.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Changes at `compacted + 1` and on, without gaps.
    changes: Vector<Arc<Change>>,
    compacted: Revision,
    bytes: usize,
}

impl History {
    pub(crate) fn restored(compacted: Revision, changes: impl IntoIterator<Item = Arc<Change>>) -> Self {
        let mut history = Self { compacted, ..Self::default() };
        for change in changes {
            history.push(change);
        }
        history
    }

    /// The oldest revision that can be read at or resumed from.
    pub fn oldest(&self) -> Revision {
        self.compacted
    }

    /// The revision of the newest change, or the compaction point if there is none.
    pub fn newest(&self) -> Revision {
        Revision(self.compacted.0 + self.changes.len() as u64)
    }

    /// How many changes are remembered.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether no change is remembered.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes the remembered changes keep alive.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every remembered change, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Change>> {
        self.changes.iter()
    }

    /// The change of one revision.
    pub fn at(&self, revision: Revision) -> Option<&Arc<Change>> {
        let index = revision.0.checked_sub(self.compacted.0 + 1)?;
        self.changes.get(usize::try_from(index).ok()?)
    }

    /// The changes after a revision, oldest first. The revision may lie inside a transaction: nothing
    /// after it is lost.
    pub fn after(
        &self,
        revision: Revision,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Change>>, Compacted> {
        if revision < self.compacted {
            return Err(Compacted { oldest: self.compacted });
        }
        Ok(self.between(revision, self.newest()))
    }

    /// The changes in `after + 1 ..= until`, both of which must be remembered.
    pub(crate) fn between(
        &self,
        after: Revision,
        until: Revision,
    ) -> impl DoubleEndedIterator<Item = &Arc<Change>> {
        assert!(after >= self.compacted, "a change below the compaction point was asked for");
        let start = usize::try_from(after.0 - self.compacted.0).expect("an index into memory");
        let end = usize::try_from(until.0 - self.compacted.0).expect("an index into memory");
        let end = end.min(self.changes.len());
        (start..end).map(|index| &self.changes[index])
    }

    /// The revision a reader at `at` sees: the last of the transaction `at` lies in.
    pub fn visible(&self, at: Revision) -> Result<Revision, Compacted> {
        if at < self.compacted {
            return Err(Compacted { oldest: self.compacted });
        }
        Ok(self.at(at).map_or(at.min(self.newest()), |change| change.visible))
    }

    /// Where to compact so that at most this many bytes and changes remain. Never below the current
    /// compaction point.
    pub fn compaction_point(&self, bytes_max: usize, changes_max: usize) -> Revision {
        let mut at = Revision(self.newest().0.saturating_sub(changes_max as u64)).max(self.compacted);
        let mut bytes =
            self.bytes - self.between(self.compacted, at).map(|change| change.cost()).sum::<usize>();
        while bytes > bytes_max {
            let Some(change) = self.at(at.next()) else { break };
            bytes -= change.cost();
            at = change.revision;
        }
        at
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        assert_eq!(change.revision, self.newest().next(), "history has a gap");
        self.bytes += change.cost();
        self.changes.push_back(change);
    }

    /// Forgets every change at or below `at`, and the rest of the transaction `at` lies in: otherwise a
    /// reader at the compaction point would see half of it.
    pub(crate) fn compact(&mut self, at: Revision) {
        let at = self.at(at).map_or(at.min(self.newest()), |change| change.visible);
        while self.compacted < at {
            let change = self.changes.pop_front().expect("a change for each revision");
            self.bytes -= change.cost();
            self.compacted = change.revision;
        }
    }
}
