//! Replacing files that cannot be trusted any more by a copy, so that a crash leaves the one or the other.
//!
//! ```text
//! raft/  raft.new/            the copy is complete and on disk
//! raft.old/  raft.new/        a crash here: the copy takes over
//! raft.old/  raft/            a crash here: the old one is removed
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

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
