//! A computer with a disk, a clock and a store on it: boots, loses power, boots again.
//!
//! After a power cut the old store's tasks may still run, as those of a dead machine that nobody hears:
//! its disk refuses everything, its messages go nowhere and its calls end unanswered.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raft_store::peers::{Begin, Peering};
use raft_store::{
    Clock, HashSeed, Medium, MemberId, OpenError, Options, Random, Seams, SnapshotShelf, Store, Term,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::bugs::Bug;
use crate::disk::Disk;
use crate::network::{CLUSTER, Network};
use crate::plan::Plan;
use crate::seed::Stream;
use crate::trace::{Event, Recorder};

/// Between two attempts to open a store.
const BOOT_PAUSE: Duration = Duration::from_secs(2);

/// The time of day when a run begins: a clock can be set back from it.
const MORNING: Duration = Duration::from_secs(1_000_000);

/// A computer. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Computer {
    number: usize,
    recorder: Recorder,
    plan: Arc<Plan>,
    seed: Stream,
    bug: Option<Bug>,
    network: Network,
    parts: Arc<Mutex<Parts>>,
    clock: Arc<VirtualClock>,
    running: Arc<watch::Sender<Option<Api>>>,
    restart: Arc<Notify>,
}

/// What is replaced when a member is.
#[derive(Debug, Clone)]
struct Parts {
    member: u64,
    begin: Begin,
    disk: Disk,
    shelf: SnapshotShelf,
}

impl Parts {
    fn new(member: u64, begin: Begin, plan: &Plan, recorder: &Recorder, bug: Option<Bug>) -> Self {
        let disk = Disk::new(Duration::from_millis(plan.disk_ms), recorder, bug);
        Self { member, begin, disk, shelf: SnapshotShelf::default() }
    }
}

/// Where a member says it is reached.
pub fn address(member: u64) -> String {
    format!("member-{member}")
}

impl Computer {
    /// A computer that is off. The first one's member founds the cluster.
    pub fn new(
        number: usize,
        network: &Network,
        recorder: Recorder,
        plan: Arc<Plan>,
        seed: &Stream,
        bug: Option<Bug>,
    ) -> Self {
        let begin = if number == 0 { Begin::Found } else { Begin::Join };
        let parts = Arc::new(Mutex::new(Parts::new(number as u64 + 1, begin, &plan, &recorder, bug)));
        let clock = Arc::new(VirtualClock { began: Instant::now(), ahead_ms: AtomicI64::new(0) });
        Self {
            number,
            recorder,
            plan,
            seed: seed.named("computer", number as u64),
            bug,
            network: network.clone(),
            parts,
            clock,
            running: Arc::new(watch::Sender::new(None)),
            restart: Arc::default(),
        }
    }

    /// Its number, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its disk.
    pub fn disk(&self) -> Disk {
        self.parts().disk.clone()
    }

    /// The member on it.
    pub fn member(&self) -> u64 {
        self.parts().member
    }

