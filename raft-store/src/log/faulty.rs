//! A disk that lies, for tests and the simulator: what was not synced is lost with the power.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{LogBackend, LogStats, MemBackend, Op, Record, Recovered};

/// What goes wrong with the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space: nothing is written.
    NoSpace,
    /// The sync fails. The kernel takes what was written for clean: it is read until the power goes, and no later
    /// sync of the same files brings it or what comes behind it to the disk.
    InputOutput,
}

/// The disk itself. It outlives the backends that write to it.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    image: Arc<Mutex<Image>>,
}

#[derive(Debug, Default)]
struct Image {
    durable: MemBackend,
    /// Written but not synced, in order.
    volatile: Vec<Vec<Op>>,
    next: Option<Fault>,
    /// A sync has failed, and the files are still the same.
    forgetful: bool,
    full: bool,
    /// Counts power cuts: a backend from before one writes into the void.
    incarnation: u64,
    commits: u64,
    reads: u64,
}

impl FaultyDisk {
    /// Makes every commit fail for want of space, until [`FaultyDisk::free`].
    pub fn fill(&self) {
        self.image().full = true;
    }

    /// Makes room again.
    pub fn free(&self) {
        self.image().full = false;
    }

    /// Makes the next commit fail.
    pub fn inject(&self, fault: Fault) {
        self.image().next = Some(fault);
    }

    /// Cuts the power: everything that was not synced is gone.
    pub fn cut_power(&self) {
        let mut image = self.image();
        image.volatile.clear();
        image.forgetful = false;
        image.incarnation += 1;
    }

    /// Cuts the power while the disk writes: of what was not synced, the first operations survive.
    pub fn tear(&self, operations: usize) {
        let mut image = self.image();
        let volatile = std::mem::take(&mut image.volatile);
        for op in volatile.into_iter().flatten().take(operations) {
            image.durable.apply(op);
        }
        image.forgetful = false;
        image.incarnation += 1;
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.image().commits
    }

    /// How often entries were read again.
    pub fn reads(&self) -> u64 {
        self.image().reads
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().expect("no panic while the lock is held")
    }
}

impl Image {
    fn sync(&mut self) {
        if self.forgetful {
            return;
        }
        for op in std::mem::take(&mut self.volatile).into_iter().flatten() {
            self.durable.apply(op);
        }
    }

    /// A running system reads its own writes, synced or not.
    fn seen(&self) -> Cow<'_, MemBackend> {
        let mut seen = Cow::Borrowed(&self.durable);
        for op in self.volatile.iter().flatten() {
            seen.to_mut().apply(op.clone());
        }
        seen
    }
}

/// A backend on a [`FaultyDisk`].
#[derive(Debug)]
pub struct FaultyBackend {
    disk: FaultyDisk,
    incarnation: u64,
    syncs: bool,
}

impl FaultyBackend {
    /// Opens a disk.
    pub fn open(disk: &FaultyDisk) -> Self {
        let incarnation = disk.image().incarnation;
        Self { disk: disk.clone(), incarnation, syncs: true }
    }

    /// Opens a disk and forgets to sync: what a store without the fdatasync would do. A test that does
    /// not fail with it proves nothing.
    pub fn open_without_sync(disk: &FaultyDisk) -> Self {
        Self { syncs: false, ..Self::open(disk) }
    }
}

impl LogBackend for FaultyBackend {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        let mut image = self.disk.image();
        if image.incarnation != self.incarnation {
            return Err(io::Error::other("the power is off"));
        }
        image.commits += 1;
        let fault = image.next.take();
        if image.full || fault == Some(Fault::NoSpace) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.volatile.push(ops);
        if fault == Some(Fault::InputOutput) {
            image.forgetful = true;
            return Err(io::Error::other("input/output error"));
        }
        if self.syncs {
            image.sync();
        }
        Ok(())
    }

    /// As the log in a directory does it: what an earlier owner did not sync is synced, and after a failed sync
    /// everything is written anew.
    fn load(&mut self) -> io::Result<Recovered> {
        let mut image = self.disk.image();
        if self.syncs {
            if image.forgetful && image.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            image.forgetful = false;
            image.sync();
        }
        image.seen().into_owned().load()
    }

    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        let mut image = self.disk.image();
        if image.incarnation != self.incarnation {
            return Err(io::Error::other("the power is off"));
        }
        image.reads += 1;
        Ok(image.seen().range(&indexes))
    }

    fn stats(&self) -> LogStats {
        LogStats::default()
    }

    fn is_inline(&self) -> bool {
        true
    }
}
