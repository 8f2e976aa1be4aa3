//! The log in a directory: a journal that makes a batch durable with one write and one sync, and sled, which takes over
//! what the journal holds when it is full.
//!
//! ```text
//! commit     frame -> journal, fdatasync                                     one thread, no metadata
//! full       everything the journal holds -> sled, flush, fdatasync          with the number of the last frame
//! open       what sled holds, then the frames behind that number
//! ```
//!
//! sled alone costs a lone write its seven I/O threads: every buffer it writes wakes them all.
//!
//! After a sync that failed, the kernel may show what is not on the disk and will never be: it takes the pages for
//! written. So such a directory is marked, and the next opening copies what it reads into new files before anybody
//! relies on it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::Place;
use super::journal::{JOURNAL_BYTES, Journal};
use super::rebuild::{self, Bloat};
use super::{LogBackend, LogStats, MemBackend, Op, Recovered, SledBackend, join};

/// Records copied with one sync.
const COPY_RECORDS: usize = 64;

/// There when a sync has failed. Whoever kills the process does not take it away, and a power cut that does takes the
/// kernel's memory with it.
const DOUBTED: &str = "doubted";

/// A log in a directory of its own.
pub struct DiskLog {
    dir: PathBuf,
    pub(super) store: SledBackend,
    pub(super) journal: Journal,
    /// What the journal holds and the store has not taken.
    pending: Vec<Op>,
}

impl DiskLog {
    /// Opens or creates the log in a directory. Files that cannot be trusted, and one much larger than what lives in
    /// it, are replaced.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::open_unless(dir, Bloat::default())
    }

    pub(super) fn open_unless(dir: &Path, bloat: Bloat) -> io::Result<Self> {
        rebuild::finish(dir)?;
        let mut opened = Self::open_as_it_is(dir)?;
        let doubted = dir.join(DOUBTED).exists();
        let disk_bytes = opened.stats().disk_bytes;
        if !doubted && !bloat.may_be(disk_bytes) {
            return Ok(opened);
        }
        let recovered = opened.load()?;
        let live_bytes = recovered.records.iter().map(|record| record.bytes.len() as u64).sum();
        if !doubted && !bloat.is(disk_bytes, live_bytes) {
            return Ok(opened);
        }
        tracing::info!(disk_bytes, live_bytes, doubted, "copying the log into new files");
        opened.copy(&rebuild::copy_dir(dir)?)?;
        rebuild::swap(dir)?;
        Self::open_as_it_is(dir)
    }

    fn open_as_it_is(dir: &Path) -> io::Result<Self> {
        let store = SledBackend::open(dir)?;
        let taken = store.taken()?;
        if taken.is_some() && !Journal::exists(dir) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the log's journal is missing"));
        }
        let (journal, replayed) = Journal::open(dir, taken.unwrap_or_default())?;
        let mut pending = Vec::new();
        replayed.into_iter().for_each(|op| join(&mut pending, op));
        Ok(Self { dir: dir.to_owned(), store, journal, pending })
    }

    /// Writes the same log elsewhere and closes this one.
    fn copy(mut self, to: &Path) -> io::Result<()> {
        // The copy needs the room.
        self.store.drop_ballast()?;
        let mut copy = SledBackend::open(to)?;
        for op in self.store.everything()?.into_iter().chain(self.pending) {
            match op {
                Op::Append(records) => {
                    for records in records.chunks(COPY_RECORDS) {
                        copy.take(vec![Op::Append(records.to_vec())], Place::default())?;
                    }
                }
                op => copy.take(vec![op], Place::default())?,
            }
        }
        copy.take(Vec::new(), self.journal.place())?;
        copy.sync()?;
        Journal::open(to, self.journal.place())?;
        Ok(())
    }

    /// Hands everything to the store, and a batch that does not fit into the journal with it.
    fn hand_over(&mut self, ops: Vec<Op>) -> io::Result<()> {
        let mut all = std::mem::take(&mut self.pending);
        ops.into_iter().for_each(|op| join(&mut all, op));
        self.store.take(all, self.journal.place()).map_err(|error| self.unless_full(error))?;
        self.store.sync().map_err(|error| self.doubt(error))?;
        self.journal.rewind();
        Ok(())
    }

    /// A write that found no space has lost nothing that was there.
    fn unless_full(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => error,
            _ => self.doubt(error),
        }
    }

    fn doubt(&self, error: io::Error) -> io::Error {
        if let Err(unmarked) = File::create(self.dir.join(DOUBTED)) {
            // A file system that takes nothing any more has to be mounted again, which forgets the pages.
            tracing::error!(%error, %unmarked, "a sync of the log failed, and the log cannot be marked");
        }
        error
    }
}

