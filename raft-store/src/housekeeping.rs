//! What the store does on its own: forgetting history, taking snapshots, shortening the log.
//!
//! When to do it is decided here in pure code. History is forgotten by a replicated command, so that
//! every member remembers the same; snapshots and the log are each member's own affair.

use std::collections::VecDeque;
use std::time::Duration;

use mvcc::{History, Revision};

/// Bounds on what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of history. A client that was away for less resumes without listing again.
    pub history_bytes_max: usize,
    /// Changes in history: the bookkeeping of small ones counts too.
    pub history_changes_max: usize,
    /// Age of history.
    pub history_age_max: Duration,
    /// Bytes of log after which a snapshot is taken, or the size of the last snapshot if that is more:
    /// so a large state is not written again for a small change.
    pub log_bytes_max: usize,
    /// Bytes of log that stay behind a snapshot for members that are a little late.
    pub log_keep_bytes: usize,
    /// Entries of log that stay behind a snapshot.
    pub log_keep_entries: usize,
    /// Bytes of applied log that stay in memory as well. A member that is later than that is sent what is read from disk.
    pub log_held_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_bytes_max: 32 << 20,
            history_changes_max: 1 << 16,
            history_age_max: Duration::from_secs(600),
            log_bytes_max: 32 << 20,
            log_keep_bytes: 8 << 20,
            log_keep_entries: 2000,
            log_held_bytes_max: 2 << 20,
        }
    }
}

impl Limits {
    /// Whether the log is worth a snapshot. The size of the last one is only asked for when it matters: a disk has to be
    /// looked at for it, and this is asked a moment after every write.
    pub(crate) fn wants_snapshot(&self, log_bytes: usize, snapshot_bytes: impl FnOnce() -> u64) -> bool {
        log_bytes > self.log_bytes_max && log_bytes as u64 > snapshot_bytes()
    }
}

/// How much later than its bound history is forgotten, so that a command is spent on a sixteenth of it
/// and not on every change.
const SLACK: usize = 16;

/// Between two marks of time. Bounds the marks and how long a change is kept beyond its age.
pub(crate) const MARK_INTERVAL: Duration = Duration::from_secs(30);

/// Remembers when revisions were reached, and decides how far to compact.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    marks: VecDeque<(Duration, Revision)>,
}

impl Retention {
    /// The compaction that is due, if any.
    pub(crate) fn plan(&mut self, now: Duration, history: &History, limits: &Limits) -> Option<Revision> {
        let aged = self.aged(now, history.newest(), limits.history_age_max);
        let over_bytes = history.bytes() > limits.history_bytes_max + limits.history_bytes_max / SLACK;
        let over_changes = history.len() > limits.history_changes_max + limits.history_changes_max / SLACK;
        let crowded = (over_bytes || over_changes)
            .then(|| history.compaction_point(limits.history_bytes_max, limits.history_changes_max));
        aged.max(crowded).filter(|at| *at > history.oldest())
    }

    /// The newest revision that is too old.
    fn aged(&mut self, now: Duration, newest: Revision, age_max: Duration) -> Option<Revision> {
        if self.marks.back().is_none_or(|(at, _)| *at + MARK_INTERVAL <= now) {
            self.marks.push_back((now, newest));
        }
        let mut aged = None;
        while self.marks.front().is_some_and(|(at, _)| *at + age_max <= now) {
            aged = self.marks.pop_front().map(|(_, revision)| revision);
        }
        aged
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use mvcc::{Command, CommandBody, Key, Object, Operation, ProposalId, State, Term, Transaction};

    use super::*;

    /// A history of this many changes of a kilobyte each.
    fn history(changes: usize) -> History {
        let key = Key { resource: "r".into(), namespace: "".into(), name: Arc::from("n") };
        let bytes = Bytes::from(vec![0; 1024]);
        let (metadata, revision_at) = (0..0, 0);
        let (labels, attributes, owners) = (Vec::new(), Vec::new(), Vec::new());
        let (uid, version, sealing) = ("u".into(), "v1".into(), None);
        let object =
            Object { key, uid, version, sealing, labels, attributes, owners, metadata, revision_at, bytes };
        let mut state = State::default();
        for _ in 0..changes {
            let operations = vec![Operation::Put(object.clone())];
            let body = CommandBody::Transact(Transaction { operations, ..Transaction::default() });
            state.apply(&Command { proposal: ProposalId(0), feature_level: 0, body }, Term(1));
        }
        state.history().clone()
    }

    const LIMITS: Limits = Limits {
        history_bytes_max: 160 * 1280,
        history_changes_max: 320,
        history_age_max: Duration::from_secs(600),
        log_bytes_max: 64 << 20,
        log_keep_bytes: 8 << 20,
        log_keep_entries: 2000,
        log_held_bytes_max: 2 << 20,
    };

    /// `(seconds, changes so far) -> compaction`, one retention over all rows of a table.
    fn check(table: &[(u64, usize, Option<u64>)]) {
        let mut retention = Retention::default();
        for (seconds, changes, due) in table {
            let planned = retention.plan(Duration::from_secs(*seconds), &history(*changes), &LIMITS);
            assert_eq!(planned, due.map(Revision), "after {seconds} s and {changes} changes");
        }
    }

    #[test]
    fn history_within_its_bounds_stays() {
        check(&[(0, 0, None), (1, 160, None), (2, 170, None)]);
    }

    #[test]
    fn history_above_its_bytes_shrinks_to_them() {
        check(&[(0, 171, Some(11)), (1, 300, Some(140))]);
    }

    #[test]
    fn history_above_its_changes_shrinks_to_them() {
        let limits = Limits { history_bytes_max: usize::MAX / 2, ..LIMITS };
        let due = Retention::default().plan(Duration::ZERO, &history(341), &limits);
        assert_eq!(due, Some(Revision(21)));
    }

    #[test]
    fn history_older_than_its_age_is_forgotten() {
        check(&[
            (0, 10, None),
            (20, 20, None),
            (40, 30, None),
            (599, 40, None),
            (600, 50, Some(10)),
            (640, 50, Some(30)),
        ]);
    }

    #[test]
    fn a_large_state_is_not_written_for_a_small_log() {
        assert!(!LIMITS.wants_snapshot(64 << 20, || panic!("not asked for a short log")));
        assert!(LIMITS.wants_snapshot((64 << 20) + 1, || 0));
        assert!(!LIMITS.wants_snapshot(100 << 20, || 100 << 20));
    }
}
