//! What lies on a disk and what members send: log, entries, commands, snapshots.

use bytes::Bytes;
use mvcc::records::{Restorer, changes, entries};
use mvcc::{Command, Revision, State, Term, wire};
use prost::Message;
use proto::store;
use raft_store::log::{Op, Record};
use raft_store::untrusted;
use sha2::{Digest, Sha256};

use crate::document::pieces;

/// Frames of the log: first as they come, then good ones with one bit turned.
pub fn frames(data: &[u8]) {
    if let Ok(batches) = untrusted::frames(&Bytes::copy_from_slice(data)) {
        assert_eq!(untrusted::frames(&untrusted::framed(&batches)).expect("own frames"), batches);
    }
    one_bit_turned(data);
}

fn one_bit_turned(data: &[u8]) {
    let batches: Vec<Vec<Op>> =
        (7..).zip(pieces(data)).map(|(index, piece)| vec![append(index, piece)]).collect();
    if batches.is_empty() {
        return;
    }
    let mut turned = untrusted::framed(&batches).to_vec();
    let sum = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(131).wrapping_add((*byte).into()));
    let bit = sum % (turned.len() * 8);
    turned[bit / 8] ^= 1 << (bit % 8);
    match untrusted::frames(&turned.into()) {
        Err(_) => {}
        // A frame that does not fit is the end: a crash tears the last one.
        Ok(read) => {
            assert!(read.len() < batches.len() && batches.starts_with(&read), "bit {bit} turned unnoticed")
        }
    }
}

fn append(index: u64, piece: &[u8]) -> Op {
    Op::Append(vec![Record { index, bytes: Bytes::copy_from_slice(piece) }])
}

/// Entries, votes, positions and memberships.
pub fn log_entry(data: &[u8]) {
    let readers = [untrusted::log_entry, untrusted::vote, untrusted::position, untrusted::membership];
    for read in readers {
        if let Ok(canonical) = read(Bytes::copy_from_slice(data)) {
            assert_eq!(read(canonical.clone()).expect("own record"), canonical);
        }
    }
}

/// A request of another member behind the number of its method.
pub fn peer_requests(data: &[u8]) {
    let Some((method, message)) = data.split_first() else { return };
    if let Ok(canonical) = untrusted::peer_request(*method, Bytes::copy_from_slice(message)) {
        assert_eq!(untrusted::peer_request(*method, canonical.clone()).expect("own message"), canonical);
    }
}

/// Commands one after another on an empty state, whose records make the same state again.
pub fn commands(data: &[u8]) {
    let mut state = State::default();
    for (term, piece) in (1..).zip(pieces(data)) {
        let Ok(message) = store::Command::decode(piece) else { continue };
        let Ok(command) = wire::read_command(message) else { continue };
        let again = wire::read_command(wire::command(&command)).expect("own command");
        assert_eq!(again, command);
        take(&mut state, &command, Term(term));
    }
    let again = restored(&state);
    assert_eq!(again.hash(), state.hash());
    assert_eq!(again.revision(), state.revision());
    every_view(&again);
}

fn take(state: &mut State, command: &Command, term: Term) {
    let before = state.revision();
    let applied = state.apply(command, term);
    assert_eq!(state.revision().0, before.0 + applied.changes.len() as u64);
    for change in &applied.changes {
        assert!(change.revision > before);
        assert!(change.revision <= change.visible);
        assert!(change.visible <= state.revision());
    }
}

fn restored(state: &State) -> State {
    let mut restorer = Restorer::default();
    entries(state).for_each(|entry| restorer.entry(entry).expect("own entry"));
    changes(state).for_each(|change| restorer.change(change).expect("own change"));
    let compacted = Revision(state.history().oldest().0);
    restorer.finish(state.revision(), compacted).expect("own records")
}

fn every_view(state: &State) {
    let oldest = state.history().oldest();
    for revision in (oldest.0..=state.revision().0).map(Revision) {
        if let Ok(view) = state.view_at(revision) {
            assert!(view.entries().all(|entry| entry.revision <= view.revision()));
        }
    }
}

/// A snapshot as it comes, and with its checksum put right.
pub fn snapshot(data: &[u8]) {
    const CHECKSUM: usize = 32;
    let mut file = data.to_vec();
    again(&file);
    if file.len() > CHECKSUM {
        let body = file.len() - CHECKSUM;
        let checksum = Sha256::digest(&file[..body]);
        file[body..].copy_from_slice(&checksum);
        again(&file);
    }
}

fn again(file: &[u8]) {
    if let Ok(canonical) = untrusted::snapshot(file) {
        assert_eq!(untrusted::snapshot(&canonical).expect("own snapshot"), canonical);
    }
}

/// The records of a snapshot behind its checksum: entries, a length of nothing, then changes.
pub fn snapshot_records(data: &[u8]) {
    let mut restorer = Restorer::default();
    let mut pieces = pieces(data);
    for piece in pieces.by_ref().take_while(|piece| !piece.is_empty()) {
        let Ok(entry) = store::Entry::decode(piece) else { return };
        if restorer.entry(entry).is_err() {
            return;
        }
    }
    let (mut first, mut last) = (None, 0);
    for piece in pieces {
        let Ok(change) = store::Change::decode(piece) else { return };
        last = change.revision;
        first = first.or(Some(change.revision));
        if restorer.change(change).is_err() {
            return;
        }
    }
    let compacted = first.map_or(last, |first: u64| first.saturating_sub(1));
    if let Ok(state) = restorer.finish(Revision(last), Revision(compacted)) {
        let again = restored(&state);
        assert_eq!(again.hash(), state.hash());
        every_view(&state);
    }
}
