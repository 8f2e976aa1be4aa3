//! One run from one seed, on one thread, in virtual time: first faults, then calm, then the verdict.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, RngSeed};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::check::{self, Violation};
use crate::client::{Client, Company};
use crate::cluster::Cluster;
use crate::nemesis;
use crate::plan::Plan;
use crate::seed::Stream;
use crate::tally::Tally;
use crate::trace::{Event, Recorder, Timed};
use crate::watcher::{Habit, Watcher};
use crate::words::{Action, Answer, RESOURCES, Scope};
use crate::workload;

/// How long everything may take once faults are over. A disk is opened again after 2 s, an open that
/// failed is tried again after 2 s more; a newcomer may take half a minute to catch up.
const CALM_MAX: Duration = Duration::from_secs(120);

/// How long one call may take in calm before it is made anew.
const CALM_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks whether all agree.
const AGREE_INTERVAL: Duration = Duration::from_millis(250);

/// The client that looks at the end.
const AUDITOR: u64 = 99;

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub trace: Vec<Timed>,
    /// What should not have.
    pub violations: Vec<Violation>,
    /// How often what happened.
    pub tally: Tally,
}

impl Run {
    /// Whether nothing happened that should not.
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs a seed, with a bug put in or without.
pub fn run(seed: u64, bug: Option<Bug>) -> Run {
    watch_panics();
    let stream = Stream::new(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()))
        .build()
        .expect("a runtime without threads and I/O");
    let plan = Arc::new(Plan::of(&stream));
    let (trace, mut tally) = runtime.block_on(play(stream, plan.clone(), bug));
    drop(runtime);
    tally.read(&trace);
    let mut violations = check::all(&trace, &plan, &mut tally);
    let panics = PANICS.take();
    violations.extend(panics.into_iter().map(|text| Violation { promise: "no panic", at: None, text }));
    Run { seed, trace, violations, tally }
}

/// Runs seeds, so many at a time or as many as there are processors, and hands the runs over in order. Each runs on one
/// thread with nothing shared: how many there are changes none.
pub fn run_all(
    seeds: RangeInclusive<u64>,
    bug: Option<Bug>,
    jobs: Option<NonZeroUsize>,
    mut take: impl FnMut(Run),
) {
    let jobs = jobs.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let next = AtomicU64::new(*seeds.start());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (sender, next, last) = (sender.clone(), &next, *seeds.end());
            scope.spawn(move || {
                let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for seed in seeds.take_while(|seed| *seed <= last) {
                    sender.send(run(seed, bug)).expect("received until every sender is gone");
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut due = *seeds.start();
        for run in receiver {
            waiting.insert(run.seed, run);
            while let Some(run) = waiting.remove(&due) {
                take(run);
                due += 1;
            }
        }
    });
}

async fn play(seed: Stream, plan: Arc<Plan>, bug: Option<Bug>) -> (Vec<Timed>, Tally) {
    let recorder = Recorder::begin();
    let cluster = Cluster::new(&recorder, &plan, &seed, bug);
    cluster.start();
    let calm = CancellationToken::new();
    let company = Company {
        cluster: cluster.clone(),
        recorder: recorder.clone(),
        plan: plan.clone(),
        seed,
        calm: calm.clone(),
        calls: Arc::default(),
        watches: Arc::default(),
    };
    let watchers = watchers(&company);
    let clients: Vec<JoinHandle<()>> =
        (0..plan.clients).map(|number| tokio::spawn(Client::new(&company, number).run())).collect();
    nemesis::storm(&cluster, &plan, &recorder).await;
    calm.cancel();
    let mut doing = "clients";
    let settled = timeout(CALM_MAX, settle(&company, clients, watchers, &mut doing)).await;
    if settled.is_err() {
        recorder.record(Event::Overdue(format!("the run does not come to an end in calm: {doing}")));
        nemesis::tell_states(&cluster, &recorder);
    }
    recorder.record(Event::Over);
    recorder.take()
}

/// Starts one diligent watcher a resource, and the fickle ones.
fn watchers(company: &Company) -> Vec<watch::Receiver<u64>> {
    let mut draw = company.seed.named("scopes", 0);
    let diligent = RESOURCES.map(|resource| (Scope::Resource(resource), Habit::Diligent));
    let fickle = (0..company.plan.watchers).map(|_| (workload::scope(&mut draw), Habit::Fickle));
    let all = diligent.into_iter().chain(fickle).zip(0..);
    let start = |((scope, habit), number)| {
        let (watcher, reached) = Watcher::new(company, number, scope, habit);
        tokio::spawn(watcher.run());
        reached
    };
    all.map(start).collect()
}

/// Lets the clients finish, cuts the power of everything once more, writes and reads through every member
/// and waits until all agree and every watcher has seen it.
async fn settle(
    company: &Company,
    clients: Vec<JoinHandle<()>>,
    watchers: Vec<watch::Receiver<u64>>,
    doing: &mut &'static str,
) {
    for client in clients {
        client.await.expect("clients do not panic: see the message above");
    }
    // Whatever was acknowledged has to be on the disks by now.
    for computer in company.cluster.computers() {
        computer.disk().cut(0);
    }
    tokio::task::yield_now().await;
    let mut auditor = Client::new(company, AUDITOR);
    let mut draw = company.seed.named("auditor", 0);
    *doing = "writes through every member";
    for number in 0..company.cluster.computers().len() {
        let write = |call| Action::Write(workload::plain_write(&mut draw, call));
        until(company, &mut auditor, number, write, |answer| matches!(answer, Answer::Applied { .. })).await;
    }
    *doing = "reads through every member";
    let mut newest = 0;
    for number in 0..company.cluster.computers().len() {
        for resource in RESOURCES {
            let list = |_| Action::List(resource);
            let is_listed = |answer: &Answer| matches!(answer, Answer::Listed { .. });
            let answer = until(company, &mut auditor, number, list, is_listed).await;
            if let Answer::Listed { at, .. } = answer {
                newest = newest.max(at);
            }
        }
    }
    *doing = "agreement";
    while !agree(&company.cluster) {
        sleep(AGREE_INTERVAL).await;
    }
    nemesis::tell_states(&company.cluster, &company.recorder);
    *doing = "watchers";
    for mut reached in watchers {
        reached.wait_for(|revision| *revision >= newest).await.expect("watchers run for ever");
    }
}

/// Calls one computer until the answer is good.
async fn until(
    company: &Company,
    auditor: &mut Client,
    number: usize,
    mut action: impl FnMut(u32) -> Action,
    is_good: fn(&Answer) -> bool,
) -> Answer {
    loop {
        if let Some(api) = company.cluster.computers()[number].running() {
            auditor.go(number);
            let call = company.next_call();
            let answer = auditor.call_on(&api, call, &action(call), CALM_DEADLINE).await;
            if is_good(&answer) {
                return answer;
            }
        }
        sleep(AGREE_INTERVAL).await;
    }
}

/// Whether the members are those that should be, and have come to the same.
fn agree(cluster: &Cluster) -> bool {
    let states = cluster.computers().iter().map(|computer| Some(computer.running()?.state()));
    let states: Vec<_> = states.collect();
    let is_alone = states.len() == 1;
    states[0].is_some()
        && states.windows(2).all(|pair| pair[0] == pair[1])
        && (is_alone || cluster.is_settled())
}

thread_local! {
    /// What panicked on this thread since it was last looked at.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A panic inside of the store ends one of its tasks and is easily missed.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
}
