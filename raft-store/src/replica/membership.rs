//! Who belongs to the cluster: admitting a member, removing one, handing leadership over.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
#[cfg(test)]
use openraft::EntryPayload;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::rt::{Instant as _, WatchReceiver as _};
use proto::peer as wire;
use proto::store as stored;
use tokio::time::Instant;

use super::member::Member;
#[cfg(test)]
use super::types::Membership;
use super::types::{LogId, Peer, StoredMembership};
use crate::peers::Refused;
use crate::store::MemberId;

/// Entries a newcomer may lack when it becomes a voter. The rest is caught up within one round.
const LAG_MAX: u64 = 256;
/// How long a newcomer may take to catch up before it is told to ask again.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// Between two attempts of a leader that waits for its first quorum.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a change of members may take to commit.
pub(super) const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a leader may take to hear of a quorum before it says that there is none.
const HEARING_MAX: Duration = Duration::from_secs(1);
/// How long a handover may hold up a shutdown, or a removal.
pub(super) const HANDOVER_MAX: Duration = Duration::from_millis(250);
/// A voter that has not answered for so long does not count when another is removed: twenty heartbeats.
const LIVE_MAX: Duration = Duration::from_secs(2);

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Who it is.
    pub id: MemberId,
    /// `host:port` where the others reach it.
    pub address: String,
    /// Whether its vote counts; a learner only listens.
    pub is_voter: bool,
}

/// Why the members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes members.
    #[error("this member does not lead")]
    NotLeader {
        /// Who does, if known.
        leader: Option<MemberId>,
    },
    /// The newcomer is known and does not catch up; asking again goes on from there.
    #[error("member {member} does not catch up")]
    Behind {
        /// The newcomer.
        member: MemberId,
    },
    /// Another member has that address, or this id another one.
    #[error("member {member} is at {address}")]
    Taken {
        /// Who is there.
        member: MemberId,
        /// Where.
        address: String,
    },
    /// The last voter cannot be removed.
    #[error("member {member} is the last voter")]
    Last {
        /// It.
        member: MemberId,
    },
    /// Without it the voters that answer would be no quorum, and could not even take it back.
    #[error("without member {member} {live} of {voters} voters would answer, which is no quorum")]
    Unsafe {
        /// Who should go.
        member: MemberId,
        /// Voters that would be left and have answered lately.
        live: usize,
        /// Voters that would be left.
        voters: usize,
    },
    /// The leader does not do it, in its own words.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The change may or may not have happened; looking at the members tells.
    #[error("the change did not complete: {reason}")]
    Unknown {
        /// What the engine said.
        reason: String,
    },
}

impl Member {
    /// The members, as the newest membership in the log has them.
    pub(super) fn members(&self) -> Vec<MemberInfo> {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        let membership = now.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let info = |(id, peer): (&u64, &Peer)| MemberInfo {
            id: MemberId(*id),
            address: peer.address.clone(),
            is_voter: voters.contains(id),
        };
        membership.nodes().map(info).collect()
    }

    /// Where the newest membership stands in the log; it changes whenever the members do.
    pub(super) fn membership_position(&self) -> Option<LogId> {
        *self.metrics().borrow_watched().membership_config.log_id()
    }

    /// Whether nobody is half in and nobody half out: the newest membership in this member's log is no joint one, and
    /// committed as far as this member knows.
    pub(super) fn is_settled(&self) -> bool {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        !is_joint(&now.membership_config)
            && now.membership_config.log_id() == now.committed_membership_config.log_id()
    }

    /// Writes the first of the two entries of a change of voters, and no more: what a leader leaves that ends then.
    #[cfg(test)]
    pub(super) async fn half_change(&self, voters: Vec<BTreeSet<u64>>) {
        let nodes = {
            let metrics = self.metrics();
            let now = metrics.borrow_watched();
            now.membership_config.membership().nodes().map(|(id, peer)| (*id, peer.clone())).collect()
        };
        let nodes: std::collections::BTreeMap<u64, Peer> = nodes;
        let joint = Membership::new(voters, nodes).expect("voters that are members");
        self.raft().append_membership(joint, EntryPayload::Blank, []).await.expect("a leader");
    }

