//! Bugs put in on purpose into what members say to each other and into what a disk remembers.
//!
//! Only here the simulator reads the store's records, in their numbered form.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use proto::store as wire;
use raft_store::log::Record;
use raft_store::peers::{PeerReply, PeerRequest, SnapshotBody, message};
use sha2::{Digest as _, Sha256};

use crate::bugs::Bug;

/// Bytes before the first record of a snapshot: magic and format version.
const SNAPSHOT_HEAD: usize = 9;
/// Bytes of the checksum behind the last record.
const SNAPSHOT_CHECKSUM: usize = 32;

/// What a network says for a member that it did not reach.
pub fn append_reply(bug: Option<Bug>, request: &PeerRequest) -> Option<PeerReply> {
    let PeerRequest::Append(_) = request else { return None };
    (bug == Some(Bug::VisibleBeforeCommit)).then(|| {
        let reply = Some(message::append_reply::Reply::Success(true));
        PeerReply::Append(message::AppendReply { reply, marks: Vec::new() })
    })
}

/// What arrives of a request.
pub fn request(bug: Option<Bug>, request: PeerRequest) -> PeerRequest {
    match request {
        PeerRequest::Snapshot(offer, body) if bug == Some(Bug::SnapshotForgets) => {
            let bytes = body.bytes().expect("a snapshot in memory");
            PeerRequest::Snapshot(offer, SnapshotBody::from(without_history(bytes)))
        }
        PeerRequest::Append(request) if bug == Some(Bug::StatesNotCompared) => {
            PeerRequest::Append(message::AppendRequest { agreed: None, ..request })
        }
        other => other,
    }
}

/// What comes back of a reply.
pub fn reply(bug: Option<Bug>, reply: PeerReply) -> PeerReply {
    match reply {
        PeerReply::Append(reply) if bug == Some(Bug::StatesNotCompared) => {
            PeerReply::Append(message::AppendReply { marks: Vec::new(), ..reply })
        }
        other => other,
    }
}

/// What arrives of a snapshot whose connection breaks in the middle; nothing of anything else.
pub fn cut_short(request: PeerRequest) -> Option<PeerRequest> {
    let PeerRequest::Snapshot(offer, body) = request else { return None };
    let bytes = body.bytes().expect("a snapshot in memory");
    Some(PeerRequest::Snapshot(offer, SnapshotBody::from(bytes.slice(..bytes.len() / 2))))
}

/// A snapshot of the same state that remembers nothing before it; one that was cut short stays as it is.
fn without_history(snapshot: Bytes) -> Bytes {
    let (whole, checksum) = snapshot.split_at(snapshot.len().saturating_sub(SNAPSHOT_CHECKSUM));
    if Sha256::digest(whole)[..] != *checksum {
        return snapshot;
    }
    let mut rest = snapshot.slice(SNAPSHOT_HEAD..whole.len());
    let mut next = || {
        let length = rest.get_u32();
        rest.split_to(usize::try_from(length).expect("32 bits"))
    };
    let mut header = wire::SnapshotHeader::decode(next()).expect("the store wrote it");
    let entries: Vec<Bytes> = (0..header.entries).map(|_| next()).collect();
    header.compacted = header.revision;
    header.changes = 0;
    let mut forged = BytesMut::from(&snapshot[..SNAPSHOT_HEAD]);
    for record in [Bytes::from(header.encode_to_vec())].into_iter().chain(entries) {
        forged.put_u32(u32::try_from(record.len()).expect("a small record"));
        forged.put(record);
    }
    let checksum = Sha256::digest(&forged);
    forged.put(&checksum[..]);
    forged.freeze()
}

/// A log record whose command applies whatever the state is.
pub fn unguarded(record: Record) -> Record {
    let format = record.bytes[0];
    let mut entry = wire::LogEntry::decode(record.bytes.slice(1..)).expect("the store wrote it");
    if let Some(wire::log_entry::Payload::Command(command)) = &mut entry.payload
        && let Some(wire::command::Body::Transact(transact)) = &mut command.body
    {
        transact.preconditions.clear();
    }
    let mut bytes = BytesMut::from(&[format][..]);
    entry.encode(&mut bytes).expect("the buffer grows");
    Record { index: record.index, bytes: bytes.freeze() }
}
