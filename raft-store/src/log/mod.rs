//! The log seam: where bytes become durable, and the only place where disk faults are injected.
//!
//! A [`LogBackend`] knows indexes and opaque records. It decides nothing about Raft; it promises that
//! what [`LogBackend::commit`] returned `Ok` for is there after any crash, and that a batch it did not
//! finish leaves a prefix at most.

mod disk;
mod faulty;
mod frame;
mod known;
mod lock;
mod memory;
mod places;
mod rebuild;
mod segment;
mod sled;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

pub use disk::DiskLog;
pub use faulty::{Fault, FaultyBackend, FaultyDisk};
pub use memory::MemBackend;
pub(crate) use writer::Writer;

/// The batches that bytes hold as frames, one behind the other from the beginning of a log.
pub(crate) fn frames(bytes: &Bytes) -> io::Result<Vec<Vec<Op>>> {
    let (mut place, mut offset, mut batches) = (frame::Place::default(), 0, Vec::new());
    while let Some((next, ops, length)) = frame::read(&bytes.slice(offset..), place)? {
        place = next;
        offset += length;
        batches.push(ops);
    }
    Ok(batches)
}

/// Batches as frames, from the beginning of a log.
pub(crate) fn framed(batches: &[Vec<Op>]) -> Bytes {
    let (mut place, mut frame, mut all) = (frame::Place::default(), Vec::new(), Vec::new());
    for ops in batches {
        place = frame::write(&mut frame, place, ops);
        all.extend_from_slice(&frame);
    }
    all.into()
}

/// Damage is never repaired by guessing: the member is replaced.
fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// One log entry in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub index: u64,
    /// Its content, opaque here.
    pub bytes: Bytes,
}

/// A change to what is stored. Several are committed together, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds records at the end; their indexes follow each other.
    Append(Vec<Record>),
    /// Removes every record at or after an index.
    Truncate {
        /// First index that goes.
        from: u64,
    },
    /// Removes every record at or below an index, and remembers that.
    Purge {
        /// Last index that goes.
        through: u64,
        /// The position in its stored form.
        marker: Bytes,
    },
    /// Replaces the vote.
    Vote(Bytes),
    /// Replaces the committed position. It may be behind, never ahead.
    Committed(Bytes),
}

/// Puts an operation behind others so that records which follow each other can share a chunk. The committed position
/// moves behind them: it may be behind, never ahead.
fn join(ops: &mut Vec<Op>, op: Op) {
    let committed = ops.pop_if(|last| matches!(last, Op::Committed(_)));
    let committed = match (ops.last_mut(), op) {
        (_, newer @ Op::Committed(_)) => Some(newer),
        (Some(Op::Append(records)), Op::Append(more)) => {
            records.extend(more);
            committed
        }
        (_, op) => {
            ops.push(op);
            committed
        }
    };
    ops.extend(committed);
}

/// What a crash left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last vote.
    pub vote: Option<Bytes>,
    /// A committed position.
    pub committed: Option<Bytes>,
    /// The last purge.
    pub purged: Option<Bytes>,
    /// Records after the last purge, without gaps.
    pub records: Vec<Record>,
}

/// How a backend is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Files outside the main one that are not covered by its sync. Must be 0.
    pub stray_files: u64,
}

/// A durable home for the log. One owner uses it at a time.
pub trait LogBackend: Send {
    /// Applies a batch. `Ok` means it survives any crash from now on; after an error nothing more is
    /// committed until the backend is opened again.
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()>;

    /// Reads everything, before the first commit. What it returns survives any crash from then on, also if an earlier
    /// owner could not sync it: raft builds on it.
    fn load(&mut self) -> io::Result<Recovered>;

    /// The records of a range that are there, in order: what was committed, or loaded, and not taken away since. For what
    /// is no longer kept in memory.
    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>>;

    /// How it is doing.
    fn stats(&self) -> LogStats;

    /// Whether commits are so quick that they run in the caller. A simulation needs that: a thread of
    /// its own would bring the scheduler's randomness in.
    fn is_inline(&self) -> bool;

    /// How long the next commit takes, for a simulated disk that has a speed: commits then run in a task
    /// that sleeps this long before each.
    fn pause(&self) -> Option<Duration> {
        None
    }
}