    /// Ends the change that another leader has begun, if one has: half changed, the members need a quorum of the old ones
    /// besides one of the new, and a lost disk may be one too many.
    pub(super) async fn settle(&self) -> Result<(), MembershipError> {
        self.lead_or_say()?;
        let mut metrics = self.metrics();
        if is_joint(&metrics.borrow_watched().membership_config) {
            // Who is a voter no more was to leave: as a listener a leader would go on leading.
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), false).await?;
        }
        let deadline = Instant::now() + CHANGE_MAX;
        while !self.is_settled() {
            self.lead_or_say()?;
            if !matches!(tokio::time::timeout_at(deadline, metrics.changed()).await, Ok(Ok(()))) {
                return Err(MembershipError::Unknown { reason: "the last change is not committed".into() });
            }
        }
        self.lead_or_say()
    }

    /// Makes a newcomer a learner, waits until it has caught up, and makes it a voter. Harmless when it is one.
    pub(super) async fn admit(&self, id: MemberId, address: &str) -> Result<(), MembershipError> {
        self.settle().await?;
        let members = self.members();
        let other = members.iter().find(|member| (member.id == id) != (member.address == address));
        if let Some(other) = other {
            return Err(MembershipError::Taken { member: other.id, address: other.address.clone() });
        }
        if members.iter().any(|member| member.id == id && member.is_voter) {
            return Ok(());
        }
        self.give_up_soleness();
        self.tell_own_address(&members).await?;
        if !members.iter().any(|member| member.id == id) {
            let peer = Peer { address: address.to_owned() };
            self.change(ChangeMembers::AddNodes([(id.0, peer)].into()), true).await?;
        }
        self.caught_up(id).await?;
        self.change(ChangeMembers::AddVoterIds([id.0].into()), true).await
    }

    /// A member that founded its cluster before it had an address, or has another one now, tells it before there is
    /// anybody who needs it.
    async fn tell_own_address(&self, members: &[MemberInfo]) -> Result<(), MembershipError> {
        let Some(address) = self.own_address() else { return Ok(()) };
        if members.iter().any(|member| member.id == self.id() && *member.address == *address) {
            return Ok(());
        }
        let peer = Peer { address: address.to_string() };
        self.change(ChangeMembers::SetNodes([(self.id().0, peer)].into()), true).await
    }

    /// Takes a member's vote and its place.
    pub(super) async fn remove(&self, id: MemberId) -> Result<(), MembershipError> {
        self.settle().await?;
        let members = self.members();
        if !members.iter().any(|member| member.id == id) {
            return Ok(());
        }
        if members.iter().any(|member| member.is_voter && member.id == id) {
            if members.iter().filter(|member| member.is_voter).count() == 1 {
                return Err(MembershipError::Last { member: id });
            }
            self.stays_able(id, &members).await?;
            self.change(ChangeMembers::RemoveVoters([id.0].into()), false).await
        } else {
            self.change(ChangeMembers::RemoveNodes([id.0].into()), false).await
        }
    }

    /// Whether the voters that are left could still commit. One that has just been elected hears of them in a moment.
    async fn stays_able(&self, id: MemberId, members: &[MemberInfo]) -> Result<(), MembershipError> {
        let left: Vec<MemberId> = members
            .iter()
            .filter(|member| member.is_voter && member.id != id)
            .map(|member| member.id)
            .collect();
        let (voters, deadline) = (left.len(), Instant::now() + HEARING_MAX);
        loop {
            let answered = self.answered();
            let is_live = |voter: &&MemberId| {
                let since = answered.iter().find(|(other, _)| other == *voter).and_then(|(_, since)| *since);
                **voter == self.id() || since.is_some_and(|since| since < LIVE_MAX)
            };
            let live = left.iter().filter(is_live).count();
            if live > voters / 2 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(MembershipError::Unsafe { member: id, live, voters });
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The other members and how long ago each answered this one, if it leads.
    pub(super) fn answered(&self) -> Vec<(MemberId, Option<Duration>)> {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        let all = now.heartbeat.iter().flatten().filter(|(id, _)| **id != self.id().0);
        all.map(|(id, acked)| (MemberId(*id), acked.map(|acked| acked.elapsed()))).collect()
    }

    /// Answers a member that was asked to remove another.
    pub(super) async fn answer_removal(&self, request: wire::RemoveRequest) -> wire::RemoveReply {
        use wire::remove_reply::Reply;
        if request.id == self.id().0 {
            // The next leader does it.
            self.hand_over(HANDOVER_MAX).await;
            return wire::RemoveReply { reply: Some(Reply::NotLeader(true)) };
        }
        let reply = match self.remove(MemberId(request.id)).await {
            Ok(()) => Reply::Removed(true),
            Err(MembershipError::NotLeader { .. }) => Reply::NotLeader(true),
            Err(MembershipError::Unknown { reason }) => Reply::Unknown(reason),
            Err(refused) => Reply::Refused(refused.to_string()),
        };
        wire::RemoveReply { reply: Some(reply) }
    }

    /// Changes the members; `retain` keeps a voter that is removed as a learner.
    async fn change(&self, change: ChangeMembers<u64, Peer>, retain: bool) -> Result<(), MembershipError> {
        let before = self.membership_position();
        let changing = async {
            loop {
                match self.raft().change_membership(change.clone(), retain).await {
                    Ok(_) => return Ok(()),
                    // Just elected, and no quorum has answered yet. Nothing was appended.
                    Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))
                        if forward.leader_id.is_none() && self.leads().is_some() => {}
                    // Another change is under way.
                    Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                        ChangeMembershipError::InProgress(_),
                    ))) => {}
                    // Without the first of two entries in the log; with it nobody knows.
                    Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))
                        if self.membership_position() == before =>
                    {
                        return Err(MembershipError::NotLeader { leader: forward.leader_id.map(MemberId) });
                    }
                    Err(error) => return Err(MembershipError::Unknown { reason: error.to_string() }),
                }
                tokio::time::sleep(RETRY_PAUSE).await;
                // The change that was under way may have been this member's own end.
                self.lead_or_say()?;
            }
        };
        tokio::time::timeout(CHANGE_MAX, changing).await.unwrap_or_else(|_| {
            Err(MembershipError::Unknown { reason: format!("no answer in {CHANGE_MAX:?}") })
        })
    }

    fn lead_or_say(&self) -> Result<(), MembershipError> {
        if self.leads().is_none() {
            return Err(MembershipError::NotLeader { leader: self.leader_id().map(MemberId) });
        }
        // One that was removed and is elected by those who have not heard of it leads until they have.
        let is_voter = self.members().iter().any(|member| member.id == self.id() && member.is_voter);
        if is_voter { Ok(()) } else { Err(MembershipError::NotLeader { leader: None }) }
    }

    async fn caught_up(&self, id: MemberId) -> Result<(), MembershipError> {
        let mut metrics = self.metrics();
        let behind = || MembershipError::Behind { member: id };
        let deadline = Instant::now() + CATCH_UP_MAX;
        loop {
            {
                let now = metrics.borrow_watched();
                let last = now.last_log_index.unwrap_or_default();
                let replication = now.replication.as_ref();
                let matched = replication.and_then(|all| all.get(&id.0)).and_then(Option::as_ref);
                if matched.is_some_and(|matched| matched.index() + LAG_MAX >= last) {
                    return Ok(());
                }
                if replication.is_none() {
                    return Err(MembershipError::NotLeader { leader: now.current_leader.map(MemberId) });
                }
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(behind()),
            }
        }
    }

    /// Hands leadership to the voter that is furthest, if there is one, and waits until somebody else leads.
    pub(super) async fn hand_over(&self, within: Duration) -> bool {
        let Some(term) = self.leads() else { return true };
        let mut metrics = self.metrics();
        let heir = {
            let now = metrics.borrow_watched();
            let voters: BTreeSet<u64> = now.membership_config.membership().voter_ids().collect();
            let others = now.replication.iter().flat_map(|all| all.iter());
            let others = others.filter(|(id, _)| **id != self.id().0 && voters.contains(id));
            others.max_by_key(|(id, matched)| (**matched, std::cmp::Reverse(**id))).map(|(id, _)| *id)
        };
        let Some(heir) = heir else { return false };
        if self.raft().trigger().transfer_leader(heir).await.is_err() {
            return false;
        }
        let deadline = Instant::now() + within;
        loop {
            {
                let now = metrics.borrow_watched();
                let others_lead = now.current_leader.is_some_and(|leader| leader != self.id().0);
                if now.current_term > term.0 && others_lead {
                    return true;
                }
            }
            if !matches!(tokio::time::timeout_at(deadline, metrics.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    /// Answers a newcomer that asks to be admitted.
    pub(super) async fn answer_admission(
        &self,
        request: wire::AdmitRequest,
    ) -> Result<wire::AdmitReply, Refused> {
        let newcomer = request.member.ok_or_else(|| Refused::Malformed { what: "no member".into() })?;
        match self.admit(MemberId(newcomer.id), &newcomer.address).await {
            Ok(()) => Ok(wire::AdmitReply { admitted: true, ..wire::AdmitReply::default() }),
            Err(MembershipError::NotLeader { leader }) => {
                let members = self.members();
                let leader = members.into_iter().find(|member| Some(member.id) == leader);
                let leader = leader.map(|member| stored::Member { id: member.id.0, address: member.address });
                Ok(wire::AdmitReply { leader, ..wire::AdmitReply::default() })
            }
            Err(
                error @ (MembershipError::Taken { .. }
                | MembershipError::Last { .. }
                | MembershipError::Unsafe { .. }
                | MembershipError::Refused { .. }),
            ) => Ok(wire::AdmitReply { refused: error.to_string(), ..wire::AdmitReply::default() }),
            Err(MembershipError::Behind { .. } | MembershipError::Unknown { .. }) => {
                Ok(wire::AdmitReply::default())
            }
        }
    }
}

/// Whether it has the voters before a change besides those after it.
fn is_joint(membership: &StoredMembership) -> bool {
    membership.membership().get_joint_config().len() > 1
}
