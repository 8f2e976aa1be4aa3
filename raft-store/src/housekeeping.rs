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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            history_bytes_max: 64 << 20,
            history_changes_max: 1 << 16,
            history_age_max: Duration::from_secs(600),
            log_bytes_max: 64 << 20,
            log_keep_bytes: 8 << 20,
            log_keep_entries: 2000,
        }
    }
}

impl Limits {
    /// Whether the log is worth a snapshot.
    pub(crate) fn wants_snapshot(&self, log_bytes: usize, snapshot_bytes: u64) -> bool {
        log_bytes as u64 > snapshot_bytes.max(self.log_bytes_max as u64)
    }
}

/// How much later than its bound history is forgotten, so that a command is spent on a sixteenth of it
/// and not on every change.
const SLACK: usize = 16;

/// Between two marks of time. Bounds the marks and how long a change is kept beyond its age.
const MARK_INTERVAL: Duration = Duration::from_secs(30);

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
