//! A bounded memory of bytes that can be made again. Losing one costs another making and nothing else. What was used since
//! the last look stays for another round; the rest goes, oldest first.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

/// Locks, so that readers of different objects rarely meet.
const SHARDS: u64 = 16;

/// What an entry takes beside its bytes: its key twice, its place in map and queue.
const OVERHEAD: usize = 160;

/// The memory.
pub(crate) struct Kept<K> {
    shards: Vec<Mutex<Shard<K>>>,
    /// Bytes a shard may hold.
    bytes_max: usize,
}

struct Shard<K> {
    entries: HashMap<K, Entry>,
    order: VecDeque<K>,
    bytes: usize,
}

struct Entry {
    bytes: Bytes,
    used: bool,
}

impl<K: Hash + Eq + Copy> Kept<K> {
    /// An empty memory with a bound.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let shard = || Shard { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self { shards, bytes_max: bytes_max / usize::try_from(SHARDS).expect("a small number") }
    }

    /// The bytes under a key, made if they are not there. Keys are spread by the revision they belong to.
    pub(crate) fn get<E>(
        &self,
        revision: u64,
        key: K,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if let Some(entry) = self.shard(revision).entries.get_mut(&key) {
            entry.used = true;
            return Ok(entry.bytes.clone());
        }
        // Made without the lock: two who ask at once both make, and one's is kept.
        let bytes = make()?;
        self.shard(revision).put(key, bytes.clone(), self.bytes_max);
        Ok(bytes)
    }

    fn shard(&self, revision: u64) -> MutexGuard<'_, Shard<K>> {
        let index = usize::try_from(revision % SHARDS).expect("below the number of shards");
        self.shards[index].lock().expect("no panic while the lock is held")
    }
}

impl<K: Hash + Eq + Copy> Shard<K> {
    fn put(&mut self, key: K, bytes: Bytes, bytes_max: usize) {
        self.bytes += bytes.len() + OVERHEAD;
        if let Some(replaced) = self.entries.insert(key, Entry { bytes, used: false }) {
            self.bytes -= replaced.bytes.len() + OVERHEAD;
        } else {
            self.order.push_back(key);
        }
        while self.bytes > bytes_max {
            let Some(oldest) = self.order.pop_front() else { return };
            let entry = self.entries.get_mut(&oldest).expect("every key in order has an entry");
            if std::mem::take(&mut entry.used) {
                self.order.push_back(oldest);
            } else {
                self.bytes -= entry.bytes.len() + OVERHEAD;
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn get(kept: &Kept<u64>, key: u64, made: &mut usize) -> usize {
        let make = || {
            *made += 1;
            Ok::<_, Infallible>(Bytes::from(vec![0; 1000]))
        };
        // One shard for all, so that the bound is easy to reckon.
        let Ok(bytes) = kept.get(0, key, make);
        bytes.len()
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let room_for = 8;
        let kept = Kept::new(16 * room_for * (1000 + OVERHEAD));
        let mut made = 0;
        for key in 0..100 {
            assert_eq!(get(&kept, key, &mut made), 1000);
            // Asked for in between, the first one outlives all that came after it.
            assert_eq!(get(&kept, 0, &mut made), 1000);
        }
        assert_eq!(made, 100);
        let shard = kept.shard(0);
        assert_eq!(shard.entries.len(), room_for);
        assert_eq!(shard.order.len(), room_for);
        assert_eq!(shard.bytes, room_for * (1000 + OVERHEAD));
    }
}
