//! The types openraft is used with.

use std::fmt;
use std::sync::Arc;

use mvcc::Command;

/// A command on its way through the log. A clone is a reference count: the object bytes of a proposal
/// are never copied between its caller, the log's tail in memory and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Arc<Command>);

impl fmt::Display for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "proposal {:032x}", self.0.proposal.0)
    }
}

/// How a member is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Peer {
    /// `host:port`; empty while the member has no peers.
    pub(crate) address: String,
}

/// Tasks and timers are tokio's; random numbers follow from the seed of the scope Raft is started in.
pub(crate) type Runtime = openraft::impls::TokioRuntime;

type SeededRuntime = openraft::rt::deterministic_rng::DeterministicRng<Runtime>;

openraft::declare_raft_types!(
    /// The one configuration of openraft.
    pub(crate) TypeConfig:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = Peer,
        // One leader a term, as in Raft's own paper: a fence names nothing but a term.
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = SeededRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, super::Applier>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
