//! One pod's life: look, decide, act, report, wait.
//!
//! The worker itself never waits for the runtime beyond a look: steps are taken by a [`Round`] beside it, one at
//! a time, while the worker goes on to look and report. A change of goal tells the round to stop waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::execute::{Round, Update};
use super::look::{Look, look};
use super::memory::{Failed, Memory, Waiting};
use super::observed::{Observed, State};
use super::plan::{self, Action, Goal, Plan};
use super::report::{self, Report};
use super::spec;
use super::status::{self, Forced};
use crate::events::Severity;
use crate::probe::attempt::Subject;
use crate::probe::task::{Assignment, Task, Verdict};
use crate::probe::{self, Kind};
use crate::shared::Shared;

/// A full look even when nothing was heard; upstream's period.
const RESYNC: Duration = Duration::from_secs(60);
/// Pause after a failed look or step.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// What the supervisor wants of a worker.
#[derive(Debug, Clone)]
pub struct Target {
    /// The object as last seen.
    pub pod: Arc<Pod>,
    /// It exists no longer.
    pub gone: bool,
    /// The node refuses it.
    pub refused: Option<Forced>,
}

/// What others may see of a worker's pod.
#[derive(Debug, Clone, Default)]
pub struct Glimpse {
    /// The runtime.
    pub observed: Arc<Observed>,
    /// The last status.
    pub status: Arc<PodStatus>,
}

/// What a worker is made from.
pub struct Assigned {
    /// The agent.
    pub shared: Arc<Shared>,
    /// What is wanted.
    pub target: watch::Receiver<Target>,
    /// Rung when the runtime's view of the pod may have changed.
    pub wake: Arc<Notify>,
    /// Where others look.
    pub glimpse: watch::Sender<Glimpse>,
    /// The worker of an earlier pod of the same name.
    pub predecessor: Option<CancellationToken>,
    /// The agent stops.
    pub shutdown: CancellationToken,
}

struct Worker {
    shared: Arc<Shared>,
    target: watch::Receiver<Target>,
    wake: Arc<Notify>,
    glimpse: watch::Sender<Glimpse>,
    memory: Memory,
    observed: Arc<Observed>,
    looked: Look,
    status: PodStatus,
    round: Option<Running>,
    goal: Goal,
    updates: (mpsc::UnboundedSender<Update>, mpsc::UnboundedReceiver<Update>),
    verdicts: (mpsc::UnboundedSender<Verdict>, mpsc::UnboundedReceiver<Verdict>),
    probes: BTreeMap<(String, Kind), Task>,
    reports: watch::Sender<Report>,
    hold_until: Option<Timestamp>,
    shutdown: CancellationToken,
}

/// A round that is under way.
struct Running {
    handle: JoinHandle<Result<(), ()>>,
    cancelled: CancellationToken,
    goal: Goal,
    grace: i64,
}

/// Runs one pod until nothing of it is left or the agent stops.
pub async fn run(assigned: Assigned) {
    if let Some(predecessor) = assigned.predecessor {
        tokio::select! {
            () = predecessor.cancelled() => {}
            () = assigned.shutdown.cancelled() => return,
        }
    }
    let pod = Arc::clone(&assigned.target.borrow().pod);
    let stored = pod.status.clone().unwrap_or_default();
    let report = Report { stored: stored.clone(), ..Report::default() };
    let (reports, receiver) = watch::channel(report);
    let reporter = report::run(assigned.shared.objects.client().clone(), pod, receiver);
    tokio::spawn(reporter);
    let worker = Worker {
        memory: seed(&stored),
        shared: assigned.shared,
        target: assigned.target,
        wake: assigned.wake,
        glimpse: assigned.glimpse,
        observed: Arc::default(),
        looked: Look::default(),
        status: stored,
        round: None,
        goal: Goal::Run,
        updates: mpsc::unbounded_channel(),
        verdicts: mpsc::unbounded_channel(),
        probes: BTreeMap::new(),
        reports,
        hold_until: None,
        shutdown: assigned.shutdown,
    };
    worker.live().await;
}

