//! Where a batch becomes durable: a small file that is written again and again from its beginning, by one thread, with
//! one write and one fdatasync a batch. Its blocks are there before, so that the sync has no metadata to write.
//!
//! It remembers what the store behind it has not taken yet; it decides nothing about it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;

use super::Op;
use super::frame::{self, Place};

/// What the store behind takes at a time. Taking costs sled a dozen switches of threads and much rewriting, whatever
/// the size; 2 MiB spread that over a thousand writes and delay one of them by some twenty milliseconds.
pub(super) const JOURNAL_BYTES: usize = 2 << 20;

const NAME: &str = "journal";

/// The file, and where the next frame goes.
pub(super) struct Journal {
    pub(super) file: File,
    /// How much is written before it begins again.
    pub(super) room: usize,
    place: Place,
    offset: usize,
    frame: Vec<u8>,
}

impl Journal {
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// Opens or creates it and reads what follows `place`. What it returns is durable.
    pub(super) fn open(dir: &Path, place: Place) -> io::Result<(Self, Vec<Op>)> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(dir.join(NAME))?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if length < JOURNAL_BYTES {
            file.write_all_at(&vec![0; JOURNAL_BYTES - length], length as u64)?;
        }
        // Also for what a process wrote that was killed before it could sync.
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        // All there is: a journal of another size may come from another version.
        let mut bytes = vec![0; length.max(JOURNAL_BYTES)];
        file.read_exact_at(&mut bytes, 0)?;
        let mut journal = Self { file, room: JOURNAL_BYTES, place, offset: 0, frame: Vec::new() };
        let ops = journal.replay(&bytes.into())?;
        Ok((journal, ops))
    }

    fn replay(&mut self, bytes: &Bytes) -> io::Result<Vec<Op>> {
        let mut ops = Vec::new();
        while let Some((place, more, length)) = frame::read(&bytes.slice(self.offset..), self.place)? {
            self.place = place;
            self.offset += length;
            ops.extend(more);
        }
        Ok(ops)
    }

    /// The last frame.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where the next frame goes.
    #[cfg(test)]
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Whether a batch fits behind what is there.
    pub(super) fn has_room(&self, ops: &[Op]) -> bool {
        self.offset + frame::bytes(ops) <= self.room
    }

    /// Writes a batch, which [`Journal::has_room`] for. It is durable after [`Journal::sync`].
    pub(super) fn write(&mut self, ops: &[Op]) -> io::Result<()> {
        let place = frame::write(&mut self.frame, self.place, ops);
        self.file.write_all_at(&self.frame, self.offset as u64)?;
        self.place = place;
        self.offset += self.frame.len();
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Begins again: the store has taken everything up to [`Journal::place`].
    pub(super) fn rewind(&mut self) {
        self.offset = 0;
    }
}
