//! How an engine reaches the others: its words become messages, and replies its words again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use proto::peer as wire;

use super::convert;
use super::snapshot::{Image, Snapshot};
use super::soundness::Soundness;
use super::types::{Peer, TypeConfig, Vote};
use crate::peers::{Begin, PeerReply, PeerRequest, Peering, SnapshotBody, Unreached};
use crate::store::MemberId;

/// A reply waits for the follower's disk.
const APPEND_WAIT_MAX: Duration = Duration::from_secs(3);

/// A snapshot waits for its transfer and for the follower to load it.
pub(super) const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(300);

/// Makes a client for each member.
#[derive(Clone)]
pub(crate) struct Peers {
    me: MemberId,
    peering: Option<Arc<Peering>>,
    soundness: Arc<Soundness>,
}

/// The client for one member.
#[derive(Clone)]
pub(crate) struct PeerClient {
    me: MemberId,
    member: MemberId,
    address: String,
    peering: Option<Arc<Peering>>,
    soundness: Arc<Soundness>,
}

impl Peers {
    pub(crate) fn new(me: MemberId, peering: Option<Arc<Peering>>, soundness: Arc<Soundness>) -> Self {
        Self { me, peering, soundness }
    }

    pub(crate) fn own_address(&self) -> Option<Arc<str>> {
        self.peering.as_ref().map(|peering| peering.address.clone())
    }

    /// What to do with an empty medium.
    pub(crate) fn begin(&self) -> Begin {
        self.peering.as_ref().map_or(Begin::Found, |peering| peering.begin)
    }

    pub(crate) fn client(&self, member: MemberId, address: &str) -> PeerClient {
        let (peering, soundness) = (self.peering.clone(), self.soundness.clone());
        PeerClient { me: self.me, member, address: address.to_owned(), peering, soundness }
    }
}

impl PeerClient {
    /// Sends a request and waits for its reply, so long and no longer.
    pub(crate) async fn call(&self, request: PeerRequest, within: Duration) -> Result<PeerReply, Unreached> {
        let Some(peering) = &self.peering else { return Err(unsent("this store has no peers")) };
        if self.address.is_empty() {
            return Err(unsent("its address is not known"));
        }
        let calling = peering.transport.call(self.member, &self.address, request);
        tokio::time::timeout(within, calling).await.unwrap_or_else(|_| {
            Err(Unreached { reason: format!("no reply in {within:?}"), may_have_arrived: true })
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the field of every message is optional")]
    pub(crate) fn envelope(&self) -> Option<wire::Envelope> {
        let cluster = self.peering.as_ref().map(|peering| peering.cluster.to_string()).unwrap_or_default();
        Some(wire::Envelope { cluster, from: self.me.0, to: self.member.0 })
    }

    fn unreachable(&self, error: impl std::fmt::Display) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!("member {} at {}: {error}", self.member, self.address))
    }

    async fn ask_for_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        request: impl FnOnce(wire::VoteRequest) -> PeerRequest,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::VoteRequest {
            envelope: self.envelope(),
            vote: Some(convert::vote(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(convert::position),
            leadership_transfer: rpc.leadership_transfer,
        };
        match self.call(request(message), option.hard_ttl()).await {
            Ok(PeerReply::Vote(wire::VoteReply { vote: Some(vote), granted, last })) => Ok(VoteResponse {
                vote: convert::read_vote(vote),
                vote_granted: granted,
                last_log_id: last.map(convert::read_position),
            }),
            Ok(_) => Err(self.unreachable("a reply to another question").into()),
            Err(error) => Err(self.unreachable(error).into()),
        }
    }
}

fn unsent(reason: &str) -> Unreached {
    Unreached { reason: reason.to_owned(), may_have_arrived: false }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerClient {
        self.client(MemberId(target), &node.address)
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        // No more than a message holds, see `limited_get_log_entries`.
        let entries: Vec<_> = rpc.entries.iter().map(convert::entry).collect();
        // Under load too there are heartbeats, and the others are spared.
        let agreed = if entries.is_empty() { self.soundness.agreed() } else { None };
        let message = wire::AppendRequest {
            agreed,
            envelope: self.envelope(),
            vote: Some(convert::vote(&rpc.vote)),
            previous: rpc.prev_log_id.as_ref().map(convert::position),
            committed: rpc.leader_commit.as_ref().map(convert::position),
            entries,
        };
        let within = option.hard_ttl().max(APPEND_WAIT_MAX);
        match self.call(PeerRequest::Append(message), within).await {
            Ok(PeerReply::Append(wire::AppendReply { reply: Some(reply), marks })) => {
                self.soundness.hear_of(self.member.0, &marks);
                Ok(match reply {
                    wire::append_reply::Reply::Success(_) => AppendEntriesResponse::Success,
                    wire::append_reply::Reply::Partial(last) => {
                        AppendEntriesResponse::PartialSuccess(Some(convert::read_position(last)))
                    }
                    wire::append_reply::Reply::Conflict(_) => AppendEntriesResponse::Conflict,
                    wire::append_reply::Reply::HigherVote(vote) => {
                        AppendEntriesResponse::HigherVote(convert::read_vote(vote))
                    }
                })
            }
            Ok(_) => Err(self.unreachable("a reply to another question").into()),
            Err(error) => Err(self.unreachable(error).into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, PeerRequest::Vote, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, PeerRequest::PreVote, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let offer = wire::SnapshotOffer {
            envelope: self.envelope(),
            vote: Some(convert::vote(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(convert::position),
            membership: Some(convert::stored_membership(&snapshot.meta.last_membership)),
            id: String::new(),
            bytes: 0,
        };
        let request = PeerRequest::Snapshot(offer, SnapshotBody(snapshot.snapshot));
        let sending = self.call(request, SNAPSHOT_WAIT_MAX);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            reply = sending => match reply {
                Ok(PeerReply::Snapshot(wire::SnapshotReply { vote: Some(vote) })) => {
                    Ok(SnapshotResponse::new(convert::read_vote(vote)))
                }
                Ok(_) => Err(self.unreachable("a reply to another question").into()),
                Err(error) => Err(self.unreachable(error).into()),
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::TransferRequest {
            envelope: self.envelope(),
            from: Some(convert::vote(req.from_leader())),
            to: *req.to_node_id(),
            last: req.last_log_id().map(convert::position),
        };
        match self.call(PeerRequest::Transfer(message), option.hard_ttl()).boxed().await {
            Ok(PeerReply::Transfer(wire::TransferReply { accepted: true })) => Ok(Ok(())),
            Ok(PeerReply::Transfer(_)) => {
                let expected = req.last_log_id().copied();
                Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
            }
            Ok(_) => Err(self.unreachable("a reply to another question").into()),
            Err(error) => Err(self.unreachable(error).into()),
        }
    }
}
