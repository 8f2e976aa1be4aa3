//! The log on sled 0.34.7, in the one way that survived every power cut.
//!
//! sled's own flush writes to the page cache and syncs neither data nor metadata: all of fourteen power
//! cuts lost everything. So what was taken counts only after an fdatasync of our own on the file sled writes
//! to. Values stay at or below 64 KiB in segments of 8 MiB, because a larger page goes to a file beside,
//! which nothing syncs. Records and marks share one tree: a batch is atomic within a tree only, and a
//! purge without its mark brings purged entries back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::chunk::{self, Chunk, Unpacker};
use super::frame::Place;
use super::{LogBackend, LogStats, Op, Record, Recovered};

/// Written into the store when it is created; must never change.
const SEGMENT_BYTES: usize = 8 << 20;

/// The page cache is read at start only; the tail of the log is served from memory.
const CACHE_BYTES: u64 = 16 << 20;

/// sled cannot open a store on a full disk. This much is set aside and given back for that.
const BALLAST_BYTES: u64 = 64 << 20;
const BALLAST: &str = "ballast";

const VOTE: &[u8] = b"m/vote";
const COMMITTED: &[u8] = b"m/committed";
const PURGED: &[u8] = b"m/purged";
const TAKEN: &[u8] = b"m/taken";

