//! Encoded watch frames, shared by all watchers of the same encoding. A
//! bounded memory beside the store's changes; losing a frame costs one more
//! encoding and nothing else.

use crate::negotiate::Accepted;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

/// Bytes of frames kept. A burst of 4,000 pod changes of 4 KiB fits; watchers further behind encode again.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Locks, so that watchers of different changes rarely meet.
const SHARDS: usize = 16;

/// What makes two watchers' frames equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FrameKey {
    /// The change (its revision is unique in the store).
    pub(crate) revision: u64,
    /// ADDED, MODIFIED or DELETED.
    pub(crate) word: &'static str,
    /// Whether the group differs from the stored one (Events have two).
    pub(crate) converted: bool,
    /// The representation.
    pub(crate) accepted: Accepted,
}

#[derive(Default)]
struct Shard {
    frames: HashMap<FrameKey, Bytes>,
    order: VecDeque<FrameKey>,
    bytes: usize,
}

/// The frames kept.
pub(crate) struct Frames(Vec<Mutex<Shard>>);

impl Frames {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// The frame under a key, made if it is not there.
    pub(crate) fn get<E>(&self, key: FrameKey, make: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        let shard =
            &self.0[usize::try_from(key.revision % SHARDS as u64).expect("below the number of shards")];
        if let Some(frame) = shard.lock().expect("no panic while the lock is held").frames.get(&key) {
            return Ok(frame.clone());
        }
        let frame = make()?;
        shard.lock().expect("no panic while the lock is held").put(key, frame.clone());
        Ok(frame)
    }
}

impl Shard {
    fn put(&mut self, key: FrameKey, frame: Bytes) {
        self.bytes += frame.len();
        if let Some(replaced) = self.frames.insert(key, frame) {
            self.bytes -= replaced.len();
            return;
        }
        self.order.push_back(key);
        while self.bytes > BYTES_MAX / SHARDS {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.frames.remove(&oldest).map_or(0, |frame| frame.len());
        }
    }
}
