//! Keeps a stale cache from acting twice.
//!
//! After a controller wrote for a key, the cache must have seen those writes
//! before the key is planned again: creations up to the position they were
//! answered with, and deletions by the object being gone or on its way. A
//! count (as in upstream) could be satisfied by somebody else's pod; a position cannot.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::cache::{Cache, View};
use crate::metadata::Key;

/// After this long the cache is believed again, whatever it has seen.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Default)]
struct Expected {
    position: u64,
    gone: Vec<(Key, String)>,
    since: Option<Timestamp>,
}

/// What the cache of the written kind must have seen, for each key.
#[derive(Debug, Default)]
pub struct Expectations {
    keys: Mutex<BTreeMap<Key, Expected>>,
}

impl Expectations {
    /// Notes a write that was answered with this position.
    pub fn wrote(&self, key: &Key, position: u64, now: Timestamp) {
        self.note(key, now, |expected| expected.position = expected.position.max(position));
    }

    /// Notes a deletion.
    pub fn deleted(&self, key: &Key, object: Key, uid: String, now: Timestamp) {
        self.note(key, now, |expected| expected.gone.push((object, uid)));
    }

    /// Forgets a key whose object is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Whether the cache has seen all that was written for this key.
    pub fn satisfied<T: View>(&self, key: &Key, cache: &Cache<T>, now: Timestamp) -> bool {
        let mut keys = self.lock();
        let Some(expected) = keys.get_mut(key) else { return true };
        expected.gone.retain(|(object, uid)| {
            cache.get(object).is_some_and(|object| {
                let metadata = object.metadata();
                metadata.uid == *uid && !metadata.deleting()
            })
        });
        let seen = expected.gone.is_empty() && cache.position() >= expected.position;
        let expired = expected.since.is_some_and(|since| now.duration_since(since) > PATIENCE);
        if seen || expired {
            keys.remove(key);
        }
        seen || expired
    }

    fn note(&self, key: &Key, now: Timestamp, change: impl FnOnce(&mut Expected)) {
        let mut keys = self.lock();
        let expected = keys.entry(key.clone()).or_default();
        expected.since = Some(now);
        change(expected);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Expected>> {
        self.keys.lock().expect("no holder panics")
    }
}
