//! What a member answers the others.

use futures::future::join_all;
use mvcc::Command;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, ReadPolicy, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use proto::peer as wire;
use proto::store as stored;

use super::convert;
use super::member::{COMMIT_WAIT_MAX, Member};
use super::snapshot::Snapshot;
use super::types::{SnapshotMeta, TypeConfig, Vote};
use crate::peers::{PeerReply, PeerRequest, Refused};

impl Member {
    /// Answers a request that is meant for this member.
    pub(super) async fn answer(&self, request: PeerRequest) -> Result<PeerReply, Refused> {
        match request {
            PeerRequest::Append(request) => self.append(request).await.map(PeerReply::Append),
            PeerRequest::Vote(request) => {
                let answer = self.raft().vote(read_vote_request(request)?).await.map_err(stopped)?;
                Ok(PeerReply::Vote(vote_reply(&answer)))
            }
            PeerRequest::PreVote(request) => {
                let answer = self.raft().pre_vote(read_vote_request(request)?).await.map_err(stopped)?;
                Ok(PeerReply::Vote(vote_reply(&answer)))
            }
            PeerRequest::Snapshot(offer, body) => {
                let (vote, meta) = read_offer(offer)?;
                // Before the engine relies on it: it would take one that cannot be installed for a failed disk.
                if body.0.verified().map_err(malformed)? != meta {
                    return Err(malformed("a snapshot of something else than was offered"));
                }
                let vote = match self.follow_to(vote, &meta).await? {
                    Some(vote) => vote,
                    None => {
                        let snapshot = Snapshot { meta, snapshot: body.0 };
                        self.raft().install_full_snapshot(vote, snapshot).await.map_err(stopped)?.vote
                    }
                };
                self.hear();
                Ok(PeerReply::Snapshot(wire::SnapshotReply { vote: Some(convert::vote(&vote)) }))
            }
            PeerRequest::Transfer(request) => {
                let request = read_transfer(request)?;
                let answer = self.raft().handle_transfer_leader(request).await.map_err(stopped)?;
                Ok(PeerReply::Transfer(wire::TransferReply { accepted: answer.is_ok() }))
            }
            PeerRequest::ReadIndex(_) => {
                let position = match self.raft().get_read_log_id(ReadPolicy::ReadIndex).await {
                    Ok((read, _)) => Some(convert::position(read.log_id())),
                    Err(RaftError::APIError(_)) => None,
                    Err(RaftError::Fatal(fatal)) => return Err(stopped(fatal)),
                };
                Ok(PeerReply::ReadIndex(wire::ReadIndexReply { position }))
            }
            PeerRequest::Propose(request) => self.take(request).await.map(PeerReply::Propose),
            PeerRequest::Admit(request) => self.answer_admission(request).await.map(PeerReply::Admit),
            PeerRequest::Remove(request) => Ok(PeerReply::Remove(self.answer_removal(request).await)),
            PeerRequest::Fetch(request, _) => self.answer_fetch(request).await.map(PeerReply::Fetch),
        }
    }