/// Probe results as they were last reported, so that a restart of the agent leaves a ready pod ready.
fn seed(stored: &PodStatus) -> Memory {
    let mut memory = Memory::default();
    for status in spec::container_statuses(stored) {
        let id =
            status.container_id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
        let Some(id) = id else { continue };
        if status.started == Some(true) {
            memory.started.insert(id.clone(), true);
        }
        if status.ready {
            memory.ready.insert(id, true);
        }
    }
    memory
}

/// Why the worker looks up.
enum Wake {
    Target,
    Runtime,
    Round(Result<(), ()>),
    Update(Update),
    Verdict(Verdict),
    Time,
    Shutdown,
}

impl Worker {
    async fn live(mut self) {
        let mut stale = true;
        let mut resync = tokio::time::Instant::now() + RESYNC;
        loop {
            if stale {
                let pod = Arc::clone(&self.target.borrow().pod);
                match look(&self.shared, &pod, &mut self.looked).await {
                    Ok(observed) => {
                        stale = false;
                        self.observed = Arc::new(observed);
                        let known = Arc::clone(&self.observed);
                        self.memory
                            .keep_only(|id| known.containers.iter().any(|container| container.id == id));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the runtime cannot be looked at");
                        self.hold_until = Some(Timestamp::now() + PAUSE);
                    }
                }
            }
            let plan = if stale { Plan::default() } else { self.decide() };
            if plan.forgotten && self.round.is_none() {
                self.finish(plan.actions).await;
                return;
            }
            let wake_at = self.begin(plan);
            match self.sleep(wake_at, resync).await {
                Wake::Shutdown => return,
                Wake::Target => {}
                Wake::Verdict(verdict) => self.on_verdict(verdict),
                // Creation and start are looked at when they are told of, not only at the round's end.
                Wake::Update(update) => {
                    update.apply(&mut self.memory);
                    stale = true;
                }
                Wake::Runtime => stale = true,
                Wake::Time => {
                    if tokio::time::Instant::now() >= resync {
                        resync = tokio::time::Instant::now() + RESYNC;
                        stale = true;
                    }
                    stale |= self.hold_until.is_some();
                }
                Wake::Round(result) => {
                    self.round = None;
                    self.memory.starting.clear();
                    stale = true;
                    if result.is_err() {
                        self.hold_until = Some(Timestamp::now() + PAUSE);
                    }
                }
            }
            while let Ok(update) = self.updates.1.try_recv() {
                update.apply(&mut self.memory);
                stale = true;
            }
        }
    }

    /// Computes status and plan, and reports.
    fn decide(&mut self) -> Plan {
        let target = self.target.borrow_and_update().clone();
        let now = Timestamp::now();
        let forced = target.refused.clone().or_else(|| overdue(&target.pod, &self.status, now));
        let deleting = target.gone || spec::is_deleting(&target.pod);
        let ended = |status: &PodStatus| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let ending = deleting || forced.is_some() || ended(&self.status);
        let first = self.status_now(&target, forced.as_ref(), ending, false, now);
        let goal = match (target.gone, deleting || forced.is_some() || ended(&first) || ended(&self.status)) {
            (true, _) => Goal::Forget,
            (false, true) => Goal::Stop,
            (false, false) => Goal::Run,
        };
        self.goal = goal;
        let view = plan::View { pod: &target.pod, observed: &self.observed, memory: &self.memory, goal, now };
        let mut plan = plan::plan(&view);
        if let Some(deadline) = deadline(&target.pod, &first).filter(|_| goal == Goal::Run) {
            plan.wake_at = Some(plan.wake_at.map_or(deadline, |at| at.min(deadline)));
        }
        self.note_held_back(&target.pod, &plan);
        let ending = ending || goal != Goal::Run;
        let status = self.status_now(&target, forced.as_ref(), ending, plan.stopped, now);
        self.sync_probes(&target.pod, goal);
        self.report(&target, status, plan.stopped && deleting);
        plan.actions = self.without_what_runs(plan.actions, goal, &target.pod);
        tracing::trace!(pod = spec::full_name(&target.pod), ?goal, ?plan, "planned");
        plan
    }

