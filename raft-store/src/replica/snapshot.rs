//! Snapshots: state, history and log position in one file of its own.
//!
//! ```text
//! magic, format version
//! header record, object records, change records     each behind its length
//! SHA-256 of everything before
//! ```
//!
//! A file appears under its name only when it is complete and on disk. One that does not verify is
//! never used: not its checksum, its counts, nor the hash of the state it makes.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use mvcc::records::{self, Restorer};
use mvcc::{Revision, State};
use openraft::RaftSnapshotBuilder;
use prost::Message;
use proto::FORMAT_VERSION;
use proto::store as wire;
use sha2::{Digest as _, Sha256};

use super::convert::{self, damaged};
use super::incoming::Spooled;
use super::shelf::Shelf;
use super::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use super::verifier::Verifier;
use crate::alarm::Alarm;

pub(super) const MAGIC: &[u8; 8] = b"KNTKSNAP";

/// The extension of a file that is not a snapshot yet.
pub(super) const UNFINISHED: &str = "tmp";

/// Bytes of a checksum.
pub(super) const CHECKSUM: usize = 32;

/// Where the current snapshot is. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Snapshots {
    /// In a directory.
    Dir(PathBuf),
    /// In memory, as long as somebody holds the shelf.
    Memory(Shelf),
    /// Nowhere: the state of that moment is kept as it is. It shares what has not changed since.
    Frozen(Arc<Mutex<Option<Box<Contents>>>>),
}

/// The bytes of one snapshot.
#[derive(Debug, Clone)]
pub(crate) enum Image {
    File(PathBuf),
    /// From another member, not installed yet.
    Spooled(Arc<Spooled>),
    Memory(Bytes),
    Frozen(Box<Contents>),
}

/// What a snapshot holds.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) state: State,
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Image>;

impl Image {
    pub(crate) fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::File(path) => Ok(Box::new(BufReader::new(File::open(path)?))),
            Self::Spooled(spooled) => Ok(Box::new(BufReader::new(File::open(spooled.path())?))),
            Self::Memory(bytes) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            Self::Frozen(contents) => {
                let mut bytes = Vec::new();
                encode(contents, &mut bytes)?;
                Ok(Box::new(io::Cursor::new(bytes)))
            }
        }
    }

    /// Reads and verifies everything.
    pub(crate) fn load(&self) -> io::Result<Contents> {
        match self {
            Self::Frozen(contents) => Ok((**contents).clone()),
            Self::File(_) | Self::Spooled(_) | Self::Memory(_) => decode(self.reader()?),
        }
    }

    fn meta(&self) -> io::Result<SnapshotMeta> {
        if let Self::Frozen(contents) = self {
            return Ok(contents.meta());
        }
        meta_of(read_header(&mut self.reader()?)?)
    }

    /// What a snapshot from another member is of, once it is known to be whole.
    pub(super) fn verified(&self) -> io::Result<SnapshotMeta> {
        match self {
            Self::Spooled(spooled) => Ok(spooled.meta().clone()),
            Self::Frozen(contents) => Ok(contents.meta()),
            Self::File(_) | Self::Memory(_) => {
                let mut verifier = Verifier::default();
                io::copy(&mut self.reader()?, &mut verifier)?;
                verifier.finish()
            }
        }
    }
}

pub(super) fn meta_of(header: wire::SnapshotHeader) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last_log_id: header.last_applied.map(convert::read_position),
        last_membership: convert::read_stored_membership(header.membership.unwrap_or_default())?,
    })
}

impl Contents {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() }
    }
}

