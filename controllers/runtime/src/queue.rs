//! A queue of keys: each key at most once, never with two workers at a time,
//! due now, later, or after its failures say so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Pause after the first failure of a key; doubled by each further one.
const RETRY_MIN: Duration = Duration::from_millis(5);
/// Longest pause between two tries of a failing key.
const RETRY_MAX: Duration = Duration::from_secs(1000);

struct State<K> {
    ready: VecDeque<K>,
    /// Keys that are due: in `ready`, or waiting for the worker that has them.
    due: BTreeSet<K>,
    taken: BTreeSet<K>,
    later: BTreeSet<(Instant, K)>,
    later_of: BTreeMap<K, Instant>,
    failures: BTreeMap<K, u32>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    retry_max: Duration,
    changed: Notify,
}

/// The queue; clones share it.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Queue { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Ord + Hash + Clone> Default for Queue<K> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<K: Ord + Hash + Clone> Queue<K> {
    /// An empty queue.
    pub fn new() -> Queue<K> {
        Queue::with_retry_max(RETRY_MAX)
    }

    /// An empty queue whose failing keys wait no longer than `retry_max`.
    pub fn with_retry_max(retry_max: Duration) -> Queue<K> {
        let state = State {
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            taken: BTreeSet::new(),
            later: BTreeSet::new(),
            later_of: BTreeMap::new(),
            failures: BTreeMap::new(),
        };
        Queue { shared: Arc::new(Shared { state: Mutex::new(state), retry_max, changed: Notify::new() }) }
    }

    /// Makes a key due now.
    pub fn add(&self, key: K) {
        self.lock().make_due(key);
        self.shared.changed.notify_one();
    }

    /// Makes a key due after a while, or earlier if it already was to be.
    pub fn add_after(&self, key: K, after: Duration) {
        if after.is_zero() {
            return self.add(key);
        }
        self.lock().postpone(key, Instant::now() + after);
        self.shared.changed.notify_one();
    }

    /// Makes a key due after a pause that grows with its failures.
    pub fn add_failed(&self, key: K) {
        let pause = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let doublings = (*failures).min(20);
            *failures += 1;
            (RETRY_MIN * (1 << doublings)).min(self.shared.retry_max)
        };
        self.add_after(key, pause);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// Takes the next due key; [`Queue::done`] must follow.
    pub async fn next(&self) -> K {
        loop {
            let wait_until = {
                let mut state = self.lock();
                state.wake(Instant::now());
                if let Some(key) = state.take() {
                    let more = !state.ready.is_empty();
                    drop(state);
                    // One wake-up may stand for several keys.
                    if more {
                        self.shared.changed.notify_one();
                    }
                    return key;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match wait_until {
                Some(at) => tokio::select! {
                    () = self.shared.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.shared.changed.notified().await,
            }
        }
    }

    /// Gives a taken key back; it is due again if it was added meanwhile.
    pub fn done(&self, key: &K) {
        let again = {
            let mut state = self.lock();
            state.taken.remove(key);
            let again = state.due.contains(key);
            if again {
                state.ready.push_back(key.clone());
            }
            again
        };
        if again {
            self.shared.changed.notify_one();
        }
    }

    /// Keys due now, taken ones not counted.
    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.shared.state.lock().expect("no holder panics")
    }
}

impl<K: Ord + Clone> State<K> {
    fn make_due(&mut self, key: K) {
        self.cancel_later(&key);
        if self.due.insert(key.clone()) && !self.taken.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn postpone(&mut self, key: K, at: Instant) {
        if self.later_of.get(&key).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        self.cancel_later(&key);
        self.later.insert((at, key.clone()));
        self.later_of.insert(key, at);
    }

    fn cancel_later(&mut self, key: &K) {
        if let Some(at) = self.later_of.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, key));
                return;
            }
            self.later_of.remove(&key);
            self.make_due(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.due.remove(&key);
        self.taken.insert(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_due_once_and_again_if_added_while_taken() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.depth(), 0);
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_dates_wins() {
        let queue = Queue::new();
        let begin = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, "a");
        assert_eq!(begin.elapsed().as_secs(), 2);
        queue.done(&"a");
        let nothing = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
        assert!(nothing.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_pause_until_forgotten() {
        let queue = Queue::new();
        let mut pauses = Vec::new();
        for round in 0..5 {
            if round == 3 {
                queue.forget(&"a");
            }
            let begin = Instant::now();
            queue.add_failed("a");
            let key = queue.next().await;
            queue.done(&key);
            pauses.push(begin.elapsed().as_millis());
        }
        assert_eq!(pauses, [5, 10, 20, 5, 10]);
    }
}
