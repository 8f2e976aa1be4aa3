//! Giving disk space back: sled's file never shrinks, so a file much larger than what lives in it is
//! replaced by a copy.
//!
//! ```text
//! raft/  raft.new/            the copy is complete and on disk
//! raft.old/  raft.new/        a crash here: the copy takes over
//! raft.old/  raft/            a crash here: the old one is removed
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// When a file counts as much larger than what lives in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bloat {
    /// Smaller files are left alone.
    pub(super) bytes_min: u64,
    /// Size of the file to the size of what lives in it.
    pub(super) factor: u64,
}

impl Default for Bloat {
    fn default() -> Self {
        Self { bytes_min: 256 << 20, factor: 6 }
    }
}

impl Bloat {
    pub(super) fn may_be(&self, disk_bytes: u64) -> bool {
        disk_bytes > self.bytes_min
    }

    pub(super) fn is(&self, disk_bytes: u64, live_bytes: u64) -> bool {
        self.may_be(disk_bytes) && disk_bytes > live_bytes.saturating_mul(self.factor)
    }
}

/// Where the copy is made. What an earlier attempt left there is removed.
pub(super) fn copy_dir(dir: &Path) -> io::Result<PathBuf> {
    let copy = beside(dir, "new");
    remove(&copy)?;
    Ok(copy)
}

/// Puts the complete copy in the place of the original.
pub(super) fn swap(dir: &Path) -> io::Result<()> {
    remove(&beside(dir, "old"))?;
    rename(dir, &beside(dir, "old"))?;
    rename(&beside(dir, "new"), dir)?;
    remove(&beside(dir, "old"))
}

/// Brings a swap that a crash interrupted to its end, or undoes it.
pub(super) fn finish(dir: &Path) -> io::Result<()> {
    let (copy, old) = (beside(dir, "new"), beside(dir, "old"));
    if old.exists() && !dir.exists() {
        rename(if copy.exists() { &copy } else { &old }, dir)?;
    }
    remove(&copy)?;
    remove(&old)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    dir.with_added_extension(suffix)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn remove(dir: &Path) -> io::Result<()> {
    if dir.exists() { fs::remove_dir_all(dir) } else { Ok(()) }
}