impl LogBackend for DiskLog {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        if !self.journal.has_room(&ops) {
            return self.hand_over(ops);
        }
        self.journal.write(&ops).map_err(|error| self.unless_full(error))?;
        self.journal.sync().map_err(|error| self.doubt(error))?;
        ops.into_iter().for_each(|op| join(&mut self.pending, op));
        Ok(())
    }

    fn load(&mut self) -> io::Result<Recovered> {
        let mut log = MemBackend::holding(self.store.load()?);
        self.pending.iter().cloned().for_each(|op| log.apply(op));
        log.load()
    }

    fn stats(&self) -> LogStats {
        let store = self.store.stats();
        LogStats { disk_bytes: store.disk_bytes + JOURNAL_BYTES as u64, ..store }
    }

    fn is_inline(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::log::{Record, frame};

    fn append(index: u64) -> Vec<Op> {
        append_of(index, 300)
    }

    fn append_of(index: u64, size: usize) -> Vec<Op> {
        vec![Op::Append(vec![Record { index, bytes: Bytes::from(vec![b'r'; size]) }])]
    }

    fn opened(dir: &TempDir) -> DiskLog {
        DiskLog::open(&dir.path().join("raft")).expect("the directory is free and whole")
    }

    /// A log with these many records, closed.
    fn written(records: u64) -> TempDir {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(vec![Op::Vote(Bytes::from_static(b"vote"))]).expect("writable");
        for index in 0..records {
            log.commit(append(index)).expect("writable");
        }
        dir
    }

    /// Opens it again; how many records are there.
    fn found(dir: &TempDir) -> usize {
        let recovered = opened(dir).load().expect("readable");
        assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
        let indexes: Vec<u64> = recovered.records.iter().map(|record| record.index).collect();
        assert_eq!(indexes, (0..indexes.len() as u64).collect::<Vec<_>>());
        indexes.len()
    }

    #[test]
    fn what_the_store_took_is_not_taken_again() {
        let dir = written(5);
        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(vec![Op::Truncate { from: 3 }]).expect("writable");
        log.hand_over(Vec::new()).expect("writable");
        log.commit(append(3)).expect("writable");
        assert_eq!(log.journal.place().sequence, 8);
        drop(log);
        assert_eq!(found(&dir), 4);

        // A crash after the store took everything and before the journal began again.
        let mut log = opened(&dir);
        log.load().expect("readable");
        let pending = std::mem::take(&mut log.pending);
        log.store.take(pending, log.journal.place()).expect("writable");
        drop(log);
        let mut log = opened(&dir);
        assert!(log.pending.is_empty());
        assert_eq!(log.load().expect("readable").records.len(), 4);
        log.commit(append(4)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), 5);
    }

    #[test]
    fn a_torn_frame_takes_only_itself_away() {
        let dir = written(5);
        let journal = File::options().write(true).open(dir.path().join("raft/journal")).expect("it is there");
        let (each, end) = (frame::bytes(&append(0)), opened(&dir).journal.offset());
        journal.write_all_at(&[0; 8], (end - each + 100) as u64).expect("writable");
        assert_eq!(found(&dir), 4);

        journal.write_all_at(&[0; 8], (end - 3 * each + 100) as u64).expect("writable");
        assert!(DiskLog::open(&dir.path().join("raft")).is_err(), "acknowledged frames were taken for torn");
    }

    #[test]
    fn a_batch_larger_than_the_journal_is_kept() {
        let dir = written(5);
        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(append_of(5, 3 * JOURNAL_BYTES)).expect("writable");
        log.commit(append(6)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), 7);
    }

    #[test]
    fn a_log_from_before_the_journal_is_read() {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let mut store = SledBackend::open(&dir.path().join("raft")).expect("an empty directory");
        store.load().expect("readable");
        store.commit(vec![Op::Vote(Bytes::from_static(b"vote"))]).expect("writable");
        store.commit(append(0)).expect("writable");
        drop(store);
        assert_eq!(found(&dir), 1);
    }

    #[test]
    fn a_missing_journal_is_noticed() {
        let dir = written(5);
        let mut log = opened(&dir);
        log.load().expect("readable");
        log.hand_over(Vec::new()).expect("writable");
        drop(log);
        std::fs::remove_file(dir.path().join("raft/journal")).expect("it is there");
        assert!(DiskLog::open(&dir.path().join("raft")).is_err());
    }

    fn inodes(dir: &TempDir) -> [u64; 2] {
        let inode = |name| std::fs::metadata(dir.path().join("raft").join(name)).expect("it is there").ino();
        ["db", "journal"].map(inode)
    }

    /// The kernel takes pages that it could not write for written: they can be read, and a later sync passes, but they
    /// are gone with the power. So after a failed sync nothing of the old files is relied on.
    ///
    /// The null device takes a write and refuses the sync.
    fn check_failed_sync(spoil: fn(&mut DiskLog), fail: fn(&mut DiskLog) -> io::Result<()>, left: usize) {
        let dir = written(5);
        let before = inodes(&dir);
        let mut log = opened(&dir);
        log.load().expect("readable");
        spoil(&mut log);
        assert!(fail(&mut log).is_err());
        drop(log);

        assert_eq!(found(&dir), left);
        let after = inodes(&dir);
        assert!(after[0] != before[0] && after[1] != before[1], "{after:?} was {before:?}");

        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(append(left as u64)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), left + 1);
        assert_eq!(inodes(&dir), after, "copied without need");
    }

    fn null() -> File {
        File::options().write(true).open("/dev/null").expect("every system has it")
    }

    #[test]
    fn a_journal_whose_sync_failed_is_replaced() {
        check_failed_sync(|log| log.journal.file = null(), |log| log.commit(append(5)), 5);
    }

    #[test]
    fn a_store_whose_sync_failed_is_replaced() {
        // Written and not acknowledged: it may stay.
        check_failed_sync(|log| log.store.data = null(), |log| log.hand_over(append(5)), 6);
    }
}