    fn status_now(
        &self,
        target: &Target,
        forced: Option<&Forced>,
        ending: bool,
        stopped: bool,
        now: Timestamp,
    ) -> PodStatus {
        let node_ips = self.shared.node_ips();
        status::status(&status::View {
            pod: &target.pod,
            old: &self.status,
            observed: &self.observed,
            memory: &self.memory,
            node_ips: &node_ips,
            runtime_name: &self.shared.runtime_name,
            forced,
            refused: target.refused.is_some(),
            ending,
            stopped,
            now,
        })
    }

    /// Containers in their back-off say so.
    fn note_held_back(&mut self, pod: &Pod, plan: &Plan) {
        for (name, message) in &plan.held_back {
            let waiting = Waiting { reason: "CrashLoopBackOff".into(), message: message.clone() };
            if self.memory.waiting.get(name) == Some(&waiting) {
                continue;
            }
            self.memory.waiting.insert(name.clone(), waiting);
            let event =
                format!("Back-off restarting failed container {name} in pod {}", spec::full_name(pod));
            self.shared.recorder.container(pod, name, Severity::Warning, "BackOff", event);
        }
    }

    fn report(&mut self, target: &Target, status: PodStatus, delete: bool) {
        self.status = status;
        self.glimpse.send_replace(Glimpse {
            observed: Arc::clone(&self.observed),
            status: Arc::new(self.status.clone()),
        });
        if target.gone {
            return;
        }
        let stored = target.pod.status.clone().unwrap_or_default();
        let status = Some(self.status.clone());
        self.reports.send_if_modified(|report| {
            let changed = report.status != status || report.delete != delete || report.stored != stored;
            *report = Report { status, delete, stored };
            changed
        });
    }

    /// A round that is under way is not disturbed, unless what it is for has changed.
    fn without_what_runs(&mut self, actions: Vec<Action>, goal: Goal, pod: &Pod) -> Vec<Action> {
        let Some(round) = &self.round else { return actions };
        let hurried = goal != Goal::Run && spec::grace_seconds(pod) < round.grace;
        if round.goal != goal && round.goal == Goal::Run || hurried {
            round.cancelled.cancel();
        }
        Vec::new()
    }

    /// Starts a round if there are steps. Gives when to look up.
    fn begin(&mut self, plan: Plan) -> Option<Timestamp> {
        let now = Timestamp::now();
        let held = self.hold_until.filter(|until| now < *until);
        self.hold_until = held;
        if plan.actions.is_empty() || self.round.is_some() || held.is_some() {
            return [plan.wake_at, held].into_iter().flatten().min();
        }
        let pod = Arc::clone(&self.target.borrow().pod);
        self.note_starts(&plan.actions, now);
        let cancelled = CancellationToken::new();
        let round = Round {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(&pod),
            observed: Arc::clone(&self.observed),
            memory: Arc::new(self.memory.clone()),
            updates: self.updates.0.clone(),
            cancelled: cancelled.clone(),
        };
        let goal = self.goal;
        let handle = tokio::spawn(round.run(plan.actions));
        self.round = Some(Running { handle, cancelled, goal, grace: spec::grace_seconds(&pod) });
        plan.wake_at
    }

    /// A restart that is let through makes the next wait longer.
    fn note_starts(&mut self, actions: &[Action], now: Timestamp) {
        for action in actions {
            let Action::Start { name, .. } = action else { continue };
            self.memory.starting.insert(name.clone());
            let exited = |container: &&super::observed::Container| {
                container.name == *name && container.state == State::Exited
            };
            if let Some(exited) = self.observed.containers.iter().find(exited) {
                let before = self.memory.restarts.get(name).copied();
                let next = Backoff::next(before, exited.ended(), now);
                self.memory.restarts.insert(name.clone(), next);
            }
        }
    }

