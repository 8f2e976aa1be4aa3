//! A computer with a disk and a store on it: boots, loses power, boots again.
//!
//! After a power cut the old store's tasks may still run, as those of a dead machine that nobody hears:
//! its disk refuses everything and its calls end unanswered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft_store::{Clock, HashSeed, Medium, OpenError, Options, Random, Seams, SnapshotShelf, Store, Term};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::bugs::Bug;
use crate::disk::Disk;
use crate::plan::Plan;
use crate::seed::Stream;
use crate::trace::{Event, Recorder};

/// Between two attempts to open a store.
const BOOT_PAUSE: Duration = Duration::from_secs(2);

/// A computer. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Computer {
    recorder: Recorder,
    plan: Arc<Plan>,
    seed: Stream,
    bug: Option<Bug>,
    disk: Disk,
    shelf: SnapshotShelf,
    running: Arc<watch::Sender<Option<Api>>>,
    restart: Arc<Notify>,
}

impl Computer {
    /// A computer that is off.
    pub fn new(recorder: Recorder, plan: Arc<Plan>, seed: &Stream, bug: Option<Bug>) -> Self {
        let disk = Disk::new(Duration::from_millis(plan.disk_ms), bug);
        let seed = seed.named("computer", 0);
        let (shelf, running) = (SnapshotShelf::default(), Arc::new(watch::Sender::new(None)));
        Self { recorder, plan, seed, bug, disk, shelf, running, restart: Arc::default() }
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Stops the store in good order and starts it again. Not if none runs.
    pub fn restart(&self) -> bool {
        let runs = self.running.borrow().is_some();
        if runs {
            self.restart.notify_one();
        }
        runs
    }

    /// The running store, once there is one.
    pub async fn api(&self) -> Api {
        let mut running = self.running.subscribe();
        let api = running.wait_for(Option::is_some).await.expect("the sender is in self");
        api.clone().expect("waited for above")
    }

    /// Boots whenever it is off, for ever.
    pub async fn run(self) {
        let mut draw = self.seed.named("downtime", 0);
        for start in 0.. {
            let power = self.disk.power_on();
            let opened = tokio::select! {
                biased;
                () = power.cancelled() => None,
                opened = self.open(start, &power) => Some(opened),
            };
            match opened {
                None => self.recorder.record(Event::PowerLost),
                Some(Ok(store)) => self.serve(store, power).await,
                Some(Err(error)) => {
                    self.recorder.record(Event::BootFailed(reason(&error).into()));
                    tokio::time::sleep(BOOT_PAUSE).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(draw.within(0..=800))).await;
        }
    }

    async fn open(&self, start: u64, power: &CancellationToken) -> Result<Store, OpenError> {
        let seams = seams(&self.seed.named("seams", start));
        let options = Options { limits: self.plan.limits, ..Options::default() };
        let (disk, shelf, power) = (self.disk.clone(), self.shelf.clone(), power.clone());
        Store::open_on(move || Ok(Medium::new(disk.open(&power)?, &shelf)), options, seams).await
    }

    /// Serves until the power goes or a restart is asked for.
    async fn serve(&self, store: Store, power: CancellationToken) {
        self.recorder.record(Event::Booted { revision: store.view().revision().0 });
        let mut leadership = store.leadership();
        self.tell(*leadership.borrow_and_update());
        let follower = self.clone().follow(leadership);
        tokio::spawn(power.clone().run_until_cancelled_owned(follower));
        self.running.send_replace(Some(Api::new(store.clone(), power.clone(), self.bug)));
        let lost = tokio::select! {
            biased;
            () = power.cancelled() => true,
            () = self.restart.notified() => false,
        };
        self.running.send_replace(None);
        let stopping = async move { store.shutdown().await };
        if lost {
            // Nobody hears it; it only has to end.
            tokio::spawn(stopping);
        } else {
            power.run_until_cancelled(stopping).await;
        }
        if power.is_cancelled() {
            self.recorder.record(Event::PowerLost);
        }
        power.cancel();
    }

    async fn follow(self, mut leadership: watch::Receiver<Option<Term>>) {
        while leadership.changed().await.is_ok() {
            let term = *leadership.borrow_and_update();
            self.tell(term);
        }
    }

    fn tell(&self, term: Option<Term>) {
        self.recorder.record(term.map_or(Event::LeadsNot, |term| Event::Leads { term: term.0 }));
    }
}

/// In words that are the same for the same seed.
fn reason(error: &OpenError) -> &'static str {
    match error {
        OpenError::Medium(_) => "medium",
        OpenError::Damaged { .. } => "damaged",
        OpenError::Replication { .. } => "replication",
    }
}

fn seams(seed: &Stream) -> Seams {
    let hash_seed = HashSeed(seed.clone().draw());
    let random = Mutex::new(seed.named("random", 0));
    Seams { clock: Arc::new(VirtualClock(Instant::now())), random: Arc::new(Seeded(random)), hash_seed }
}

struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Seeded(Mutex<Stream>);

impl Random for Seeded {
    fn next(&self) -> u64 {
        self.0.lock().expect("no panic while the lock is held").draw()
    }
}