impl Snapshots {
    /// Snapshots in a directory; what a crash left unfinished is removed.
    pub(crate) fn in_dir(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self::Dir(dir.to_owned()))
    }

    pub(crate) fn nowhere() -> Self {
        Self::Frozen(Arc::default())
    }

    /// Whether saving and loading wait for a disk.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Dir(_))
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> io::Result<Option<Snapshot>> {
        let Some(image) = self.newest()? else { return Ok(None) };
        Ok(Some(Snapshot { meta: image.meta()?, snapshot: image }))
    }

    /// Bytes of the newest snapshot.
    pub(crate) fn bytes(&self) -> u64 {
        match self.newest() {
            Ok(Some(Image::File(path))) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
            Ok(Some(Image::Memory(bytes))) => bytes.len() as u64,
            Ok(Some(Image::Spooled(_) | Image::Frozen(_)) | None) | Err(_) => 0,
        }
    }

    /// Writes a snapshot, makes it durable and then the current one.
    pub(crate) fn save(&self, contents: &Contents) -> io::Result<Image> {
        if let Self::Frozen(current) = self {
            let contents = Box::new(contents.clone());
            let mut current = lock(current);
            if current.as_ref().is_none_or(|current| current.last_applied <= contents.last_applied) {
                *current = Some(contents.clone());
            }
            return Ok(Image::Frozen(contents));
        }
        self.install(contents.last_applied, |writer| encode(contents, writer))
    }

    /// Takes over a verified snapshot that came from elsewhere.
    pub(crate) fn adopt(&self, image: &Image, contents: &Contents) -> io::Result<Image> {
        if let (Self::Dir(dir), Image::File(path)) = (self, image)
            && path.parent() == Some(dir)
        {
            return Ok(image.clone());
        }
        if let (Self::Dir(dir), Image::Spooled(_)) = (self, image) {
            let adopted = self.adopt_file(dir, image, contents)?;
            remove_older(dir)?;
            return Ok(adopted);
        }
        if let Self::Frozen(_) = self {
            return self.save(contents);
        }
        let copy = |mut writer: &mut dyn Write| io::copy(&mut image.reader()?, &mut writer).map(drop);
        self.install(contents.last_applied, copy)
    }

    /// Puts a snapshot in the place of all others, newer ones too: they were made of a state that was wrong.
    pub(crate) fn reset(&self, image: &Image, contents: &Contents) -> io::Result<()> {
        match self {
            Self::Frozen(current) => *lock(current) = None,
            Self::Memory(shelf) => shelf.replace(|_| Ok(None))?,
            Self::Dir(dir) => {
                let Image::File(kept) = self.adopt_file(dir, image, contents)? else {
                    unreachable!("a directory holds files")
                };
                // A crash in between leaves a newer one, and the state it makes is found out again.
                files(dir)?.iter().filter(|path| **path != kept).try_for_each(fs::remove_file)?;
                return File::open(dir)?.sync_all();
            }
        }
        self.adopt(image, contents).map(drop)
    }

    /// Gives a snapshot its name in the directory.
    fn adopt_file(&self, dir: &Path, image: &Image, contents: &Contents) -> io::Result<Image> {
        let name = dir.join(file_name(contents.last_applied));
        if let Image::Spooled(spooled) = image {
            // Complete and on disk, see `Incoming`.
            fs::rename(spooled.path(), &name)?;
            File::open(dir)?.sync_all()?;
            return Ok(Image::File(name));
        }
        let unfinished = name.with_extension(UNFINISHED);
        let mut writer = BufWriter::new(File::create(&unfinished)?);
        io::copy(&mut image.reader()?, &mut writer)?;
        writer.into_inner()?.sync_all()?;
        fs::rename(&unfinished, &name)?;
        File::open(dir)?.sync_all()?;
        Ok(Image::File(name))
    }

    fn install(
        &self,
        last_applied: Option<LogId>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Image> {
        match self {
            Self::Frozen(_) => unreachable!("a frozen state is never written"),
            Self::Memory(shelf) => {
                let mut bytes = Vec::new();
                write(&mut bytes)?;
                let bytes = Bytes::from(bytes);
                shelf.replace(|kept| {
                    let before = kept.clone().map(|bytes| Image::Memory(bytes).meta()).transpose()?;
                    let is_newer = before.is_none_or(|before| before.last_log_id <= last_applied);
                    Ok(if is_newer { Some(bytes.clone()) } else { kept })
                })?;
                Ok(Image::Memory(bytes))
            }
            Self::Dir(dir) => {
                let path = dir.join(file_name(last_applied));
                let unfinished = path.with_extension(UNFINISHED);
                let mut writer = BufWriter::new(File::create(&unfinished)?);
                write(&mut writer)?;
                writer.into_inner()?.sync_all()?;
                fs::rename(&unfinished, &path)?;
                File::open(dir)?.sync_all()?;
                remove_older(dir)?;
                Ok(Image::File(path))
            }
        }
    }

    fn newest(&self) -> io::Result<Option<Image>> {
        match self {
            Self::Frozen(current) => Ok(lock(current).clone().map(Image::Frozen)),
            Self::Memory(shelf) => Ok(shelf.snapshot().map(Image::Memory)),
            // The name begins with the log index, so the greatest is the newest.
            Self::Dir(dir) => Ok(files(dir)?.into_iter().max().map(Image::File)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held")
}

fn file_name(last_applied: Option<LogId>) -> String {
    let (index, term) = last_applied.map_or((0, 0), |id| (id.index(), id.committed_leader_id().term));
    format!("{index:020}-{term}.snapshot")
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.map(|file| file.map(|file| file.path()));
    let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "snapshot");
    paths.filter(|path| path.as_ref().is_ok_and(is_snapshot)).collect()
}

/// Leaves the newest, which need not be the one that was written last: what this member built of its own
/// state may be finished only after a newer one has come from the leader, and the log is cut behind that.
fn remove_older(dir: &Path) -> io::Result<()> {
    let mut files = files(dir)?;
    files.sort();
    files.pop();
    files.iter().try_for_each(fs::remove_file)
}

/// Builds a snapshot from a frozen state, beside the apply task.
pub(crate) struct Builder {
    pub(super) snapshots: Snapshots,
    pub(super) contents: Contents,
    pub(super) alarm: Alarm,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (snapshots, contents) = (self.snapshots.clone(), self.contents.clone());
        let guard = self.alarm.guard("a snapshot");
        let image = if snapshots.waits() {
            let save = move || {
                let _guard = guard;
                snapshots.save(&contents)
            };
            let save = tokio::task::spawn_blocking(save);
            save.await.map_err(io::Error::other)??
        } else {
            snapshots.save(&contents)?
        };
        Ok(Snapshot { meta: self.contents.meta(), snapshot: image })
    }
}

fn encode(contents: &Contents, writer: &mut dyn Write) -> io::Result<()> {
    let state = &contents.state;
    let header = wire::SnapshotHeader {
        revision: state.revision().0,
        compacted: state.history().oldest().0,
        feature_level: 0,
        entries: state.view().len() as u64,
        changes: state.history().len() as u64,
        state_hash: Bytes::copy_from_slice(&state.hash().to_bytes()),
        last_applied: contents.last_applied.as_ref().map(convert::position),
        membership: Some(convert::stored_membership(&contents.membership)),
        id: file_name(contents.last_applied),
    };
    let mut writer = Hashing { inner: writer, hash: Sha256::new() };
    writer.write_all(MAGIC)?;
    writer.write_all(&[FORMAT_VERSION])?;
    write_record(&mut writer, &header)?;
    records::entries(state).try_for_each(|entry| write_record(&mut writer, &entry))?;
    records::changes(state).try_for_each(|change| write_record(&mut writer, &change))?;
    let checksum = writer.hash.finalize();
    writer.inner.write_all(&checksum)
}

/// A snapshot taken piece by piece, then read and written again.
pub(super) fn again(file: &[u8]) -> io::Result<Vec<u8>> {
    /// Small, so that every part is cut somewhere.
    const PIECE: usize = 7;
    let mut verifier = Verifier::default();
    file.chunks(PIECE).try_for_each(|piece| verifier.take(piece))?;
    verifier.finish()?;
    let mut bytes = Vec::new();
    encode(&decode(file)?, &mut bytes)?;
    Ok(bytes)
}

fn decode(reader: impl Read) -> io::Result<Contents> {
    let mut reader = Hashing { inner: reader, hash: Sha256::new() };
    let header = read_header(&mut reader)?;
    let mut restorer = Restorer::default();
    for _ in 0..header.entries {
        restorer.entry(read_record(&mut reader)?).map_err(invalid)?;
    }
    for _ in 0..header.changes {
        restorer.change(read_record(&mut reader)?).map_err(invalid)?;
    }
    let mut checksum = [0; CHECKSUM];
    reader.inner.read_exact(&mut checksum)?;
    if reader.hash.finalize()[..] != checksum {
        return Err(damaged("a snapshot with a wrong checksum"));
    }
    let state = restorer.finish(Revision(header.revision), Revision(header.compacted)).map_err(invalid)?;
    if state.hash().to_bytes()[..] != header.state_hash[..] {
        return Err(damaged("a snapshot with a wrong state hash"));
    }
    Ok(Contents {
        state,
        last_applied: header.last_applied.map(convert::read_position),
        membership: convert::read_stored_membership(header.membership.unwrap_or_default())?,
    })
}

fn read_header(reader: &mut impl Read) -> io::Result<wire::SnapshotHeader> {
    let mut magic = [0; MAGIC.len() + 1];
    reader.read_exact(&mut magic)?;
    if magic[..MAGIC.len()] != MAGIC[..] || magic[MAGIC.len()] != FORMAT_VERSION {
        return Err(damaged("no snapshot, or one of an unknown format"));
    }
    read_record(reader)
}

fn write_record(writer: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).map_err(|_| damaged("a record above 4 GiB"))?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(&bytes)
}

/// Each record has a buffer of its own, so that an object that lives long keeps no other in memory.
fn read_record<M: Message + Default>(reader: &mut impl Read) -> io::Result<M> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    let mut bytes = Vec::new();
    // Grows as it reads, so that a damaged length reserves nothing.
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(damaged("a snapshot that ends early"));
    }
    M::decode(Bytes::from(bytes)).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
