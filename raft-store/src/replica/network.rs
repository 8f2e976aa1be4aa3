//! How members reach each other.
//!
//! A cluster has one member so far. The factory exists because Raft asks for one; the clients it makes
//! say which member cannot be reached and why, and never pretend a grant.

use std::future::Future;

use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use super::snapshot::{Image, Snapshot};
use super::types::{Peer, TypeConfig, Vote};

/// Makes a client for each member.
#[derive(Debug, Default)]
pub(crate) struct Peers;

/// The client for one member.
#[derive(Debug)]
pub(crate) struct PeerClient {
    member: u64,
    address: String,
}

impl PeerClient {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let Self { member, address } = self;
        Unreachable::from_string(match address.is_empty() {
            true => format!("member {member} is unknown: it has no address"),
            false => format!("member {member} at {address} is not reached: peers are not connected yet"),
        })
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerClient {
        PeerClient { member: target, address: node.address.clone() }
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    /// The default grants without asking; a member that cannot be reached must not.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
