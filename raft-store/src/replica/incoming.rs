//! A snapshot that arrives from another member: verified piece by piece, and refused before it replaces anything.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::snapshot::{Image, Snapshots, UNFINISHED};
use super::types::SnapshotMeta;
use super::verifier::Verifier;

/// The whole file of a snapshot that came from another member. It goes with its last holder, unless it was installed.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: Unfinished,
    meta: SnapshotMeta,
}

impl Spooled {
    pub(super) fn path(&self) -> &Path {
        &self.file.0
    }

    /// What it is a snapshot of.
    pub(super) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }
}

/// A file that is removed again.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // An installed one has another name by now, which no later one gets.
        let _ = fs::remove_file(&self.0);
    }
}

/// Tells the files of arriving snapshots apart: one may begin to arrive while the one before it is being installed.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// A snapshot that arrives. What a crash leaves is removed at the next start.
pub(crate) struct Incoming {
    verifier: Verifier,
    place: Place,
}

enum Place {
    File(Unfinished, BufWriter<File>),
    Memory(Vec<u8>),
}

impl Incoming {
    pub(crate) fn new(snapshots: &Snapshots) -> io::Result<Self> {
        let place = match snapshots {
            Snapshots::Dir(dir) => {
                let number = ARRIVED.fetch_add(1, Ordering::Relaxed);
                let path = dir.join(format!("incoming-{number}")).with_extension(UNFINISHED);
                let file = File::options().write(true).create_new(true).open(&path)?;
                Place::File(Unfinished(path), BufWriter::new(file))
            }
            Snapshots::Memory(_) | Snapshots::Frozen(_) => Place::Memory(Vec::new()),
        };
        Ok(Self { verifier: Verifier::default(), place })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.verifier.take(bytes)?;
        match &mut self.place {
            Place::File(_, file) => file.write_all(bytes),
            Place::Memory(all) => all.write_all(bytes),
        }
    }

    /// Everything has arrived.
    pub(crate) fn finish(self) -> io::Result<Image> {
        let meta = self.verifier.finish()?;
        match self.place {
            Place::File(file, writer) => {
                writer.into_inner()?.sync_all()?;
                Ok(Image::Spooled(Arc::new(Spooled { file, meta })))
            }
            Place::Memory(all) => Ok(Image::Memory(all.into())),
        }
    }
}
