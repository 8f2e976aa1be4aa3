//! The readers of what a disk or a member says, each by itself: bytes in, their meaning in canonical bytes out.
//!
//! A running member calls the same readers one layer further in. They stand here for those who feed them lies: none may
//! panic, none may allocate what a length merely claims, and what is read and written again must read the same.

use std::io;

use bytes::Bytes;
use prost::Message;
use proto::peer as wire;

use super::ledger::Mark;
use super::{answer, convert, snapshot};
use crate::log::{self, Op};
use crate::peers::Refused;

/// The batches that bytes hold as frames, from the beginning of a log.
///
/// # Errors
/// A frame is damaged.
pub fn frames(bytes: &Bytes) -> io::Result<Vec<Vec<Op>>> {
    log::frames(bytes)
}

/// Batches as they are stored.
pub fn framed(batches: &[Vec<Op>]) -> Bytes {
    log::framed(batches)
}

/// A log entry as it is stored; members send the same message.
///
/// # Errors
/// It is none.
pub fn log_entry(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::entry(&convert::read_entry(convert::read_record(stored)?)?)))
}

/// A vote as it is stored; members send the same message.
///
/// # Errors
/// It is none.
pub fn vote(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::vote(&convert::read_vote(convert::read_record(stored)?))))
}

/// A position in the log as it is stored.
///
/// # Errors
/// It is none.
pub fn position(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::position(&convert::read_position(convert::read_record(stored)?))))
}

/// A membership as a snapshot holds it.
///
/// # Errors
/// It is none.
pub fn membership(stored: Bytes) -> io::Result<Bytes> {
    let read = convert::read_stored_membership(convert::read_record(stored)?)?;
    Ok(convert::record(&convert::stored_membership(&read)))
}

/// A whole snapshot.
///
/// # Errors
/// It is none, or a damaged one.
pub fn snapshot(file: &[u8]) -> io::Result<Vec<u8>> {
    snapshot::again(file)
}

/// A request of another member, by the number of its method: what this member makes of it before the engine hears of it,
/// as a message again.
///
/// # Errors
/// It is none, or contradicts itself.
pub fn peer_request(method: u8, message: Bytes) -> io::Result<Bytes> {
    let again = match method % 5 {
        0 => again(message, append),
        1 => again(message, vote_request),
        2 => again(message, offer),
        3 => again(message, transfer),
        _ => again(message, propose),
    };
    again.map_err(io::Error::other)
}

fn again<M: Message + Default>(message: Bytes, read: fn(M) -> Result<M, Refused>) -> Result<Bytes, Refused> {
    let message = M::decode(message).map_err(|error| Refused::Malformed { what: error.to_string() })?;
    Ok(read(message)?.encode_to_vec().into())
}

fn append(request: wire::AppendRequest) -> Result<wire::AppendRequest, Refused> {
    let (envelope, agreed) = (request.envelope.clone(), request.agreed.as_ref().and_then(Mark::read));
    let read = answer::read_append(request)?;
    Ok(wire::AppendRequest {
        envelope,
        agreed: agreed.map(Mark::to_wire),
        vote: Some(convert::vote(&read.vote)),
        previous: read.prev_log_id.as_ref().map(convert::position),
        committed: read.leader_commit.as_ref().map(convert::position),
        entries: read.entries.iter().map(convert::entry).collect(),
    })
}

fn vote_request(request: wire::VoteRequest) -> Result<wire::VoteRequest, Refused> {
    let envelope = request.envelope.clone();
    let read = answer::read_vote_request(request)?;
    Ok(wire::VoteRequest {
        envelope,
        vote: Some(convert::vote(&read.vote)),
        last: read.last_log_id.as_ref().map(convert::position),
        leadership_transfer: read.leadership_transfer,
    })
}

fn offer(offer: wire::SnapshotOffer) -> Result<wire::SnapshotOffer, Refused> {
    let (vote, meta) = answer::read_offer(offer.clone())?;
    Ok(wire::SnapshotOffer {
        vote: Some(convert::vote(&vote)),
        last: meta.last_log_id.as_ref().map(convert::position),
        membership: Some(convert::stored_membership(&meta.last_membership)),
        ..offer
    })
}

fn transfer(request: wire::TransferRequest) -> Result<wire::TransferRequest, Refused> {
    let envelope = request.envelope.clone();
    let read = answer::read_transfer(request)?;
    Ok(wire::TransferRequest {
        envelope,
        from: Some(convert::vote(read.from_leader())),
        to: *read.to_node_id(),
        last: read.last_log_id().map(convert::position),
    })
}

fn propose(request: wire::ProposeRequest) -> Result<wire::ProposeRequest, Refused> {
    let read = answer::read_commands(request.commands)?;
    Ok(wire::ProposeRequest { commands: read.iter().map(mvcc::wire::command).collect(), ..request })
}
