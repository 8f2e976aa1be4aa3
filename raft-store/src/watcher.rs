//! One watch: a cursor into shared history plus a bound.
//!
//! It decides what its reader gets next and when it is cut off. It never holds anything up.

use std::sync::Arc;

use mvcc::{Change, Compacted, History, Interest, Revision};

use crate::error::WatchEnd;
use crate::hub::Seat;
use crate::machine::Shared;

/// Changes handed over at once. Large enough that a reader that fell behind catches up with few locks,
/// small enough that it can stop in between.
const BATCH_MAX: usize = 256;

/// A watch on an interest. Dropping it ends it.
pub struct Watcher {
    shared: Arc<Shared>,
    interest: Interest,
    seat: Seat,
    /// History to read before the topic, until its end is reached.
    backlog: Option<History>,
    /// Everything at or below has been delivered.
    delivered: Revision,
}

impl Watcher {
    pub(crate) fn new(shared: Arc<Shared>, interest: Interest, after: Revision) -> Result<Self, Compacted> {
        let seat = shared.hub.join(&interest);
        let history = shared.state().history().clone();
        let watcher = Self { shared, interest, seat, backlog: Some(history), delivered: after };
        let history = watcher.backlog.as_ref().expect("set above");
        if after < history.oldest() {
            return Err(Compacted { oldest: history.oldest() });
        }
        Ok(watcher)
    }

    /// The next changes in order of revision, at least one. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, WatchEnd> {
        loop {
            let topic = self.seat.topic.clone();
            let mut changed = std::pin::pin!(topic.changed.notified());
            // Registered before looking, so that a change in between wakes.
            changed.as_mut().enable();
            let changes = self.try_next()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            changed.await;
        }
    }

    /// What is there now, possibly nothing.
    pub fn try_next(&mut self) -> Result<Vec<Arc<Change>>, WatchEnd> {
        let changes = self.catch_up();
        if !changes.is_empty() {
            return Ok(changes);
        }
        self.follow()
    }

    /// The revision up to which every change that concerns this watch has been delivered, and from which
    /// it may be resumed. It moves on while nothing of interest happens.
    pub fn progress(&self) -> Revision {
        // Read before the topic: what is dispatched later is beyond this revision.
        let dispatched = self.shared.hub.dispatched();
        if self.backlog.is_some() || self.seat.topic.broken(self.seat.position) {
            return self.delivered;
        }
        match self.seat.topic.peek(self.seat.position) {
            Some(next) => self.delivered.max(Revision(next.0 - 1)),
            None => self.delivered.max(dispatched),
        }
    }

    /// Reads from history what happened before this watcher took its seat.
    fn catch_up(&mut self) -> Vec<Arc<Change>> {
        let Some(history) = &self.backlog else { return Vec::new() };
        let until = self.seat.joined;
        let changes: Vec<Arc<Change>> = history
            .after(self.delivered)
            .expect("checked when the watch began")
            .take_while(|change| change.revision <= until)
            .filter(|change| self.interest.concerns(change))
            .take(BATCH_MAX)
            .cloned()
            .collect();
        if changes.len() < BATCH_MAX {
            self.backlog = None;
            self.delivered = self.delivered.max(until);
        } else if let Some(last) = changes.last() {
            self.delivered = last.revision;
        }
        changes
    }

    /// Reads from the topic what happened since.
    fn follow(&mut self) -> Result<Vec<Arc<Change>>, WatchEnd> {
        let revisions = self.seat.topic.read(self.seat.position, self.delivered, BATCH_MAX)?;
        let state = self.shared.state();
        let mut changes = Vec::with_capacity(revisions.len());
        for revision in revisions {
            if revision > self.delivered {
                let Some(change) = state.history().at(revision) else {
                    let end = WatchEnd::Lagged { resume: self.delivered };
                    return if changes.is_empty() { Err(end) } else { Ok(changes) };
                };
                changes.push(change.clone());
                self.delivered = revision;
            }
            self.seat.position += 1;
        }
        Ok(changes)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.hub.leave(&self.interest, &self.seat.topic);
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watcher").field("interest", &self.interest).finish_non_exhaustive()
    }
}
