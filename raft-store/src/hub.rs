//! Who is told about a change: topics, one for each interest somebody watches.
//!
//! A change is looked up under every interest it concerns, so that its cost follows from the watchers
//! that care and not from those that exist. A topic holds revisions only; their content is in the
//! shared history. The hub never waits for a watcher: it drops the oldest revision of a full topic, and
//! a watcher that needed it is cut off when it comes back.
//!
//! Lock order: the topics' map, then one topic's log. Neither is held across an await.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mvcc::{Change, Interest, Object, Revision};
use tokio::sync::Notify;

use crate::error::WatchEnd;
use crate::seams::HashSeed;

/// Changes a watcher may fall behind before it is cut off. At 1 KiB per change this is 4 MiB of history
/// a watcher; a client that slow does better to list again.
pub(crate) const WATCH_BACKLOG_MAX: usize = 4096;

/// The topics and how far changes have been dispatched to them.
pub(crate) struct Hub {
    topics: Mutex<Topics>,
    /// Every change at or below is in the topics it concerns. Written under the lock, read without.
    dispatched: AtomicU64,
}

struct Topics {
    by_interest: HashMap<Interest, Arc<Topic>, HashSeed>,
    stopped: bool,
}

/// The recent revisions of one interest.
pub(crate) struct Topic {
    log: Mutex<TopicLog>,
    /// Wakes the watchers of this topic, and no others.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct TopicLog {
    /// Position of the first revision still here; positions count up from the topic's birth.
    start: u64,
    revisions: VecDeque<Revision>,
    end: Option<TopicEnd>,
    watchers: usize,
}

#[derive(Clone, Copy)]
enum TopicEnd {
    Stopped,
    Gone { oldest: Revision },
}

/// A watcher's place in the hub.
pub(crate) struct Seat {
    pub(crate) topic: Arc<Topic>,
    /// Position of the next revision to deliver.
    pub(crate) position: u64,
    /// Changes up to here are not in the topic for this watcher: they are read from history.
    pub(crate) joined: Revision,
}

impl Hub {
    pub(crate) fn new(seed: HashSeed, revision: Revision) -> Self {
        let topics = Topics { by_interest: HashMap::with_hasher(seed), stopped: false };
        Self { topics: Mutex::new(topics), dispatched: AtomicU64::new(revision.0) }
    }

    /// Every change at or below this revision has been dispatched.
    pub(crate) fn dispatched(&self) -> Revision {
        Revision(self.dispatched.load(Ordering::Acquire))
    }

    /// Takes a seat at an interest. No change is lost between `joined` and the first position.
    pub(crate) fn join(&self, interest: &Interest) -> Seat {
        let mut topics = lock(&self.topics);
        let stopped = topics.stopped;
        let topic = topics.by_interest.entry(interest.clone()).or_insert_with(Topic::new).clone();
        let position = {
            let mut log = lock(&topic.log);
            log.watchers += 1;
            if stopped {
                log.end = Some(TopicEnd::Stopped);
            }
            log.next_position()
        };
        Seat { topic, position, joined: self.dispatched() }
    }

    /// Gives a seat back; the last one takes the topic with it.
    pub(crate) fn leave(&self, interest: &Interest, topic: &Arc<Topic>) {
        let mut topics = lock(&self.topics);
        let mut log = lock(&topic.log);
        log.watchers -= 1;
        let current = topics.by_interest.get(interest).is_some_and(|current| Arc::ptr_eq(current, topic));
        if log.watchers == 0 && current {
            topics.by_interest.remove(interest);
        }
    }

    /// Tells the watchers about changes, which must already be readable.
    pub(crate) fn dispatch<'a>(&self, changes: impl Iterator<Item = &'a Arc<Change>>, until: Revision) {
        let mut woken: Vec<Arc<Topic>> = Vec::new();
        let topics = lock(&self.topics);
        if !topics.by_interest.is_empty() {
            for change in changes {
                topics.publish(change, &mut woken);
            }
        }
        self.dispatched.store(until.0, Ordering::Release);
        drop(topics);
        for topic in woken {
            topic.changed.notify_waiters();
        }
    }

    /// Ends every watch: the changes between what was delivered and what comes next are not known.
    pub(crate) fn lose_history(&self, oldest: Revision, until: Revision) {
        let mut topics = lock(&self.topics);
        topics.end_all(TopicEnd::Gone { oldest });
        topics.by_interest.clear();
        self.dispatched.store(until.0, Ordering::Release);
    }

    /// Ends every watch, now and later.
    pub(crate) fn stop(&self) {
        let mut topics = lock(&self.topics);
        topics.stopped = true;
        topics.end_all(TopicEnd::Stopped);
    }
}

