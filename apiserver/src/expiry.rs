//! Events live for an hour after their last write. Decides when one goes; the
//! deletion itself is a proposal that is refused if the event was written
//! since, so that nobody who is behind can delete too much.

use crate::catalog::{self, Kind};
use crate::server::Inner;
use jiff::Timestamp;
use kinds::tree;
use mvcc::{Change, ChangeKind, Interest, Key, Operation, Precondition, Revision, Transaction, View};
use raft_store::{WatchEnd, Watcher};
use schema::Tree;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Seconds an event lives.
const LIFETIME_SECONDS: i64 = 3600;
/// Seconds between looks at what is due.
const LOOK_SECONDS: u64 = 15;
/// Deletions proposed at once.
const BATCH_MAX: usize = 256;

/// When which event goes. `due` is ordered by time; `known` finds an event's place in it.
#[derive(Default)]
struct Schedule {
    due: BTreeMap<(i64, Key), Revision>,
    known: HashMap<Key, i64>,
}

impl Schedule {
    fn put(&mut self, key: &Key, revision: Revision, at: i64) {
        self.forget(key);
        self.known.insert(key.clone(), at);
        self.due.insert((at, key.clone()), revision);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(at) = self.known.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// What is due at `now`, oldest first.
    fn due(&self, now: i64) -> Vec<(Key, Revision)> {
        let ripe = self.due.iter().take_while(|((at, _), _)| *at <= now);
        ripe.take(BATCH_MAX).map(|((_, key), revision)| (key.clone(), *revision)).collect()
    }

    fn on_change(&mut self, change: &Change, now: i64) {
        match change.kind {
            ChangeKind::Deleted => self.forget(change.key()),
            _ => self.put(change.key(), change.revision, now + LIFETIME_SECONDS),
        }
    }
}

/// Runs until the server stops. Only the leader proposes; everybody keeps the schedule.
pub(crate) async fn run(server: Arc<Inner>) {
    let Some(kind) = catalog::find("", "v1", "events") else { return };
    while !server.stopping.is_cancelled() {
        let view = server.store.view();
        let mut schedule = from_view(&server, kind, &view);
        let Ok(watcher) = server.store.watch(Interest::Resource(kind.stored_as.clone()), view.revision())
        else {
            continue;
        };
        if follow(&server, &mut schedule, watcher).await.is_err() {
            return;
        }
    }
}

/// Events that were there before this server: their own times tell how old they are.
fn from_view(server: &Inner, kind: &Kind, view: &View) -> Schedule {
    let mut schedule = Schedule::default();
    for entry in view.list(&kind.stored_as, None, None) {
        let written = server.codec.tree(kind, entry, entry.revision).ok().and_then(|tree| last_write(&tree));
        schedule.put(
            &entry.object.key,
            entry.revision,
            written.unwrap_or_else(|| now(server)) + LIFETIME_SECONDS,
        );
    }
    schedule
}

/// The latest time an event mentions.
fn last_write(event: &Tree) -> Option<i64> {
    let managed =
        tree::list_at(event, "metadata.managedFields").iter().map(|entry| tree::str_at(entry, "time"));
    let own = ["metadata.creationTimestamp", "lastTimestamp", "eventTime", "series.lastObservedTime"]
        .into_iter()
        .map(|path| tree::str_at(event, path));
    managed.chain(own).filter_map(|text| text.parse::<Timestamp>().ok()).map(Timestamp::as_second).max()
}

fn now(server: &Inner) -> i64 {
    crate::clock::now(&server.seams).as_second()
}

/// The server stops.
struct Stopped;

/// Keeps the schedule and deletes what is due, until the watch is cut off.
async fn follow(server: &Inner, schedule: &mut Schedule, mut watcher: Watcher) -> Result<(), Stopped> {
    let mut look = tokio::time::interval(Duration::from_secs(LOOK_SECONDS));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changes = watcher.next() => match changes {
                Ok(changes) => changes.iter().for_each(|change| schedule.on_change(change, now(server))),
                Err(WatchEnd::Stopped) => return Err(Stopped),
                Err(_) => return Ok(()),
            },
            _ = look.tick(), if !schedule.due.is_empty() => delete_due(server, schedule).await,
            () = server.stopping.cancelled() => return Err(Stopped),
        }
    }
}

async fn delete_due(server: &Inner, schedule: &mut Schedule) {
    let Some(term) = server.store.term() else { return };
    for (key, revision) in schedule.due(now(server)) {
        let transaction = Transaction {
            preconditions: vec![Precondition::AtRevision(key.clone(), revision)],
            operations: vec![Operation::Delete(key.clone())],
            fence: Some(term),
        };
        if let Err(error) = server.store.propose(transaction).await {
            tracing::debug!(%error, %key, "an event outlives its hour");
            return;
        }
        // Refused means written since: that change puts it back.
        schedule.forget(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_a_write_renews() {
        let key = |name: &str| Key::new("events", "default", name);
        let mut schedule = Schedule::default();
        schedule.put(&key("a"), Revision(1), 100);
        schedule.put(&key("b"), Revision(2), 50);
        assert_eq!(schedule.due(99), [(key("b"), Revision(2))]);
        schedule.put(&key("b"), Revision(3), 200);
        assert_eq!(schedule.due(150), [(key("a"), Revision(1))]);
        schedule.forget(&key("a"));
        assert_eq!(schedule.due(300), [(key("b"), Revision(3))]);
    }
}
