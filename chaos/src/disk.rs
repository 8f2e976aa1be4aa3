//! The computer's disk: a [`FaultyDisk`] with a speed, and with a power switch that can go in the middle
//! of a commit.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raft_store::log::{Fault, FaultyBackend, FaultyDisk, LogBackend, LogStats, Op, Record, Recovered};
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::forgery;
use crate::tally::{DISKS, TIMES};
use crate::trace::Recorder;

/// The disk. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Disk {
    faulty: FaultyDisk,
    knobs: Arc<Mutex<Knobs>>,
    recorder: Recorder,
    bug: Option<Bug>,
}

#[derive(Debug)]
struct Knobs {
    /// Cancelled when the power goes.
    power: CancellationToken,
    pause: Duration,
    /// Operations that survive of the next commit, which the power does not.
    cut_in_commit: Option<usize>,
    failed_once: bool,
}

impl Disk {
    /// An empty disk, without power.
    pub fn new(pause: Duration, recorder: &Recorder, bug: Option<Bug>) -> Self {
        let power = CancellationToken::new();
        power.cancel();
        let knobs = Knobs { power, pause, cut_in_commit: None, failed_once: false };
        let knobs = Arc::new(Mutex::new(knobs));
        Self { faulty: FaultyDisk::default(), knobs, recorder: recorder.clone(), bug }
    }

    /// Switches the power on. The token is cancelled when it goes.
    pub fn power_on(&self) -> CancellationToken {
        let power = CancellationToken::new();
        self.knobs().power = power.clone();
        power
    }

    /// Cuts the power, unless it is off already.
    pub fn cut(&self, torn: usize) -> bool {
        let power = self.knobs().power.clone();
        let was_on = !power.is_cancelled();
        if was_on {
            self.faulty.tear(torn);
            power.cancel();
        }
        was_on
    }

    /// Cuts the power in the middle of the next commit.
    pub fn cut_in_commit(&self, torn: usize) {
        self.knobs().cut_in_commit = Some(torn);
    }

    /// Leaves no space.
    pub fn fill(&self) {
        self.faulty.fill();
    }

    /// Makes space.
    pub fn free(&self) {
        self.faulty.free();
    }

    /// Fails the next commit between its write and its sync.
    pub fn fail_sync(&self) {
        self.faulty.inject(Fault::InputOutput);
    }

    /// Sets how long a commit takes.
    pub fn set_pause(&self, pause: Duration) {
        self.knobs().pause = pause;
    }

    /// Ends what has not happened yet.
    pub fn heal(&self, pause: Duration) {
        self.free();
        self.knobs().cut_in_commit = None;
        self.set_pause(pause);
    }

    /// Opens the disk for a store that was started while `power` was on.
    pub fn open(&self, power: &CancellationToken) -> io::Result<Box<dyn LogBackend>> {
        if power.is_cancelled() {
            return Err(io::Error::other("the power is off"));
        }
        if self.bug == Some(Bug::NeverRecovers) && self.knobs().failed_once {
            return Err(io::Error::other("the disk has failed once"));
        }
        let skips = self.bug == Some(Bug::SyncSkipped);
        let open = if skips { FaultyBackend::open_without_sync } else { FaultyBackend::open };
        Ok(Box::new(Backend { disk: self.clone(), inner: open(&self.faulty), power: power.clone() }))
    }

    fn count(&self, what: &'static str) {
        self.recorder.count(DISKS, what, TIMES);
    }

    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().expect("no panic while the lock is held")
    }
}

struct Backend {
    disk: Disk,
    inner: FaultyBackend,
    power: CancellationToken,
}

impl LogBackend for Backend {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        if self.power.is_cancelled() {
            return Err(io::Error::other("the power is off"));
        }
        let mut ops: Vec<Op> = ops.into_iter().flat_map(split).collect();
        if self.disk.bug == Some(Bug::VoteForgotten) {
            ops.retain(|op| !matches!(op, Op::Vote(_)));
        }
        let cut = self.disk.knobs().cut_in_commit.take();
        let Some(torn) = cut else {
            let committed = self.inner.commit(ops);
            self.disk.knobs().failed_once |= committed.is_err();
            self.disk.count(match &committed {
                Ok(()) => "committed",
                Err(error) if error.kind() == io::ErrorKind::StorageFull => "no space",
                Err(_) => "sync failed",
            });
            return committed;
        };
        self.disk.fail_sync();
        let committed = self.inner.commit(ops);
        self.disk.cut(torn);
        self.disk.count(if torn == 0 { "cut by the power, whole" } else { "cut by the power, torn" });
        committed
    }

    fn load(&mut self) -> io::Result<Recovered> {
        let mut recovered = self.inner.load()?;
        self.disk.count("log read");
        if matches!(self.disk.bug, Some(Bug::ReplayUnguarded | Bug::StatesNotCompared)) {
            recovered.records = recovered.records.into_iter().map(forgery::unguarded).collect();
        }
        Ok(recovered)
    }

    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        if self.power.is_cancelled() {
            return Err(io::Error::other("the power is off"));
        }
        self.disk.count("entries read again");
        self.inner.read(indexes)
    }

    fn stats(&self) -> LogStats {
        self.inner.stats()
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn pause(&self) -> Option<Duration> {
        Some(self.disk.knobs().pause)
    }
}

/// One operation a record, so that a commit can be torn between any two.
fn split(op: Op) -> Vec<Op> {
    match op {
        Op::Append(records) => records.into_iter().map(|record| Op::Append(vec![record])).collect(),
        other => vec![other],
    }
}
