//! The log in a directory: segments, whose frames make a batch durable with one write and one sync, and sled, which knows
//! the segments and what stood in those that are gone, from the second one on.
//!
//! ```text
//! commit     frame -> last segment, fdatasync                       one thread, no metadata
//! full       next segment; sled learns of it, and of the marks      flush, fdatasync
//! purge      sled forgets segments of which nothing is left; their files are used again
//! open       the segments that sled knows, in their order
//! ```
//!
//! After a sync that failed, the kernel may show what is not on the disk and will never be: it takes the pages for
//! written. So such a directory is marked, and the next opening copies what it reads into new files before anybody
//! relies on it.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::frame::{self, Place};
use super::known::Known;
use super::places::{Places, Spot};
use super::segment::{self, Segment};
use super::sled::{self, Contents, Extent, Marks};
use super::{LogBackend, LogStats, MemBackend, Op, Record, Recovered, damaged, lock, rebuild};

/// A segment. Beginning one takes some twenty milliseconds, mostly sled's; each holds some two thousand writes.
const SEGMENT_BYTES: usize = 4 << 20;

/// Files that wait to be used again, so that beginning a segment seldom has to write one full of zeros first.
const SPARES_MAX: usize = 2;

/// Records copied with one sync.
const COPY_RECORDS: usize = 64;

/// There when a sync has failed. Whoever kills the process does not take it away, and a power cut that does takes the
/// kernel's memory with it.
const DOUBTED: &str = "doubted";

/// The file of a log from before there were segments.
const JOURNAL: &str = "journal";

/// A log in a directory of its own.
pub struct DiskLog {
    dir: PathBuf,
    known: Known,
    active: Segment,
    /// The last frame.
    place: Place,
    marks: Marks,
    /// The index behind the last record.
    end: u64,
    places: Places,
    spares: Vec<u64>,
    segment_bytes: usize,
    frame: Vec<u8>,
    /// What was found at opening, until it is asked for.
    found: Option<MemBackend>,
    /// Given back last.
    _lock: File,
}