/// A log in a directory of its own.
pub struct SledBackend {
    dir: PathBuf,
    database: Database,
    /// Of the file sled writes to, open as long as the store: fdatasync acts on the inode.
    pub(super) data: File,
    /// First index of every chunk to what it holds.
    chunks: BTreeMap<u64, Extent>,
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

#[derive(Debug, Clone, Copy)]
struct Extent {
    last: u64,
    parts: u16,
}

impl SledBackend {
    /// Opens or creates the log in a directory.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        remove_unfinished(dir)?;
        let database = match open_database(dir) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                fs::remove_file(dir.join(BALLAST))?;
                open_database(dir)?
            }
            opened => opened?,
        };
        let data = File::open(dir.join("db"))?;
        data.sync_all()?;
        File::open(dir.join("conf"))?.sync_all()?;
        sync_dir(dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
        Ok(Self { dir: dir.to_owned(), database, data, chunks: BTreeMap::new() })
    }

    /// The last journal frame that was taken.
    pub(super) fn taken(&self) -> io::Result<Option<Place>> {
        self.mark(TAKEN)?.map(|place| Place::read(&place)).transpose()
    }

    /// Takes everything up to a journal frame, all or nothing. It is durable after [`SledBackend::sync`].
    pub(super) fn take(&mut self, ops: Vec<Op>, through: Place) -> io::Result<()> {
        let mut batch = self.batch(ops)?;
        batch.insert(TAKEN.to_vec(), Some(through.to_bytes()));
        self.write(batch)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.data.sync_data()
    }

    /// What it takes to write the same log elsewhere.
    pub(super) fn everything(&mut self) -> io::Result<Vec<Op>> {
        let recovered = self.load()?;
        let purged = self.mark(PURGED)?.map(split_purged).transpose()?;
        let purge = purged.map(|(through, marker)| Op::Purge { through, marker });
        let vote = recovered.vote.map(Op::Vote);
        let committed = recovered.committed.map(Op::Committed);
        let append = (!recovered.records.is_empty()).then_some(Op::Append(recovered.records));
        Ok([vote, committed, purge, append].into_iter().flatten().collect())
    }

    /// Gives the room back that is set aside.
    pub(super) fn drop_ballast(&self) -> io::Result<()> {
        match fs::remove_file(self.dir.join(BALLAST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn batch(&mut self, ops: Vec<Op>) -> io::Result<Overlay> {
        let mut batch = Overlay::new();
        for op in ops {
            match op {
                Op::Append(records) => self.append(&mut batch, &records),
                Op::Truncate { from } => self.truncate(&mut batch, from)?,
                Op::Purge { through, marker } => {
                    self.purge(&mut batch, through);
                    let mark = [&through.to_be_bytes()[..], &marker[..]].concat();
                    batch.insert(PURGED.to_vec(), Some(mark.into()));
                }
                Op::Vote(vote) => drop(batch.insert(VOTE.to_vec(), Some(vote))),
                Op::Committed(committed) => drop(batch.insert(COMMITTED.to_vec(), Some(committed))),
            }
        }
        Ok(batch)
    }

    fn append(&mut self, batch: &mut Overlay, records: &[Record]) {
        for Chunk { first, last, values } in chunk::pack(records) {
            let parts = u16::try_from(values.len()).expect("bounded when packed");
            for (part, value) in (0..parts).zip(values) {
                batch.insert(chunk::key(first, part).to_vec(), Some(value));
            }
            self.chunks.insert(first, Extent { last, parts });
        }
    }

    fn truncate(&mut self, batch: &mut Overlay, from: u64) -> io::Result<()> {
        let gone = self.chunks.split_off(&from);
        for (first, extent) in gone {
            remove(batch, first, extent);
        }
        let cut = self.chunks.last_key_value().map(|(first, extent)| (*first, *extent));
        if let Some((first, extent)) = cut.filter(|(_, extent)| extent.last >= from) {
            // Only whole records share a chunk, so it has one value.
            let value = self.read(batch, first)?;
            let mut kept = Unpacker::default().push(&chunk::key(first, 0), value)?;
            kept.retain(|record| record.index < from);
            remove(batch, first, extent);
            self.chunks.remove(&first);
            self.append(batch, &kept);
        }
        Ok(())
    }

    fn purge(&mut self, batch: &mut Overlay, through: u64) {
        let later = self.chunks.split_off(&(through + 1));
        let earlier = std::mem::replace(&mut self.chunks, later);
        for (first, extent) in earlier {
            if extent.last <= through {
                remove(batch, first, extent);
            } else {
                self.chunks.insert(first, extent);
            }
        }
    }

    /// The single value of a chunk, as it will be after the batch.
    fn read(&self, batch: &Overlay, first: u64) -> io::Result<Bytes> {
        let key = chunk::key(first, 0);
        if let Some(Some(value)) = batch.get(&key[..]) {
            return Ok(value.clone());
        }
        let value = self.database.get(key)?.ok_or_else(|| chunk::damaged("a chunk is missing"))?;
        Ok(Bytes::copy_from_slice(&value))
    }

    fn mark(&self, name: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.database.get(name)?.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Everything that is stored, whether it belongs together or not.
    fn scan(&mut self) -> io::Result<Vec<Record>> {
        self.chunks.clear();
        let mut records: Vec<Record> = Vec::new();
        let mut unpacker = Unpacker::default();
        for item in self.database.scan_prefix([chunk::LOG_PREFIX]) {
            let (key, value) = item?;
            let (first, part) = chunk::read_key(&key)?;
            let found = unpacker.push(&key, Bytes::copy_from_slice(&value))?;
            let last = found.last().map_or(first, |record| record.index);
            let extent = self.chunks.entry(first).or_insert(Extent { last, parts: 0 });
            *extent = Extent { last, parts: part + 1 };
            records.extend(found);
        }
        Ok(records)
    }

    fn write(&self, batch: Overlay) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.database.apply_batch(into_batch(batch))?;
        self.database.flush()?;
        Ok(())
    }

    /// A store with room for its own reopening. Reserving it may fail: then the disk is nearly full
    /// already, and the log goes on while it can.
    fn keep_ballast(&self) {
        let path = self.dir.join(BALLAST);
        let space = rustix::fs::statvfs(&self.dir).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
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
}

impl LogBackend for SledBackend {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        let batch = self.batch(ops)?;
        self.write(batch)?;
        self.sync()
    }

    /// Leaves out what a purge or an unfinished batch left behind, and deletes it.
    fn load(&mut self) -> io::Result<Recovered> {
        let (vote, committed) = (self.mark(VOTE)?, self.mark(COMMITTED)?);
        let purged = self.mark(PURGED)?.map(split_purged).transpose()?;
        let mut records = self.scan()?;
        let mut batch = Overlay::new();
        if let Some((through, _)) = &purged {
            // Purged entries come back when a crash undoes sled's own cleaning.
            records.retain(|record| record.index > *through);
            self.purge(&mut batch, *through);
        }
        let mut kept: Vec<Record> = Vec::with_capacity(records.len());
        for record in records {
            match kept.last() {
                Some(last) if record.index != last.index + 1 => break,
                _ => kept.push(record),
            }
        }
        let end = kept.last().map_or(0, |last| last.index + 1);
        if self.chunks.values().any(|extent| extent.last >= end) {
            tracing::warn!(end, "dropping log records beyond a gap");
            self.truncate(&mut batch, end)?;
        }
        self.write(batch)?;
        self.sync()?;
        self.keep_ballast();
        Ok(Recovered { vote, committed, purged: purged.map(|(_, marker)| marker), records: kept })
    }

    fn stats(&self) -> LogStats {
        let stray_files = fs::read_dir(self.dir.join("blobs")).map_or(0, |files| files.count() as u64);
        LogStats { disk_bytes: self.database.size_on_disk().unwrap_or(0), stray_files }
    }

    fn is_inline(&self) -> bool {
        false
    }
}

/// The batch under way; the last write to a key wins.
type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;

fn remove(batch: &mut Overlay, first: u64, extent: Extent) {
    for part in 0..extent.parts {
        batch.insert(chunk::key(first, part).to_vec(), None);
    }
}

fn split_purged(mark: Bytes) -> io::Result<(u64, Bytes)> {
    let through = mark.first_chunk().ok_or_else(|| chunk::damaged("a purge mark that ends early"))?;
    Ok((u64::from_be_bytes(*through), mark.slice(8..)))
}

fn into_batch(overlay: Overlay) -> ::sled::Batch {
    let mut batch = ::sled::Batch::default();
    for (key, value) in overlay {
        match value {
            Some(value) => batch.insert(key, &value[..]),
            None => batch.remove(key),
        }
    }
    batch
}

/// sled gives its lock back from a thread of its own, some time after the store is dropped. A store that
/// another process has open is reported after this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

fn open_database(dir: &Path) -> io::Result<Database> {
    let pause = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        match try_open_database(dir) {
            Err(error) if waited < LOCK_WAIT_MAX && is_locked(&error) => {
                std::thread::sleep(pause);
                waited += pause;
            }
            Err(error) if is_locked(&error) => {
                let what = format!("{} is used by another process", dir.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
            opened => return opened.map(|database| Database(Some(database))),
        }
    }
}

/// sled says it in words only.
fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
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
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
