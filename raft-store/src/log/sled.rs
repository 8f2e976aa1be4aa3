//! What the log's segments are, and what stood in those that are gone: a few small values in sled 0.34.7, used in the one
//! way that survived every power cut.
//!
//! ```text
//! s <number u64>   <begin: sequence u64, crc u32> <end u64>     a segment; its end is 0 while it is written to
//! m/vote           the vote as the last segment began
//! m/committed      the committed position, likewise
//! m/purged         <through u64> <marker>, likewise
//! ```
//!
//! sled's own flush writes to the page cache and syncs neither data nor metadata: all of fourteen power cuts lost
//! everything. So what was written counts only after an fdatasync of our own on the file sled writes to. A batch is
//! atomic within one tree only, so there is one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};

use super::frame::Place;
use super::{damaged, lock};

/// Written into the store when it is created; must never change. Values are below a hundred bytes, and a page of
/// seventeen of them is far below the quarter of a segment that would send it to a file which is never synced.
const SEGMENT_BYTES: usize = 512 << 10;

/// Everything is read once, at start.
const CACHE_BYTES: u64 = 1 << 20;

/// sled cannot open a store on a full disk. This much is set aside and given back for that.
const BALLAST_BYTES: u64 = 64 << 20;
const BALLAST: &str = "ballast";

/// sled's names: the file that everything is in, how it was created, its own index, what does not fit.
const DATA: &str = "db";
const SETTINGS: &str = "conf";
const SNAPSHOT: &str = "snap.";
const BLOBS: &str = "blobs";

const VOTE: &[u8] = b"m/vote";
const COMMITTED: &[u8] = b"m/committed";
const PURGED: &[u8] = b"m/purged";
const SEGMENT_PREFIX: u8 = b's';

/// What the log remembers besides its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    /// The last index that is gone, and its position in its stored form.
    pub(super) purged: Option<(u64, Bytes)>,
}

/// A segment that belongs to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The frame before its first one.
    pub(super) begin: Place,
    /// The index behind the last record when the next segment began; 0 while there is no next one.
    pub(super) end: u64,
}

/// Segments by number, and the marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) marks: Marks,
    pub(super) segments: BTreeMap<u64, Extent>,
}

/// The index in a directory of its own.
pub(super) struct Index {
    dir: PathBuf,
    database: Database,
    /// Of the file sled writes to, open as long as the store: fdatasync acts on the inode.
    pub(super) data: File,
    /// What is stored, so that only what differs is written.
    stored: Contents,
}

/// sled syncs when it is closed, and panics if it cannot. On a disk that fails, that would take along whoever opens the
/// log again. Closing promises nothing: what was acknowledged has been synced before.
struct Database(Option<::sled::Db>);

impl std::ops::Deref for Database {
    type Target = ::sled::Db;

    fn deref(&self) -> &::sled::Db {
        self.0.as_ref().expect("taken when dropped")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let database = self.0.take();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::warn!("the log was closed without a sync");
        }
    }
}

impl Index {
    /// Whether a directory has an index, or the beginnings of one.
    pub(super) fn exists(dir: &Path) -> bool {
        dir.join(DATA).exists()
    }

    /// Removes all files of it.
    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name {
                BLOBS => fs::remove_dir_all(path)?,
                DATA | SETTINGS => fs::remove_file(path)?,
                _ if name.starts_with(SNAPSHOT) => fs::remove_file(path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens or creates the index in a directory. What it returns is durable.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        remove_unfinished(dir)?;
        let database = match open_database(dir) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                drop_ballast(dir)?;
                open_database(dir)?
            }
            opened => opened?,
        };
        let data = File::open(dir.join(DATA))?;
        data.sync_all()?;
        File::open(dir.join(SETTINGS))?.sync_all()?;
        File::open(dir)?.sync_all()?;
        let stored = read(&database)?;
        Ok(Self { dir: dir.to_owned(), database, data, stored })
    }

    /// What is stored.
    pub(super) fn contents(&self) -> &Contents {
        &self.stored
    }

    /// Replaces what is stored, all or nothing. It is durable after [`Index::sync`].
    pub(super) fn write(&mut self, contents: Contents) -> io::Result<()> {
        let mut batch = ::sled::Batch::default();
        let marks = [
            (VOTE, contents.marks.vote.clone()),
            (COMMITTED, contents.marks.committed.clone()),
            (PURGED, contents.marks.purged.as_ref().map(|(through, marker)| purged(*through, marker))),
        ];
        for (name, value) in marks {
            if let Some(value) = value {
                batch.insert(name, &value[..]);
            }
        }
        for number in self.stored.segments.keys().filter(|number| !contents.segments.contains_key(number)) {
            batch.remove(&key(*number)[..]);
        }
        for (number, extent) in &contents.segments {
            if self.stored.segments.get(number) != Some(extent) {
                batch.insert(&key(*number)[..], &extent.to_bytes()[..]);
            }
        }
        self.database.apply_batch(batch)?;
        self.database.flush()?;
        self.stored = contents;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.data.sync_data()
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.database.size_on_disk().unwrap_or(0)
    }

    /// Files beside the one that is synced.
    pub(super) fn stray_files(&self) -> u64 {
        fs::read_dir(self.dir.join(BLOBS)).map_or(0, |files| files.count() as u64)
    }
}

