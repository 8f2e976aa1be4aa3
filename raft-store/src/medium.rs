//! Where a store lives: a log backend and a place for snapshots.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::log::{DiskLog, LogBackend};
use crate::replica::{Shelf, Snapshots};

/// Where a store lives.
pub struct Medium {
    /// `None` when nothing outlives the process.
    pub(crate) backend: Option<Box<dyn LogBackend>>,
    pub(crate) snapshots: Snapshots,
}

/// A place for snapshots in memory that outlives the store, for tests and the simulator. A store that another one has
/// replaced on it writes there no more.
#[derive(Debug, Clone, Default)]
pub struct SnapshotShelf(Shelf);

impl Medium {
    /// `raft/` and `snapshots/` in a directory, readable by nobody else.
    pub fn in_dir(dir: &Path) -> io::Result<Self> {
        let (log, snapshots) = (dir.join("raft"), dir.join("snapshots"));
        for path in [dir, &log, &snapshots] {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let backend: Box<dyn LogBackend> = Box::new(DiskLog::open(&log)?);
        Ok(Self { backend: Some(backend), snapshots: Snapshots::in_dir(&snapshots)? })
    }

    /// Gone with the process: nothing is written anywhere.
    pub fn in_memory() -> Self {
        Self { backend: None, snapshots: Snapshots::nowhere() }
    }

    /// A backend of the caller's, with snapshots on a shelf.
    pub fn new(backend: Box<dyn LogBackend>, shelf: &SnapshotShelf) -> Self {
        Self { backend: Some(backend), snapshots: Snapshots::Memory(shelf.0.open()) }
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Medium").field("snapshots", &self.snapshots).finish_non_exhaustive()
    }
}