impl DiskLog {
    /// Opens or creates the log in a directory. Files that cannot be trusted are replaced.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::open_with(dir, SEGMENT_BYTES)
    }

    pub(super) fn open_with(dir: &Path, segment_bytes: usize) -> io::Result<Self> {
        rebuild::finish(dir)?;
        let opened = Self::open_as_it_is(dir, segment_bytes)?;
        if !dir.join(DOUBTED).exists() {
            return Ok(opened);
        }
        tracing::info!("copying the log into new files");
        opened.copy(&rebuild::copy_dir(dir)?)?;
        rebuild::swap(dir)?;
        Self::open_as_it_is(dir, segment_bytes)
    }

    fn open_as_it_is(dir: &Path, segment_bytes: usize) -> io::Result<Self> {
        if dir.join(JOURNAL).exists() {
            return Err(damaged("a log of an earlier version, which this one does not read"));
        }
        fs::create_dir_all(dir)?;
        let lock = lock::take(dir)?;
        let known = Known::open(dir)?;
        let contents = known.contents().clone();
        if known.index.is_none() {
            prepare_first(dir, segment_bytes)?;
        }
        let mut replay = Replay::after(contents.marks);
        let mut segments = contents.segments.iter().peekable();
        let active = loop {
            let (number, extent) = segments.next().ok_or_else(|| damaged("a log without a segment"))?;
            let mut segment = Segment::open(dir, *number).map_err(missing)?;
            let mut place = extent.begin;
            segment.read(&mut place, |spot, ops| replay.take(spot, ops))?;
            match segments.peek() {
                Some((_, next)) if next.begin == place => {}
                Some(_) => return Err(damaged("a segment of the log ends early")),
                None => break (segment, place),
            }
        };
        let (active, place) = active;
        let opened = Self {
            dir: dir.to_owned(),
            known,
            active,
            place,
            marks: replay.marks,
            end: replay.end,
            places: replay.places,
            spares: Vec::new(),
            segment_bytes,
            frame: Vec::new(),
            found: Some(replay.log),
            _lock: lock,
        };
        opened.tidy()?;
        Ok(opened)
    }

    /// Files that sled knows nothing of are left by a crash, or wait to be used again.
    fn tidy(&self) -> io::Result<()> {
        for number in segment::all(&self.dir)? {
            if !self.known.contents().segments.contains_key(&number) {
                fs::remove_file(segment::path(&self.dir, number))?;
            }
        }
        Ok(())
    }

    /// Writes the same log elsewhere and closes this one.
    fn copy(mut self, to: &Path) -> io::Result<()> {
        // The copy needs the room.
        sled::drop_ballast(&self.dir)?;
        let mut copy = Self::open_as_it_is(to, self.segment_bytes)?;
        let records = self.load()?.records;
        let Marks { vote, committed, purged } = self.marks;
        let purge = purged.map(|(through, marker)| Op::Purge { through, marker });
        let marks = [vote.map(Op::Vote), purge].into_iter().flatten().collect();
        copy.commit(marks)?;
        for records in records.chunks(COPY_RECORDS) {
            copy.commit(vec![Op::Append(records.to_vec())])?;
        }
        copy.commit(committed.map(Op::Committed).into_iter().collect())
    }

    /// Begins another segment, with room for a frame of this size.
    fn begin_segment(&mut self, frame_bytes: usize) -> io::Result<()> {
        let founded = self.known.found().map(drop);
        founded.map_err(|error| self.unless_full(error))?;
        let number = self.known.contents().segments.keys().next_back().map_or(0, |last| last + 1);
        let spare = if frame_bytes <= self.segment_bytes { self.spares.pop() } else { None };
        let bytes = self.segment_bytes.max(frame_bytes);
        let next =
            Segment::create(&self.dir, number, bytes, spare).map_err(|error| self.unless_full(error))?;
        let mut contents = self.known.contents().clone();
        contents.marks = self.marks.clone();
        if let Some(extent) = contents.segments.get_mut(&self.active.number) {
            extent.end = self.end;
        }
        contents.segments.insert(number, Extent { begin: self.place, end: 0 });
        self.tell(contents)?;
        self.active = next;
        Ok(())
    }

    /// Gives up the segments of which nothing is left.
    fn drop_purged(&mut self) -> io::Result<()> {
        let Some((through, _)) = self.marks.purged else { return Ok(()) };
        let mut contents = self.known.contents().clone();
        let active = self.active.number;
        let is_gone = |number: &u64, extent: &Extent| *number != active && extent.end <= through + 1;
        let gone = contents.segments.iter().take_while(|(number, extent)| is_gone(number, extent));
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        if gone.is_empty() {
            return Ok(());
        }
        contents.segments.retain(|number, _| !gone.contains(number));
        contents.marks = self.marks.clone();
        self.tell(contents)?;
        for number in gone {
            let path = segment::path(&self.dir, number);
            let is_usual = fs::metadata(&path)?.len() == self.segment_bytes as u64;
            if is_usual && self.spares.len() < SPARES_MAX {
                self.spares.push(number);
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, contents: Contents) -> io::Result<()> {
        self.known.write(contents).map_err(|error| self.unless_full(error))?;
        self.known.sync().map_err(|error| self.doubt(error))
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

/// Makes the first segment, unless something was written to it. No other may be there before sled is: what sled knew
/// would be lost.
fn prepare_first(dir: &Path, segment_bytes: usize) -> io::Result<()> {
    if segment::all(dir)?.iter().any(|number| *number != 0) {
        return Err(damaged("the log's index is missing, or lacks everything"));
    }
    let is_used = match Segment::open(dir, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        segment => {
            let mut place = Place::default();
            segment?.read(&mut place, |_, _| {})?;
            place != Place::default()
        }
    };
    if !is_used {
        Segment::create(dir, 0, segment_bytes, None)?;
    }
    Ok(())
}

fn missing(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => damaged("a segment of the log is missing"),
        _ => error,
    }
}

impl LogBackend for DiskLog {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        self.found = None;
        let bytes = frame::bytes(&ops);
        if !self.active.has_room(bytes) {
            self.begin_segment(bytes)?;
        }
        let before = self.place;
        self.place = frame::write(&mut self.frame, before, &ops);
        let spot = self.active.spot(self.frame.len(), before);
        self.active.write(&self.frame).map_err(|error| self.unless_full(error))?;
        self.active.sync().map_err(|error| self.doubt(error))?;
        if self.frame.capacity() > FRAME_BYTES_KEPT {
            self.frame = Vec::new();
        }
        self.places.note(spot, &ops);
        let mut purges = false;
        for op in &ops {
            purges |= matches!(op, Op::Purge { .. });
            note(op, &mut self.marks, &mut self.end);
        }
        if purges { self.drop_purged() } else { Ok(()) }
    }

    fn load(&mut self) -> io::Result<Recovered> {
        if self.known.index.is_some() {
            sled::keep_ballast(&self.dir);
        }
        let mut found = match self.found.take() {
            Some(found) => found,
            None => {
                let mut replay = Replay::after(self.known.contents().marks.clone());
                for (number, extent) in &self.known.contents().segments {
                    let mut place = extent.begin;
                    let mut segment = Segment::open(&self.dir, *number)?;
                    segment.read(&mut place, |spot, ops| replay.take(spot, ops))?;
                }
                replay.log
            }
        };
        let recovered = found.load()?;
        let Marks { vote, committed, purged } = self.marks.clone();
        Ok(Recovered { vote, committed, purged: purged.map(|(_, marker)| marker), ..recovered })
    }

    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        let mut found = Vec::new();
        for span in self.places.of(&indexes) {
            let records = segment::records(&self.dir, span).map_err(missing)?;
            found.extend(records.into_iter().filter(|record| indexes.contains(&record.index)));
        }
        Ok(found)
    }

    fn stats(&self) -> LogStats {
        let segments = self.known.contents().segments.len() + self.spares.len();
        let segments = (segments * self.segment_bytes).max(self.active.bytes()) as u64;
        LogStats { disk_bytes: self.known.disk_bytes() + segments, stray_files: self.known.stray_files() }
    }

    fn is_inline(&self) -> bool {
        false
    }
}

