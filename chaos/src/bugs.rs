//! Bugs put in on purpose, around the store: on its disk, on its network, or
//! between it and its clients.
//!
//! A check that has never fired proves nothing. Each bug here breaks one promise, and a test asserts
//! that the check of that promise finds it. None of them is in the store itself.

/// A bug. The comment says what a store with it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Bug {
    /// Never syncs its log.
    SyncSkipped,
    /// Never saves its vote.
    VoteForgotten,
    /// After a resume a watch begins one change too late.
    WatchSkips,
    /// After a resume a watch begins one change too early.
    WatchRepeats,
    /// A watch delivers two changes in the wrong order.
    WatchReorders,
    /// A watch says it is further than it is.
    ProgressAhead,
    /// Gives the first write after a restart the revision of the one before.
    RevisionReused,
    /// Commits what no quorum has: a member that is not reached counts as one that has it.
    VisibleBeforeCommit,
    /// Answers reads on a follower without asking the leader.
    FollowerReadsStale,
    /// A snapshot for another member has no history.
    SnapshotForgets,
    /// Ignores preconditions when it reads its log after a restart.
    ReplayUnguarded,
    /// Ignores preconditions when it reads its log after a restart, and nobody compares states.
    StatesNotCompared,
    /// Ignores preconditions.
    GuardsIgnored,
    /// Refuses what it should apply.
    RefusesWrongly,
    /// Ignores fences.
    FenceIgnored,
    /// Reads are a little old.
    ReadsStale,
    /// A list may show half a transaction.
    ListsHalf,
    /// Tells a writer who could not be answered that nothing happened.
    UnknownDenied,
    /// Tries again what could not be answered.
    UnknownRepeated,
    /// Says that history is forgotten which is not.
    HistoryDenied,
    /// Answers no reads while it cannot write.
    ReadsNeedDisk,
    /// Stays down after its disk has failed.
    NeverRecovers,
}

impl Bug {
    /// The promises of which one is broken by it, by the name of their checks.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::SyncSkipped => &["acknowledged stays", "durable before visible"],
            Self::VoteForgotten => &["fenced"],
            Self::WatchSkips | Self::WatchRepeats | Self::WatchReorders => &["watch loses nothing"],
            Self::ProgressAhead => &["bookmarks"],
            Self::RevisionReused => &["one revision per change"],
            Self::VisibleBeforeCommit => &["acknowledged stays", "durable before visible"],
            Self::FollowerReadsStale => &["linearizable reads"],
            Self::SnapshotForgets => &["history survives"],
            Self::ReplayUnguarded => &["preconditions decide at apply", "deterministic apply"],
            Self::GuardsIgnored | Self::RefusesWrongly => &["preconditions decide at apply"],
            Self::FenceIgnored => &["fenced"],
            Self::ReadsStale => &["linearizable reads"],
            Self::ListsHalf => &["no half transaction"],
            Self::UnknownDenied | Self::UnknownRepeated => &["unknown is said"],
            Self::HistoryDenied => &["history survives"],
            Self::ReadsNeedDisk => &["reads outlive the disk"],
            Self::NeverRecovers | Self::StatesNotCompared => &["recovers by itself"],
        }
    }
}
