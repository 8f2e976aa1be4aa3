//! The order-independent hash of the state: the sum of one digest per stored version.
//!
//! It tells equal states from different ones after a restart, an installed snapshot and between members.
//! It defends against corruption and divergence, not against somebody who constructs collisions.

use std::fmt;

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::types::{Object, Revision};
use crate::wire;

/// SHA-256 of one stored version in canonical form, as four lanes.
pub(crate) type Digest = [u64; 4];

/// Hashes the canonical form of a stored version: its proto encoding without the bytes, behind its
/// length, then the bytes. So large objects are hashed where they are.
pub(crate) fn digest(object: &Object, revision: Revision, created: Revision) -> Digest {
    let header = wire::entry_header(object, revision, created).encode_length_delimited_to_vec();
    let hash = Sha256::new().chain_update(&header).chain_update(&object.bytes).finalize();
    let mut lanes = [0; 4];
    for (lane, chunk) in lanes.iter_mut().zip(hash.chunks_exact(8)) {
        *lane = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
    }
    lanes
}

/// The sum of the digests of all stored versions. Adding and removing commute, so two replicas that
/// hold the same versions have the same hash, whatever the order they arrived in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateHash(Digest);

impl StateHash {
    /// How hashes are made: the canonical form, the digest and the sum. Hashes of another form say nothing about each
    /// other.
    pub const FORM: u32 = 1;

    pub(crate) fn add(&mut self, digest: &Digest) {
        for (lane, other) in self.0.iter_mut().zip(digest) {
            *lane = lane.wrapping_add(*other);
        }
    }

    pub(crate) fn remove(&mut self, digest: &Digest) {
        for (lane, other) in self.0.iter_mut().zip(digest) {
            *lane = lane.wrapping_sub(*other);
        }
    }

    /// The hash as bytes, for snapshots and peers.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }
}

impl StateHash {
    /// Reads what [`StateHash::to_bytes`] made; `None` if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let mut lanes = [0; 4];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            *lane = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
        }
        Some(Self(lanes))
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(formatter, "{lane:016x}"))
    }
}