/// A frame's buffer stays for the next one, unless it was an unusual one.
const FRAME_BYTES_KEPT: usize = 256 << 10;

/// What the frames come to, in their order.
struct Replay {
    log: MemBackend,
    marks: Marks,
    end: u64,
    places: Places,
}

impl Replay {
    /// The marks are at least as old as the last segment; what stands in an earlier one is newer than they only if it
    /// stands in a later one too.
    fn after(marks: Marks) -> Self {
        let end = marks.purged.as_ref().map_or(0, |(through, _)| through + 1);
        Self { log: MemBackend::default(), marks, end, places: Places::default() }
    }

    fn take(&mut self, spot: Spot, ops: Vec<Op>) {
        self.places.note(spot, &ops);
        for op in ops {
            note(&op, &mut self.marks, &mut self.end);
            self.log.apply(op);
        }
    }
}

/// What an operation does besides adding and removing records.
fn note(op: &Op, marks: &mut Marks, end: &mut u64) {
    match op {
        Op::Append(records) => *end = records.last().map_or(*end, |last| last.index + 1),
        Op::Truncate { from } => *end = (*end).min(*from),
        Op::Purge { through, marker } => {
            *end = (*end).max(through + 1);
            if marks.purged.as_ref().is_none_or(|(before, _)| before <= through) {
                marks.purged = Some((*through, marker.clone()));
            }
        }
        Op::Vote(vote) => marks.vote = Some(vote.clone()),
        Op::Committed(committed) => marks.committed = Some(committed.clone()),
    }
}

