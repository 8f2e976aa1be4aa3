//! What members say to each other, and the seam it is said through.
//!
//! A [`Transport`] carries one request to a member and its reply back. It may lose either, deliver late, twice or in
//! another order; what the members agree on does not depend on it. Production speaks gRPC over mutual TLS
//! ([`grpc`]); the simulator carries the same requests itself.

pub mod grpc;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
pub use proto::peer as message;
pub use proto::store::Member;

use crate::replica::{Image, Incoming, Snapshots};
use crate::store::MemberId;

/// Carries requests to other members.
pub trait Transport: Send + Sync + 'static {
    /// Carries a request to a member and its reply back. Dropping the future gives up the reply, not the request.
    fn call(
        &self,
        to: MemberId,
        address: &str,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerReply, Unreached>>;
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the member is not reached: {reason}")]
pub struct Unreached {
    /// What happened.
    pub reason: String,
    /// Whether the request may have arrived. When it has for certain not, it may be made again.
    pub may_have_arrived: bool,
}

/// A request was not for this member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It comes from a member of another cluster, or of none.
    #[error("a request from cluster {theirs:?}, this is {ours:?}")]
    Cluster {
        /// The sender's.
        theirs: String,
        /// This member's.
        ours: String,
    },
    /// Another member was meant.
    #[error("a request for member {meant}, this is {ours}")]
    Member {
        /// The addressee.
        meant: u64,
        /// This member.
        ours: u64,
    },
    /// It cannot be read.
    #[error("a request that contradicts itself: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// Only the leader does it.
    #[error("this member does not lead")]
    NotLeader,
    /// This member is shutting down, or its disk has failed.
    #[error("this member does not take part now")]
    Stopped,
}

/// One request.
#[derive(Debug, Clone)]
pub enum PeerRequest {
    /// Log entries, or none: a heartbeat.
    Append(message::AppendRequest),
    /// Asks for a vote.
    Vote(message::VoteRequest),
    /// Asks whether a vote would be given.
    PreVote(message::VoteRequest),
    /// A whole snapshot.
    Snapshot(message::SnapshotOffer, SnapshotBody),
    /// Hands leadership over.
    Transfer(message::TransferRequest),
    /// Asks for the index a read has to wait for.
    ReadIndex(message::ReadIndexRequest),
    /// Proposals for the leader.
    Propose(message::ProposeRequest),
    /// Asks to become a member.
    Admit(message::AdmitRequest),
    /// Asks the leader to remove a member.
    Remove(message::RemoveRequest),
    /// Asks the leader for a whole snapshot, and says where its bytes go.
    Fetch(message::FetchRequest, SnapshotPlace),
}

/// The reply to a request of the same name.
#[derive(Debug, Clone)]
pub enum PeerReply {
    /// To [`PeerRequest::Append`].
    Append(message::AppendReply),
    /// To [`PeerRequest::Vote`] and [`PeerRequest::PreVote`].
    Vote(message::VoteReply),
    /// To [`PeerRequest::Snapshot`].
    Snapshot(message::SnapshotReply),
    /// To [`PeerRequest::Transfer`].
    Transfer(message::TransferReply),
    /// To [`PeerRequest::ReadIndex`].
    ReadIndex(message::ReadIndexReply),
    /// To [`PeerRequest::Propose`].
    Propose(message::ProposeReply),
    /// To [`PeerRequest::Admit`].
    Admit(message::AdmitReply),
    /// To [`PeerRequest::Remove`].
    Remove(message::RemoveReply),
    /// To [`PeerRequest::Fetch`].
    Fetch(SnapshotBody),
}

impl PeerRequest {
    /// From whom and for whom it is.
    pub fn envelope(&self) -> Option<&message::Envelope> {
        match self {
            Self::Append(request) => request.envelope.as_ref(),
            Self::Vote(request) | Self::PreVote(request) => request.envelope.as_ref(),
            Self::Snapshot(offer, _) => offer.envelope.as_ref(),
            Self::Transfer(request) => request.envelope.as_ref(),
            Self::ReadIndex(request) => request.envelope.as_ref(),
            Self::Propose(request) => request.envelope.as_ref(),
            Self::Admit(request) => request.envelope.as_ref(),
            Self::Remove(request) => request.envelope.as_ref(),
            Self::Fetch(request, _) => request.envelope.as_ref(),
        }
    }
}

/// Where the bytes of a snapshot go that a member asked for.
#[derive(Debug, Clone)]
pub struct SnapshotPlace(pub(crate) Snapshots);

impl SnapshotPlace {
    /// For who answers: the place is the asker's own affair.
    pub(crate) fn nowhere() -> Self {
        Self(Snapshots::nowhere())
    }

    /// Begins to take them.
    ///
    /// # Errors
    /// The disk takes nothing.
    pub fn receive(&self) -> io::Result<SnapshotReceiver> {
        Ok(SnapshotReceiver(Incoming::new(&self.0)?))
    }
}

/// Takes a snapshot's bytes, and refuses them as soon as they cannot be one.
pub struct SnapshotReceiver(pub(crate) Incoming);

impl SnapshotReceiver {
    /// Takes some more. Waits for a disk.
    ///
    /// # Errors
    /// They are damaged ([`io::ErrorKind::InvalidData`]), or the disk takes nothing.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    /// Everything has come; it is whole and on disk then.
    ///
    /// # Errors
    /// It is not whole ([`io::ErrorKind::InvalidData`]), or the disk takes nothing.
    pub fn finish(self) -> io::Result<SnapshotBody> {
        self.0.finish().map(SnapshotBody)
    }
}

/// The bytes of a snapshot on their way. Clones share them.
#[derive(Clone)]
pub struct SnapshotBody(pub(crate) Image);

impl SnapshotBody {
    /// Reads them from the beginning. Waits for a disk.
    ///
    /// # Errors
    /// The file is gone: a newer snapshot has replaced it.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        self.0.reader()
    }

    /// All of them, for transports that stay in memory.
    ///
    /// # Errors
    /// As [`SnapshotBody::reader`].
    pub fn bytes(&self) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        self.reader()?.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl From<Bytes> for SnapshotBody {
    fn from(bytes: Bytes) -> Self {
        Self(Image::Memory(bytes))
    }
}

impl fmt::Debug for SnapshotBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SnapshotBody")
    }
}

/// What makes a store one of several members.
#[derive(Clone)]
pub struct Peering {
    /// Identity of the cluster; requests of another one are refused.
    pub cluster: Arc<str>,
    /// `host:port` where the others reach this member.
    pub address: Arc<str>,
    /// How it reaches them.
    pub transport: Arc<dyn Transport>,
    /// What to do with an empty medium.
    pub begin: Begin,
}

/// How a member without data begins. One that has data goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// As the only member of a new cluster.
    Found,
    /// As nobody, until a cluster admits it.
    Join,
}

impl fmt::Debug for Peering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, address, begin, .. } = self;
        write!(formatter, "Peering {{ {cluster}, {address}, {begin:?} }}")
    }
}