/// A store with room for its own reopening. Reserving it may fail: then the disk is nearly full
/// already, and the log goes on while it can.
pub(super) fn keep_ballast(dir: &Path) {
    let path = dir.join(BALLAST);
    let space = rustix::fs::statvfs(dir).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    // On a disk that was full a moment ago the log needs the room itself.
    if path.exists() || space < 4 * BALLAST_BYTES {
        return;
    }
    if let Err(error) = File::create(&path).and_then(|file| {
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, BALLAST_BYTES).map_err(io::Error::from)
    }) {
        tracing::warn!(%error, path = %path.display(), "no ballast: the log cannot be reopened on a full disk");
        let _ = fs::remove_file(&path);
    }
}

/// Gives the room back that is set aside.
pub(super) fn drop_ballast(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(BALLAST)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Extent {
    fn to_bytes(self) -> Bytes {
        [&self.begin.to_bytes()[..], &self.end.to_be_bytes()[..]].concat().into()
    }

    fn read(bytes: &[u8]) -> io::Result<Self> {
        let begin = Place::read(bytes)?;
        let end = bytes.get(Place::BYTES..).and_then(|end| end.try_into().ok());
        let end = end.ok_or_else(|| damaged("a segment's entry that ends early"))?;
        Ok(Self { begin, end: u64::from_be_bytes(end) })
    }
}

fn key(number: u64) -> [u8; 9] {
    let mut key = [SEGMENT_PREFIX; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn purged(through: u64, marker: &Bytes) -> Bytes {
    [&through.to_be_bytes()[..], &marker[..]].concat().into()
}

fn read(database: &::sled::Db) -> io::Result<Contents> {
    let mark = |name: &[u8]| -> io::Result<Option<Bytes>> {
        Ok(database.get(name)?.map(|value| Bytes::copy_from_slice(&value)))
    };
    let split = |mut mark: Bytes| {
        let through = mark.try_get_u64().map_err(|_| damaged("a purge mark that ends early"))?;
        Ok::<_, io::Error>((through, mark))
    };
    let marks = Marks {
        vote: mark(VOTE)?,
        committed: mark(COMMITTED)?,
        purged: mark(PURGED)?.map(split).transpose()?,
    };
    let mut segments = BTreeMap::new();
    for item in database.scan_prefix([SEGMENT_PREFIX]) {
        let (key, value) = item?;
        let number = key[1..].try_into().map_err(|_| damaged("a segment's key of the wrong length"))?;
        segments.insert(u64::from_be_bytes(number), Extent::read(&value)?);
    }
    Ok(Contents { marks, segments })
}

/// sled gives its lock back from a thread of its own, some time after the store is dropped.
fn open_database(dir: &Path) -> io::Result<Database> {
    // It says so in words only.
    let is_locked = |error: &io::Error| error.to_string().contains("could not acquire lock");
    lock::patiently(dir, is_locked, || try_open_database(dir)).map(|database| Database(Some(database)))
}

fn try_open_database(dir: &Path) -> io::Result<::sled::Db> {
    let config = ::sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .mode(::sled::Mode::LowSpace)
        .use_compression(false)
        .flush_every_ms(None)
        .segment_size(SEGMENT_BYTES);
    Ok(config.open()?)
}

/// A crash while sled writes its index leaves a file that every later open takes for damage. Its rename
/// comes after its sync, so an unfinished one is never needed.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(SNAPSHOT) && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
