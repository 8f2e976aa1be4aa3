//! Why the store gave no answer. Each type is split by what its caller has to know next.

use std::io;

use mvcc::Revision;

use crate::store::MemberId;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory could not be read or written.
    #[error("the medium cannot be opened")]
    Medium(#[from] io::Error),
    /// What is on disk is damaged: it must be replaced, never repaired in place.
    #[error("the stored state is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The replication engine did not start.
    #[error("replication did not start: {reason}")]
    Replication {
        /// What it said.
        reason: String,
    },
}

/// Why a proposal got no answer. The first question a caller has is whether the write may still happen,
/// so the variants are split by that answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not appended anywhere; safe to retry elsewhere.
    #[error("this member is not the leader")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<MemberId>,
    },
    /// Not appended anywhere; a smaller one may pass.
    #[error("a transaction of {bytes} bytes is larger than {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Not appended anywhere; the store is shutting down or has failed.
    #[error("the store has stopped")]
    Stopped,
    /// May have been committed; retry only if the command is idempotent.
    #[error("the outcome of the proposal is unknown")]
    Unknown,
}

/// Why a read could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed that this member is up to date.
    #[error("no leader confirms the newest revision")]
    NoLeader,
    /// This member's state is not what most members have come to; it is being replaced.
    #[error("this member's state is wrong and is being replaced")]
    Wrong,
    /// The store is shutting down or has failed.
    #[error("the store has stopped")]
    Stopped,
}

/// Why a watch ended. Nothing delivered so far is wrong; the question is where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher was too slow and is cut off. Watching again after `resume` loses nothing, as long as
    /// history reaches that far.
    #[error("the watcher fell too far behind, it may resume after {resume}")]
    Lagged {
        /// The last revision that was delivered.
        resume: Revision,
    },
    /// Changes in between are not known to this member; list again.
    #[error("the changes after {resume} are gone, oldest is {oldest}")]
    Gone {
        /// The last revision that was delivered.
        resume: Revision,
        /// The oldest revision that can be resumed from.
        oldest: Revision,
    },
    /// The store is shutting down or has failed.
    #[error("the store has stopped")]
    Stopped,
}