    /// Sets its clock.
    pub fn set_clock(&self, by_ms: i64) {
        self.clock.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Stops the store in good order and starts it again. Not if none runs.
    pub fn restart(&self) -> bool {
        let runs = self.running.borrow().is_some();
        if runs {
            self.restart.notify_one();
        }
        runs
    }

    /// Ends its member with its disk for good; another one that knows nothing starts in its place.
    pub fn replace(&self, member: u64) {
        let parts = Parts::new(member, Begin::Join, &self.plan, &self.recorder, self.bug);
        let old = std::mem::replace(&mut *self.parts(), parts);
        self.network.leave(old.member);
        self.running.send_replace(None);
        old.disk.cut(0);
    }

    /// The running store, if there is one. One that has just lost its power is none, told or not.
    pub fn running(&self) -> Option<Api> {
        self.running.borrow().clone().filter(|api| !api.power().is_cancelled())
    }

    /// Boots whenever it is off, for ever.
    pub async fn run(self) {
        let mut draw = self.seed.named("downtime", 0);
        for start in 0.. {
            let parts = self.parts().clone();
            let power = parts.disk.power_on();
            let opened = tokio::select! {
                biased;
                () = power.cancelled() => None,
                opened = self.open(start, &parts, &power) => Some(opened),
            };
            match opened {
                None => self.tell(Event::PowerLost { computer: self.number }),
                Some(Ok(store)) => self.serve(start, &parts, store, power).await,
                Some(Err(error)) => {
                    let why = reason(&error).into();
                    self.tell(Event::BootFailed { computer: self.number, why });
                    tokio::time::sleep(BOOT_PAUSE).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(draw.within(0..=800))).await;
        }
    }

    async fn open(&self, start: u64, parts: &Parts, power: &CancellationToken) -> Result<Store, OpenError> {
        let seams = self.seams(&self.seed.named("seams", start));
        let peering = (self.plan.members > 1).then(|| Peering {
            cluster: CLUSTER.into(),
            address: address(parts.member).into(),
            transport: Arc::new(self.network.port(self.number, power.clone())),
            begin: parts.begin,
        });
        let member = MemberId(parts.member);
        let options = Options { data_dir: None, member, peering, limits: self.plan.limits };
        let (disk, shelf, power) = (parts.disk.clone(), parts.shelf.clone(), power.clone());
        Store::open_on(move || Ok(Medium::new(disk.open(&power)?, &shelf)), options, seams).await
    }

    /// Serves until the power goes or a restart is asked for.
    async fn serve(&self, start: u64, parts: &Parts, store: Store, power: CancellationToken) {
        let (computer, member) = (self.number, parts.member);
        self.tell(Event::Booted { computer, member, revision: store.view().revision().0 });
        let mut leadership = store.leadership();
        self.tell_term(*leadership.borrow_and_update());
        let follower = self.clone().follow(leadership);
        tokio::spawn(power.clone().run_until_cancelled_owned(follower));
        self.network.join(member, computer, store.clone(), power.clone());
        self.running.send_replace(Some(Api::new(store.clone(), power.clone(), start, self.bug)));
        let lost = tokio::select! {
            biased;
            () = power.cancelled() => true,
            () = self.restart.notified() => false,
        };
        self.running.send_replace(None);
        let ended = store.clone();
        let stopping = async move { ended.shutdown().await };
        if lost {
            // Nobody hears it; it only has to end.
            tokio::spawn(stopping);
        } else {
            power.run_until_cancelled(stopping).await;
        }
        self.network.leave(member);
        if power.is_cancelled() {
            self.tell(Event::PowerLost { computer });
        }
        power.cancel();
    }

    async fn follow(self, mut leadership: watch::Receiver<Option<Term>>) {
        while leadership.changed().await.is_ok() {
            let term = *leadership.borrow_and_update();
            self.tell_term(term);
        }
    }

    fn tell_term(&self, term: Option<Term>) {
        let computer = self.number;
        self.tell(term.map_or(Event::LeadsNot { computer }, |term| Event::Leads { computer, term: term.0 }));
    }

    fn tell(&self, event: Event) {
        self.recorder.record(event);
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().expect("no panic while the lock is held")
    }

    fn seams(&self, seed: &Stream) -> Seams {
        let hash_seed = HashSeed(seed.clone().draw());
        let random = Mutex::new(seed.named("random", 0));
        Seams { clock: self.clock.clone(), random: Arc::new(Seeded(random)), hash_seed }
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

/// Wall time: goes with virtual time, until somebody sets it.
#[derive(Debug)]
struct VirtualClock {
    began: Instant,
    ahead_ms: AtomicI64,
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead_ms.unsigned_abs());
        let now = MORNING + self.began.elapsed();
        if ahead_ms < 0 { now.saturating_sub(by) } else { now + by }
    }
}

struct Seeded(Mutex<Stream>);

impl Random for Seeded {
    fn next(&self) -> u64 {
        self.0.lock().expect("no panic while the lock is held").draw()
    }
}
