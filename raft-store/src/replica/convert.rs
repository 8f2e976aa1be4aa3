//! Between openraft's words and their numbered form. Stored records carry a format version first.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::vote::RaftLeaderId as _;
use prost::Message;
use proto::FORMAT_VERSION;
use proto::store as wire;

use super::types::{Entry, LogId, Membership, Peer, Proposal, StoredMembership, TypeConfig, Vote};
use crate::log::Record;

type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;

/// A stored record: the format version, then the message.
pub(super) fn record(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(FORMAT_VERSION);
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// Reads a stored record; object bytes are slices of it.
pub(super) fn read_record<M: Message + Default>(mut bytes: Bytes) -> io::Result<M> {
    if bytes.first() != Some(&FORMAT_VERSION) {
        return Err(damaged("a record of an unknown format"));
    }
    let _ = bytes.split_to(1);
    M::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn position(log_id: &LogId) -> wire::LogPosition {
    // The term alone says who led: `leader` is not read.
    wire::LogPosition { term: log_id.committed_leader_id().term, leader: 0, index: log_id.index() }
}

pub(super) fn read_position(position: wire::LogPosition) -> LogId {
    LogId::new(LeaderId::new(position.term, position.leader).to_committed(), position.index)
}

pub(super) fn vote(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, member: vote.leader_id.voted_for, committed: vote.committed }
}

pub(super) fn read_vote(vote: wire::Vote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.member)
    } else {
        Vote::new(vote.term, vote.member)
    }
}

pub(super) fn membership(membership: &Membership) -> wire::Membership {
    let voters = membership.get_joint_config().iter();
    let members =
        membership.nodes().map(|(id, peer)| wire::Member { id: *id, address: peer.address.clone() });
    wire::Membership {
        position: None,
        voters: voters.map(|ids| wire::VoterSet { ids: ids.iter().copied().collect() }).collect(),
        members: members.collect(),
    }
}

pub(super) fn read_membership(message: wire::Membership) -> io::Result<Membership> {
    let voters = message.voters.into_iter().map(|set| set.ids.into_iter().collect::<BTreeSet<u64>>());
    let members = message.members.into_iter().map(|member| (member.id, Peer { address: member.address }));
    let members: std::collections::BTreeMap<u64, Peer> = members.collect();
    Membership::new(voters.collect(), members).map_err(|_| damaged("a membership that contradicts itself"))
}

pub(super) fn stored_membership(stored: &StoredMembership) -> wire::Membership {
    wire::Membership { position: stored.log_id().as_ref().map(position), ..membership(stored.membership()) }
}

pub(super) fn read_stored_membership(message: wire::Membership) -> io::Result<StoredMembership> {
    let log_id = message.position.map(read_position);
    if log_id.is_none() && message.voters.is_empty() {
        return Ok(StoredMembership::default());
    }
    Ok(StoredMembership::new(log_id, read_membership(message)?))
}

pub(super) fn entry(entry: &Entry) -> wire::LogEntry {
    use wire::log_entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Normal(proposal) => Payload::Command(mvcc::wire::command(&proposal.0)),
        EntryPayload::Membership(changed) => Payload::Membership(membership(changed)),
    };
    wire::LogEntry { position: Some(position(&entry.log_id())), payload: Some(payload) }
}

/// Reads an entry where it is stored.
pub(super) fn read_log_record(stored: Record) -> io::Result<Entry> {
    let entry = read_entry(read_record(stored.bytes)?)?;
    if entry.log_id.index() != stored.index {
        return Err(damaged("a log entry in another's place"));
    }
    Ok(entry)
}

pub(super) fn read_entry(message: wire::LogEntry) -> io::Result<Entry> {
    use wire::log_entry::Payload;
    let log_id = read_position(message.position.ok_or_else(|| damaged("a log entry without a position"))?);
    let payload = match message.payload.ok_or_else(|| damaged("a log entry without a payload"))? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(command) => {
            let command = mvcc::wire::read_command(command)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            EntryPayload::Normal(Proposal(Arc::new(command)))
        }
        Payload::Membership(changed) => EntryPayload::Membership(read_membership(changed)?),
    };
    Ok(Entry::new(log_id, payload))
}