impl Topics {
    fn publish(&self, change: &Change, woken: &mut Vec<Arc<Topic>>) {
        let key = change.key();
        let resource = &key.resource;
        self.push(&Interest::Resource(resource.clone()), change, woken);
        let namespace = key.namespace.clone();
        self.push(&Interest::Namespace { resource: resource.clone(), namespace }, change, woken);
        self.push(&Interest::Object(key.clone()), change, woken);
        self.publish_indexes(&change.entry.object, change, woken);
        if let Some(previous) = &change.previous {
            self.publish_indexes(&previous.object, change, woken);
        }
    }

    fn publish_indexes(&self, object: &Object, change: &Change, woken: &mut Vec<Arc<Topic>>) {
        let resource = &object.key.resource;
        for (name, value) in &object.attributes {
            let (resource, name, value) = (resource.clone(), name.clone(), value.clone());
            self.push(&Interest::Attribute { resource, name, value }, change, woken);
        }
        for owner in &object.owners {
            self.push(&Interest::Owner(owner.clone()), change, woken);
        }
    }

    fn push(&self, interest: &Interest, change: &Change, woken: &mut Vec<Arc<Topic>>) {
        let Some(topic) = self.by_interest.get(interest) else { return };
        if lock(&topic.log).push(change.revision) {
            woken.push(topic.clone());
        }
    }

    fn end_all(&self, end: TopicEnd) {
        for topic in self.by_interest.values() {
            lock(&topic.log).end = Some(end);
            topic.changed.notify_waiters();
        }
    }
}

impl Topic {
    fn new() -> Arc<Self> {
        Arc::new(Self { log: Mutex::new(TopicLog::default()), changed: Notify::new() })
    }

    /// The revisions from a position on, at most `max`; an end only once all before it are taken.
    pub(crate) fn read(
        &self,
        position: u64,
        resume: Revision,
        max: usize,
    ) -> Result<Vec<Revision>, WatchEnd> {
        let log = lock(&self.log);
        if position < log.start {
            return Err(WatchEnd::Lagged { resume });
        }
        let taken = usize::try_from(position - log.start).expect("an index into memory");
        let revisions: Vec<_> = log.revisions.iter().skip(taken).take(max).copied().collect();
        match (revisions.is_empty(), log.end) {
            (true, Some(TopicEnd::Stopped)) => Err(WatchEnd::Stopped),
            (true, Some(TopicEnd::Gone { oldest })) => Err(WatchEnd::Gone { resume, oldest }),
            _ => Ok(revisions),
        }
    }

    /// The revision at a position: what a watcher there has not been given yet.
    pub(crate) fn peek(&self, position: u64) -> Option<Revision> {
        let log = lock(&self.log);
        let index = usize::try_from(position.checked_sub(log.start)?).expect("an index into memory");
        log.revisions.get(index).copied()
    }

    /// Whether a watcher at a position has lost revisions or has nothing more to come.
    pub(crate) fn broken(&self, position: u64) -> bool {
        let log = lock(&self.log);
        position < log.start || log.end.is_some()
    }
}

impl TopicLog {
    /// Returns whether the revision is new here: a change concerns an interest once, even if content
    /// and previous content both do.
    fn push(&mut self, revision: Revision) -> bool {
        if self.revisions.back() == Some(&revision) {
            return false;
        }
        self.revisions.push_back(revision);
        if self.revisions.len() > WATCH_BACKLOG_MAX {
            self.revisions.pop_front();
            self.start += 1;
        }
        true
    }

    fn next_position(&self) -> u64 {
        self.start + self.revisions.len() as u64
    }
}

/// A panic while one of these is held would be a bug that has already stopped the apply task.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held")
}
