//! Whether the bytes of a snapshot can be one: read as they come, a record at a time, keeping nothing but sums.
//!
//! It checks the form, the counts, the order of history, the hash of the state and the checksum of it all. Whether
//! history leads to the state is seen when it is loaded, which needs all of it.

use std::io::{self, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use mvcc::records::Tally;
use prost::Message;
use proto::FORMAT_VERSION;
use proto::store as wire;
use sha2::{Digest as _, Sha256};

use super::convert::damaged;
use super::snapshot::{CHECKSUM, MAGIC, meta_of};
use super::types::SnapshotMeta;

/// The largest record: a change with the largest object as it is now and as it was before. Bounds what is held.
const RECORD_BYTES_MAX: usize = 32 << 20;
const LENGTH_BYTES: usize = 4;

/// Takes a snapshot's bytes in pieces of any size.
#[derive(Default)]
pub(crate) struct Verifier {
    /// Of the part under way.
    pending: BytesMut,
    next: Part,
    hash: Sha256,
    header: wire::SnapshotHeader,
    tally: Tally,
    entries: u64,
    changes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Magic,
    Header,
    Entries,
    Changes,
    Checksum,
    End,
}

impl Verifier {
    /// Takes some more bytes.
    ///
    /// # Errors
    /// They cannot be those of a snapshot.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// Everything has come; what it is a snapshot of.
    ///
    /// # Errors
    /// Something is missing.
    pub(crate) fn finish(self) -> io::Result<SnapshotMeta> {
        if self.next != Part::End || !self.pending.is_empty() {
            return Err(damaged("a snapshot that ends early"));
        }
        meta_of(self.header)
    }

    /// Takes the next part if all of it is there.
    fn step(&mut self) -> io::Result<bool> {
        self.next = match self.next {
            Part::Magic if self.pending.len() > MAGIC.len() => {
                let magic = self.hashed(MAGIC.len() + 1);
                if magic[..MAGIC.len()] != MAGIC[..] || magic[MAGIC.len()] != FORMAT_VERSION {
                    return Err(damaged("no snapshot, or one of an unknown format"));
                }
                Part::Header
            }
            Part::Header => {
                let Some(record) = self.record()? else { return Ok(false) };
                self.header = read(record)?;
                Part::Entries
            }
            Part::Entries if self.entries == self.header.entries => {
                if self.tally.hash().to_bytes()[..] != self.header.state_hash[..] {
                    return Err(damaged("a snapshot with a wrong state hash"));
                }
                Part::Changes
            }
            Part::Entries => {
                let Some(record) = self.record()? else { return Ok(false) };
                self.tally.add(read(record)?).map_err(invalid)?;
                self.entries += 1;
                Part::Entries
            }
            Part::Changes if self.changes == self.header.changes => Part::Checksum,
            Part::Changes => {
                let Some(record) = self.record()? else { return Ok(false) };
                let change: wire::Change = read(record)?;
                self.changes += 1;
                if Some(change.revision) != self.header.compacted.checked_add(self.changes) {
                    return Err(damaged("a snapshot whose history has a gap"));
                }
                Part::Changes
            }
            Part::Checksum if self.pending.len() >= CHECKSUM => {
                let expected = std::mem::take(&mut self.hash).finalize();
                if self.pending.split_to(CHECKSUM)[..] != expected[..] {
                    return Err(damaged("a snapshot with a wrong checksum"));
                }
                Part::End
            }
            Part::End if !self.pending.is_empty() => {
                return Err(damaged("a snapshot with something behind it"));
            }
            Part::Magic | Part::Checksum | Part::End => return Ok(false),
        };
        Ok(true)
    }

    /// The next record, once all of it is there.
    fn record(&mut self) -> io::Result<Option<Bytes>> {
        let Some(mut length) = self.pending.get(..LENGTH_BYTES) else { return Ok(None) };
        let length = length.get_u32() as usize;
        if length > RECORD_BYTES_MAX {
            return Err(damaged("a snapshot with a record that is too large"));
        }
        if self.pending.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        Ok(Some(self.hashed(LENGTH_BYTES + length).slice(LENGTH_BYTES..)))
    }

    fn hashed(&mut self, length: usize) -> Bytes {
        let bytes = self.pending.split_to(length).freeze();
        self.hash.update(&bytes);
        bytes
    }
}

impl Write for Verifier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read<M: Message + Default>(record: Bytes) -> io::Result<M> {
    M::decode(record).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