    async fn append(&self, request: wire::AppendRequest) -> Result<wire::AppendReply, Refused> {
        use wire::append_reply::Reply;
        let (is_heartbeat, agreed) = (request.entries.is_empty(), request.agreed.clone());
        let answer = self.raft().append_entries(read_append(request)?).await.map_err(stopped)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.hear();
            self.soundness().hear(agreed.as_ref());
        }
        let marks = if is_heartbeat { self.soundness().own_marks() } else { Vec::new() };
        let reply = match answer {
            AppendEntriesResponse::Success => Reply::Success(true),
            AppendEntriesResponse::PartialSuccess(Some(last)) => Reply::Partial(convert::position(&last)),
            // Nothing of it, as if what stands before were missing.
            AppendEntriesResponse::PartialSuccess(None) | AppendEntriesResponse::Conflict => {
                Reply::Conflict(true)
            }
            AppendEntriesResponse::HigherVote(vote) => Reply::HigherVote(convert::vote(&vote)),
        };
        Ok(wire::AppendReply { reply: Some(reply), marks })
    }

    /// Takes an offered snapshot for an append of nothing behind its end, and returns the vote to answer with; `None` if
    /// this member's log does not hold that end.
    ///
    /// A leader whose log was shortened while it heard nobody sends a snapshot that may end before the log of its
    /// follower. Installing it would bring nothing, and the engine's cursor of submitted writes would go back.
    async fn follow_to(&self, vote: Vote, meta: &SnapshotMeta) -> Result<Option<Vote>, Refused> {
        let end = meta.last_log_id;
        let nothing =
            AppendEntriesRequest { vote, prev_log_id: end, entries: Vec::new(), leader_commit: end };
        match self.raft().append_entries(nothing).await.map_err(stopped)? {
            AppendEntriesResponse::Success => Ok(Some(vote)),
            AppendEntriesResponse::HigherVote(higher) => Ok(Some(higher)),
            AppendEntriesResponse::Conflict | AppendEntriesResponse::PartialSuccess(_) => Ok(None),
        }
    }

    /// Appends what a follower was asked to write. A request that comes twice is taken once.
    async fn take(&self, request: wire::ProposeRequest) -> Result<wire::ProposeReply, Refused> {
        let commands = read_commands(request.commands)?;
        // Noted whoever leads. Else a copy could be taken after the first was told that nothing was appended, or be told
        // so after the first was taken: and its sender would propose it again.
        let is_new = self.arrivals().is_new(request.sender, request.sequence);
        let leads = self.leads().is_some_and(|term| term.0 == request.term);
        let outcomes = if !is_new {
            commands.iter().map(|_| outcome(wire::propose_outcome::Outcome::Unknown(true))).collect()
        } else if !leads {
            commands.iter().map(|_| not_leader(self.leader_id())).collect()
        } else {
            join_all(commands.into_iter().map(|command| self.take_one(command))).await
        };
        Ok(wire::ProposeReply { outcomes })
    }

    async fn take_one(&self, command: Command) -> wire::ProposeOutcome {
        use wire::propose_outcome::Outcome;
        // Whoever asked has given up by then.
        let appending = tokio::time::timeout(COMMIT_WAIT_MAX, self.append_command(command));
        let Ok(appended) = appending.await else { return outcome(Outcome::Unknown(true)) };
        match appended {
            Ok(position) => outcome(Outcome::Position(position)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                not_leader(forward.leader_id)
            }
            Err(_) => outcome(Outcome::Unknown(true)),
        }
    }
}

fn outcome(outcome: wire::propose_outcome::Outcome) -> wire::ProposeOutcome {
    wire::ProposeOutcome { outcome: Some(outcome) }
}

fn not_leader(leader: Option<u64>) -> wire::ProposeOutcome {
    outcome(wire::propose_outcome::Outcome::NotLeader(wire::NotLeader { leader }))
}

pub(super) fn read_append(request: wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Refused> {
    let entries = request.entries.into_iter().map(convert::read_entry).collect::<Result<_, _>>();
    Ok(AppendEntriesRequest {
        vote: convert::read_vote(request.vote.ok_or_else(|| malformed("no vote"))?),
        prev_log_id: request.previous.map(convert::read_position),
        entries: entries.map_err(malformed)?,
        leader_commit: request.committed.map(convert::read_position),
    })
}

pub(super) fn read_offer(offer: wire::SnapshotOffer) -> Result<(Vote, SnapshotMeta), Refused> {
    let vote = convert::read_vote(offer.vote.ok_or_else(|| malformed("no vote"))?);
    let last_log_id = offer.last.map(convert::read_position);
    let last_membership =
        convert::read_stored_membership(offer.membership.unwrap_or_default()).map_err(malformed)?;
    Ok((vote, SnapshotMeta { last_log_id, last_membership }))
}

pub(super) fn read_transfer(
    request: wire::TransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Refused> {
    let from = convert::read_vote(request.from.ok_or_else(|| malformed("no vote"))?);
    Ok(TransferLeaderRequest::new(from, request.to, request.last.map(convert::read_position)))
}

pub(super) fn read_commands(commands: Vec<stored::Command>) -> Result<Vec<Command>, Refused> {
    commands.into_iter().map(mvcc::wire::read_command).collect::<Result<_, _>>().map_err(malformed)
}

pub(super) fn read_vote_request(request: wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, Refused> {
    Ok(VoteRequest {
        vote: convert::read_vote(request.vote.ok_or_else(|| malformed("no vote"))?),
        last_log_id: request.last.map(convert::read_position),
        leadership_transfer: request.leadership_transfer,
    })
}

fn vote_reply(answer: &VoteResponse<TypeConfig>) -> wire::VoteReply {
    let last: Option<stored::LogPosition> = answer.last_log_id.as_ref().map(convert::position);
    wire::VoteReply { vote: Some(convert::vote(&answer.vote)), granted: answer.vote_granted, last }
}

fn malformed(what: impl std::fmt::Display) -> Refused {
    Refused::Malformed { what: what.to_string() }
}

fn stopped(_: impl std::fmt::Display) -> Refused {
    Refused::Stopped
}