    async fn sleep(&mut self, wake_at: Option<Timestamp>, resync: tokio::time::Instant) -> Wake {
        let wait = wake_at.map(|at| super::execute::std_duration(at.duration_since(Timestamp::now())));
        let deadline = wait.map_or(resync, |wait| resync.min(tokio::time::Instant::now() + wait));
        let round = async {
            match &mut self.round {
                Some(round) => (&mut round.handle).await.unwrap_or(Err(())),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Wake::Shutdown,
            changed = self.target.changed() => if changed.is_ok() { Wake::Target } else { Wake::Shutdown },
            result = round => Wake::Round(result),
            Some(update) = self.updates.1.recv() => Wake::Update(update),
            Some(verdict) = self.verdicts.1.recv() => Wake::Verdict(verdict),
            () = self.wake.notified() => Wake::Runtime,
            () = tokio::time::sleep_until(deadline) => Wake::Time,
        }
    }

    fn on_verdict(&mut self, verdict: Verdict) {
        let Verdict { id, kind, good } = verdict;
        match (kind, good) {
            (Kind::Readiness, _) => {
                self.memory.ready.insert(id, good);
            }
            (Kind::Startup, true) => {
                self.memory.started.insert(id, true);
            }
            (Kind::Startup, false) => {
                self.memory.unhealthy.insert(id, Failed::Startup);
            }
            (Kind::Liveness, true) => {}
            (Kind::Liveness, false) => {
                self.memory.unhealthy.insert(id, Failed::Liveness);
            }
        }
    }

    /// Exactly the probes that should be asked now have a task each.
    fn sync_probes(&mut self, pod: &Arc<Pod>, goal: Goal) {
        let observed = Arc::clone(&self.observed);
        let is_due = |id: &str, kind: Kind| {
            let running = observed.running().any(|container| container.id == id);
            running && (goal == Goal::Run || kind == Kind::Readiness)
        };
        self.probes.retain(|(id, kind), _| is_due(id, *kind));
        for running in observed.running() {
            let Some((role, container)) = spec::container(pod, &running.name) else { continue };
            let container = container.as_ref();
            if matches!(role, spec::Role::Init | spec::Role::Ephemeral) {
                continue;
            }
            let started =
                container.startup_probe.is_none() || self.memory.started.get(&running.id) == Some(&true);
            for kind in Kind::ALL {
                let Some(question) = kind.of(container) else { continue };
                let turn = started != (kind == Kind::Startup);
                let key = (running.id.clone(), kind);
                if !turn || !is_due(&running.id, kind) || self.probes.contains_key(&key) {
                    continue;
                }
                let task = self.spawn_probe(pod, running, container, kind, question);
                self.probes.insert(key, task);
            }
        }
    }

    fn spawn_probe(
        &self,
        pod: &Arc<Pod>,
        running: &super::observed::Container,
        container: &k8s_openapi::api::core::v1::Container,
        kind: Kind,
        probe: &k8s_openapi::api::core::v1::Probe,
    ) -> Task {
        let ips = self.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        let place = self.shared.place(pod, &ips);
        probe::task::spawn(Assignment {
            pod: Arc::clone(pod),
            subject: Subject {
                runtime: Arc::clone(&self.shared.runtime),
                id: running.id.clone(),
                container: container.clone(),
                pod_ip: place.pod_ips.first().cloned().unwrap_or_default(),
            },
            kind,
            probe: probe.clone(),
            started: running.started.unwrap_or(running.created),
            recorder: self.shared.recorder.clone(),
            verdicts: self.verdicts.0.clone(),
        })
    }

    /// Takes the last steps: nothing follows that could go wrong.
    async fn finish(self, actions: Vec<Action>) {
        let round = Round {
            pod: Arc::clone(&self.target.borrow().pod),
            shared: self.shared,
            observed: self.observed,
            memory: Arc::new(self.memory),
            updates: self.updates.0,
            cancelled: CancellationToken::new(),
        };
        // Nobody is left to plan again; what could not be removed was logged.
        let _ = round.run(actions).await;
    }
}

/// When the pod's own deadline ends it.
fn deadline(pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
    let seconds = spec::spec(pod).active_deadline_seconds?;
    let start = status.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn overdue(pod: &Pod, status: &PodStatus, now: Timestamp) -> Option<Forced> {
    let late = deadline(pod, status).is_some_and(|deadline| now >= deadline);
    (late && !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))).then(|| Forced {
        reason: "DeadlineExceeded".into(),
        message: "Pod was active on the node longer than the specified deadline".into(),
    })
}