/// So small that a dozen records fill one.
#[cfg(test)]
pub(super) const SMALL: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::log::Record;

    fn append(index: u64) -> Vec<Op> {
        append_of(index, 300)
    }

    fn append_of(index: u64, size: usize) -> Vec<Op> {
        vec![Op::Append(vec![Record { index, bytes: Bytes::from(vec![b'r'; size]) }])]
    }

    fn purge(through: u64) -> Vec<Op> {
        vec![Op::Purge { through, marker: Bytes::from_static(b"purged") }]
    }

    fn raft(dir: &TempDir) -> PathBuf {
        dir.path().join("raft")
    }

    fn opened(dir: &TempDir) -> DiskLog {
        DiskLog::open_with(&raft(dir), SMALL).expect("the directory is free and whole")
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

    /// Opens it again; the first and the number of its records.
    fn found(dir: &TempDir) -> (u64, usize) {
        let recovered = opened(dir).load().expect("readable");
        assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
        let indexes: Vec<u64> = recovered.records.iter().map(|record| record.index).collect();
        let first = indexes.first().copied().unwrap_or_default();
        assert_eq!(indexes, (first..first + indexes.len() as u64).collect::<Vec<_>>());
        (first, indexes.len())
    }

    fn segments(dir: &TempDir) -> Vec<u64> {
        let mut segments = segment::all(&raft(dir)).expect("readable");
        segments.sort_unstable();
        segments
    }

    fn file(dir: &TempDir, number: u64) -> File {
        let path = segment::path(&raft(dir), number);
        File::options().read(true).write(true).open(path).expect("it is there")
    }

    #[test]
    fn a_torn_frame_takes_only_itself_away() {
        let dir = written(5);
        let (each, end) = (frame::bytes(&append(0)), opened(&dir).active.offset());
        file(&dir, 0).write_all_at(&[0; 8], (end - each + 100) as u64).expect("writable");
        assert_eq!(found(&dir), (0, 4));

        file(&dir, 0).write_all_at(&[0; 8], (end - 3 * each + 100) as u64).expect("writable");
        assert!(DiskLog::open(&raft(&dir)).is_err(), "acknowledged frames were taken for torn");
    }

    #[test]
    fn a_batch_larger_than_a_segment_is_kept() {
        let dir = written(5);
        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(append_of(5, 3 * SMALL)).expect("writable");
        log.commit(append(6)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), (0, 7));
        let mut log = opened(&dir);
        log.commit(purge(5)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), (6, 1));
    }

    #[test]
    fn segments_of_which_nothing_is_left_are_used_again() {
        let dir = written(200);
        let before = segments(&dir);
        assert!(before.len() > 10, "{before:?}");
        let mut log = opened(&dir);
        log.commit(purge(100)).expect("writable");
        assert_eq!(log.spares.len(), SPARES_MAX);
        for index in 200..240 {
            log.commit(append(index)).expect("writable");
        }
        assert!(log.spares.is_empty());
        for index in 240..600 {
            log.commit(append(index)).expect("writable");
            if index % 50 == 0 {
                log.commit(purge(index - 100)).expect("writable");
            }
        }
        assert!(segments(&dir).len() < before.len() + SPARES_MAX, "{:?}", segments(&dir));
        drop(log);
        assert_eq!(found(&dir), (451, 149));
        let known = opened(&dir).known.contents().segments.keys().copied().collect::<Vec<_>>();
        assert_eq!(segments(&dir), known, "spares stay behind");
    }

    /// Between the steps of beginning a segment, and of giving up others.
    #[test]
    fn a_crash_between_two_files_loses_nothing() {
        let dir = written(30);
        let (kept, before) = (found(&dir), segments(&dir));
        // A file that sled has not heard of yet.
        let next = before.last().expect("several") + 1;
        drop(Segment::create(&raft(&dir), next, SMALL, None).expect("writable"));
        assert_eq!(found(&dir), kept);
        assert_eq!(segments(&dir), before);

        // One that sled knows and that nothing was written to.
        let mut log = opened(&dir);
        log.begin_segment(1).expect("writable");
        drop(log);
        assert_eq!(found(&dir), kept);
        let mut log = opened(&dir);
        log.commit(append(30)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), (0, 31));

        // Files that sled has forgotten already.
        let first = std::fs::read(segment::path(&raft(&dir), 0)).expect("readable");
        let mut log = opened(&dir);
        log.commit(purge(25)).expect("writable");
        drop(log);
        std::fs::write(segment::path(&raft(&dir), 0), first).expect("writable");
        assert_eq!(found(&dir), (26, 5));
        assert!(!segments(&dir).contains(&0));
    }

    #[test]
    fn a_segment_that_lacks_something_is_noticed() {
        let dir = written(30);
        let path = segment::path(&raft(&dir), 1);
        let whole = std::fs::read(&path).expect("readable");
        std::fs::remove_file(&path).expect("it is there");
        assert!(DiskLog::open(&raft(&dir)).is_err(), "a segment is missing");
        let end = whole.len() / 2;
        std::fs::write(&path, [&whole[..end], &vec![0; whole.len() - end]].concat()).expect("writable");
        assert!(DiskLog::open(&raft(&dir)).is_err(), "a segment ends early");
        std::fs::write(&path, whole).expect("writable");
        assert_eq!(found(&dir), (0, 30));
    }

    #[test]
    fn a_log_of_an_earlier_version_is_told() {
        let dir = written(0);
        std::fs::write(raft(&dir).join(JOURNAL), b"").expect("writable");
        let error = DiskLog::open(&raft(&dir)).err().expect("it is refused");
        assert!(error.to_string().contains("earlier version"), "{error}");
    }

    fn inodes(dir: &TempDir) -> [u64; 2] {
        let inode = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.ino());
        [inode(raft(dir).join("db")), inode(segment::path(&raft(dir), 0))]
    }

    /// The kernel takes pages that it could not write for written: they can be read, and a later sync passes, but they
    /// are gone with the power. So after a failed sync nothing of the old files is relied on.
    ///
    /// The null device takes a write and refuses the sync.
    fn check_failed_sync(spoil: fn(&mut DiskLog), fail: fn(&mut DiskLog) -> io::Result<()>) {
        let dir = written(5);
        opened(&dir).known.found().expect("writable");
        let before = inodes(&dir);
        let mut log = opened(&dir);
        log.load().expect("readable");
        spoil(&mut log);
        assert!(fail(&mut log).is_err());
        drop(log);

        assert_eq!(found(&dir), (0, 5));
        let after = inodes(&dir);
        assert!(after[0] != before[0] && after[1] != before[1], "{after:?} was {before:?}");

        let mut log = opened(&dir);
        log.load().expect("readable");
        log.commit(append(5)).expect("writable");
        drop(log);
        assert_eq!(found(&dir), (0, 6));
        assert_eq!(inodes(&dir), after, "copied without need");
    }

    fn null() -> File {
        File::options().write(true).open("/dev/null").expect("every system has it")
    }

    #[test]
    fn a_segment_whose_sync_failed_is_replaced() {
        check_failed_sync(|log| log.active.file = null(), |log| log.commit(append(5)));
    }

    #[test]
    fn an_index_whose_sync_failed_is_replaced() {
        check_failed_sync(
            |log| log.known.found().expect("writable").data = null(),
            |log| log.begin_segment(1),
        );
    }
}
