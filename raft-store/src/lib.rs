//! A replicated, watchable, multi-version store on openraft and sled.
//!
//! This crate decides when a command is durable, when it becomes visible and who is told. What a command
//! does is decided in `mvcc`; what the bytes mean is nobody's business here.
//!
//! Invariants: nothing is readable or sent to a watcher before it is committed and on disk; a slow
//! watcher never delays apply; nothing here knows HTTP or Kubernetes kinds.

mod alarm;
mod error;
mod housekeeping;
mod hub;
pub mod log;
mod machine;
mod medium;
pub mod peers;
mod proposal;
mod replica;
mod seams;
mod store;
#[cfg(test)]
mod tests;
mod watcher;

pub use alarm::Failed;
pub use error::{OpenError, ProposeError, ReadError, WatchEnd};
pub use housekeeping::Limits;
pub use medium::{Medium, SnapshotShelf};
pub use mvcc::{
    Change, ChangeKind, Compacted, Entry, Interest, Key, Object, Operation, Outcome, Precondition,
    REFUSED_BY_FENCE, Revision, StateHash, Term, Transaction, View,
};
pub use replica::{MemberInfo, MembershipError, untrusted};
pub use seams::{Clock, HashSeed, Random, Seams};
pub use store::{MemberId, Options, Store};
pub use watcher::Watcher;
