//! The next steps for one pod.
//!
//! `plan` compares what is wanted with what is there and names steps that may be taken now, in order. It keeps
//! no state: after every round the worker looks again and asks anew, so a lost step is simply planned once
//! more. It never touches a container of another pod and never restarts one that runs as wanted.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::backoff::{Backoff, go_seconds};
use super::memory::{Failed, Memory, Volumes};
use super::observed::{Container, Observed, Sandbox, State};
use super::spec::{self, Role};

/// What shall become of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Its containers run.
    Run,
    /// Nothing of it runs: it is finished, evicted or being deleted.
    Stop,
    /// Its object is gone: nothing of it is left on the node.
    Forget,
}

/// Everything a plan reads.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The object.
    pub pod: &'a Pod,
    /// The runtime.
    pub observed: &'a Observed,
    /// What the worker remembers.
    pub memory: &'a Memory,
    /// What is wanted.
    pub goal: Goal,
    /// The time.
    pub now: Timestamp,
}

/// One step. The executor adds nothing to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make directories, cgroups and volumes.
    SetUp,
    /// Write configMap, secret and projected volumes again where their sources changed.
    RefreshVolumes,
    /// Start a sandbox.
    RunSandbox {
        /// How many came before.
        attempt: u32,
    },
    /// Stop a sandbox and leave its network.
    StopSandbox {
        /// Which.
        id: String,
    },
    /// Forget a sandbox and all in it.
    RemoveSandbox {
        /// Which.
        id: String,
    },
    /// Pull, create and start a container, and run its postStart hook.
    Start {
        /// Where it goes.
        sandbox: String,
        /// Its name.
        name: String,
        /// Its list.
        role: Role,
        /// How many came before, if the runtime has any of them.
        attempt: Option<u32>,
    },
    /// Stop containers, all at once.
    Kill(Vec<Kill>),
    /// Forget a container.
    Remove {
        /// Which.
        id: String,
    },
    /// Unmount volumes and remove cgroups.
    TearDown,
    /// Remove the pod's directories and logs.
    RemoveDirectories,
}

/// One container to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The runtime's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The event's text.
    pub message: String,
    /// The probe that wants it, whose own grace period then counts.
    pub probe: Option<Failed>,
}

/// The steps and what else follows from the view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps to take now.
    pub actions: Vec<Action>,
    /// Containers held back after a crash: name, what to report.
    pub held_back: Vec<(String, String)>,
    /// When to ask again even if nothing is heard.
    pub wake_at: Option<Timestamp>,
    /// Nothing runs and nothing is mounted any more.
    pub stopped: bool,
    /// Nothing is left at all.
    pub forgotten: bool,
}

impl Plan {
    fn act(action: Action) -> Self {
        Plan { actions: vec![action], ..Plan::default() }
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }
}

/// The next steps. Reads nothing but `view`.
pub fn plan(view: &View<'_>) -> Plan {
    match view.goal {
        Goal::Run => plan_run(view),
        Goal::Stop => plan_stop(view),
        Goal::Forget => plan_forget(view),
    }
}

fn plan_run(view: &View<'_>) -> Plan {
    let mut plan = match volume_step(view) {
        Step::Do(action) => return Plan::act(action),
        Step::Wait(at) => return Plan { wake_at: Some(at), ..Plan::default() },
        Step::Done(next_look) => Plan { wake_at: next_look, ..Plan::default() },
    };
    let Some(sandbox) = view.observed.usable_sandbox(spec::host_network(view.pod)) else {
        return plan_sandbox(view, plan);
    };
    plan_containers(view, sandbox, &mut plan);
    plan.actions.extend(remove_surplus(view.observed));
    plan
}

enum Step {
    Do(Action),
    Wait(Timestamp),
    Done(Option<Timestamp>),
}

/// Volumes come before everything: a container must not start without one.
fn volume_step(view: &View<'_>) -> Step {
    match view.memory.volumes {
        Volumes::Unknown => Step::Do(Action::SetUp),
        Volumes::Failed { retry_at, .. } if view.now >= retry_at => Step::Do(Action::SetUp),
        // What runs already goes on; nothing is started or judged until the volumes are there.
        Volumes::Failed { retry_at, .. } => Step::Wait(retry_at),
        Volumes::Ready { refresh_at } if view.now >= refresh_at => Step::Do(Action::RefreshVolumes),
        Volumes::Ready { refresh_at } => Step::Done(Some(refresh_at)),
    }
}

/// There is no sandbox to put containers in: clear what is left of the old one and make another.
fn plan_sandbox(view: &View<'_>, mut plan: Plan) -> Plan {
    let running: Vec<&Container> = view.observed.running().collect();
    if !running.is_empty() {
        plan.actions.push(Action::Kill(running.into_iter().map(stop_politely).collect()));
        return plan;
    }
    if !wants_sandbox(view) {
        return plan;
    }
    // One that is dead still holds its network.
    plan.actions.extend(stop_sandboxes(view.observed));
    match view.memory.sandbox_retry_at {
        Some(retry_at) if view.now < retry_at => plan.wake(retry_at),
        _ => {
            let attempt = view.observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt + 1);
            plan.actions.push(Action::RunSandbox { attempt });
        }
    }
    plan
}

fn stop_sandboxes(observed: &Observed) -> impl Iterator<Item = Action> + '_ {
    observed.sandboxes.iter().map(|sandbox| Action::StopSandbox { id: sandbox.id.clone() })
}

/// A pod whose containers all ended for good needs no new sandbox to end in.
fn wants_sandbox(view: &View<'_>) -> bool {
    view.observed.containers.is_empty()
        || spec::main_containers(view.pod).iter().any(|container| {
            should_start(view.pod, Role::Main, container, view.observed.latest(&container.name))
        })
}

/// Whether there should be a (new) container of this name.
fn should_start(pod: &Pod, role: Role, container: &Spec, latest: Option<&Container>) -> bool {
    match latest.map(|latest| (latest.state, latest.exit_code)) {
        None | Some((State::Created | State::Unknown, _)) => true,
        Some((State::Running, _)) => false,
        Some((State::Exited, code)) => spec::restarts(pod, role, container, code),
    }
}

fn plan_containers(view: &View<'_>, sandbox: &Sandbox, plan: &mut Plan) {
    // Those who look for what is wrong wait for nobody, least of all for an init container that hangs.
    for added in spec::ephemeral(view.pod) {
        let latest = view.observed.latest(&added.name);
        let container = spec::as_container(added);
        if should_start(view.pod, Role::Ephemeral, &container, latest) {
            plan_start(view, sandbox, Role::Ephemeral, &container, latest, plan);
        }
    }
    if !plan_init(view, sandbox, plan) {
        return;
    }
    for container in spec::main_containers(view.pod) {
        let latest = view.observed.latest(&container.name);
        if let Some(running) = latest.filter(|latest| latest.is_running()) {
            plan_unhealthy(view, Role::Main, container, running, plan);
        } else if should_start(view.pod, Role::Main, container, latest) {
            plan_start(view, sandbox, Role::Main, container, latest, plan);
        }
    }
}

/// Init containers and sidecars, in order. True when the main containers may run.
fn plan_init(view: &View<'_>, sandbox: &Sandbox, plan: &mut Plan) -> bool {
    let initialized = is_initialized(view, sandbox);
    for container in spec::init_containers(view.pod) {
        let latest = view.observed.latest_in(&sandbox.id, &container.name);
        let done = if spec::is_sidecar(container) {
            plan_sidecar(view, sandbox, container, latest, plan)
        } else {
            initialized || plan_once(view, sandbox, container, latest, plan)
        };
        // Once main containers ran, a sidecar that restarts holds nobody up.
        if !done && !initialized {
            return false;
        }
    }
    true
}

/// A main container was made in this sandbox, so its init containers must have done their work.
fn is_initialized(view: &View<'_>, sandbox: &Sandbox) -> bool {
    spec::main_containers(view.pod)
        .iter()
        .any(|container| view.observed.latest_in(&sandbox.id, &container.name).is_some())
}

fn plan_sidecar(
    view: &View<'_>,
    sandbox: &Sandbox,
    container: &Spec,
    latest: Option<&Container>,
    plan: &mut Plan,
) -> bool {
    match latest.filter(|latest| latest.is_running()) {
        None => {
            plan_start(view, sandbox, Role::Sidecar, container, latest, plan);
            false
        }
        Some(running) => {
            plan_unhealthy(view, Role::Sidecar, container, running, plan);
            has_started(view.memory, container, running)
        }
    }
}

/// Its startup probe, if it has one, succeeded.
fn has_started(memory: &Memory, container: &Spec, running: &Container) -> bool {
    container.startup_probe.is_none() || memory.started.get(&running.id) == Some(&true)
}

fn plan_once(
    view: &View<'_>,
    sandbox: &Sandbox,
    container: &Spec,
    latest: Option<&Container>,
    plan: &mut Plan,
) -> bool {
    match latest.map(|latest| (latest.state, latest.exit_code)) {
        Some((State::Exited, 0)) => return true,
        Some((State::Running, _)) => {}
        _ if should_start(view.pod, Role::Init, container, latest) => {
            plan_start(view, sandbox, Role::Init, container, latest, plan);
        }
        // It failed and may not try again: the phase says so, and the goal becomes Stop.
        _ => {}
    }
    false
}

/// A probe may want a running container restarted. The restart itself follows once it has ended.
fn plan_unhealthy(view: &View<'_>, role: Role, container: &Spec, running: &Container, plan: &mut Plan) {
    let Some(probe) = view.memory.unhealthy.get(&running.id).copied() else { return };
    let which = match probe {
        Failed::Liveness => "liveness",
        Failed::Startup => "startup",
    };
    // 137 is how a killed container usually ends; rules that match it restart even a Never pod's.
    let suffix = if spec::restarts(view.pod, role, container, 137) { ", will be restarted" } else { "" };
    let message = format!("Container {} failed {which} probe{suffix}", container.name);
    plan.actions.push(Action::Kill(vec![Kill {
        id: running.id.clone(),
        name: container.name.clone(),
        message,
        probe: Some(probe),
    }]));
}

fn plan_start(
    view: &View<'_>,
    sandbox: &Sandbox,
    role: Role,
    container: &Spec,
    latest: Option<&Container>,
    plan: &mut Plan,
) {
    if view.memory.starting.contains(&container.name) {
        return;
    }
    if let Some(retry_at) = view.memory.retry_at.get(&container.name).filter(|at| view.now < **at) {
        return plan.wake(*retry_at);
    }
    let exited = view
        .observed
        .containers
        .iter()
        .find(|other| other.name == container.name && other.state == State::Exited);
    let backoff = view.memory.restarts.get(&container.name).copied();
    let until = exited.and_then(|exited| Backoff::until(backoff, exited.ended(), view.now));
    if let Some((until, backoff)) = until.zip(backoff) {
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            go_seconds(backoff.delay),
            container.name,
            spec::full_name(view.pod)
        );
        plan.held_back.push((container.name.clone(), message));
        return plan.wake(until);
    }
    plan.actions.push(Action::Start {
        sandbox: sandbox.id.clone(),
        name: container.name.clone(),
        role,
        attempt: view.observed.latest(&container.name).or(latest).map(|latest| latest.attempt + 1),
    });
}

/// Of each container the newest and the one before are kept: the latter for `logs --previous` and lastState.
fn remove_surplus(observed: &Observed) -> Vec<Action> {
    let newest_sandbox = observed.sandboxes.first().map(|sandbox| sandbox.id.as_str());
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    let mut kept_sandboxes = std::collections::BTreeSet::new();
    let mut actions = Vec::new();
    for container in &observed.containers {
        let count = seen.entry(&container.name).or_default();
        *count += 1;
        if *count > 2 && !container.is_running() {
            actions.push(Action::Remove { id: container.id.clone() });
        } else {
            kept_sandboxes.insert(container.sandbox.as_str());
        }
    }
    let surplus = observed.sandboxes.iter().filter(|sandbox| {
        !sandbox.ready
            && Some(sandbox.id.as_str()) != newest_sandbox
            && !kept_sandboxes.contains(sandbox.id.as_str())
    });
    actions.extend(surplus.map(|sandbox| Action::RemoveSandbox { id: sandbox.id.clone() }));
    actions
}

fn plan_stop(view: &View<'_>) -> Plan {
    let (sidecars, mains): (Vec<_>, Vec<_>) =
        view.observed.running().partition(|container| is_running_sidecar(view.pod, container));
    if !mains.is_empty() {
        return Plan::act(Action::Kill(mains.into_iter().map(stop_politely).collect()));
    }
    // Sidecars serve until nobody is left to be served, and go in the reverse order of their start.
    let order = |container: &&Container| {
        spec::init_containers(view.pod).iter().position(|init| init.name == container.name)
    };
    if let Some(last) = sidecars.into_iter().max_by_key(order) {
        return Plan::act(Action::Kill(vec![stop_politely(last)]));
    }
    // A sandbox may come up after all, when its start could not be taken back in time.
    let late = view.observed.sandboxes.iter().any(|sandbox| sandbox.ready);
    if !view.memory.torn_down || late {
        let steps = stop_sandboxes(view.observed).chain([Action::TearDown]);
        return Plan { actions: steps.collect(), ..Plan::default() };
    }
    Plan { stopped: true, ..Plan::default() }
}

fn is_running_sidecar(pod: &Pod, container: &Container) -> bool {
    matches!(spec::container(pod, &container.name), Some((Role::Sidecar, _)))
}

fn stop_politely(container: &Container) -> Kill {
    Kill {
        id: container.id.clone(),
        name: container.name.clone(),
        message: format!("Stopping container {}", container.name),
        probe: None,
    }
}

fn plan_forget(view: &View<'_>) -> Plan {
    let stop = plan_stop(view);
    if !stop.stopped {
        return stop;
    }
    let sandboxes = view.observed.sandboxes.iter().map(|sandbox| &sandbox.id);
    let mut actions: Vec<Action> = sandboxes.map(|id| Action::RemoveSandbox { id: id.clone() }).collect();
    let is_orphan = |container: &&Container| {
        view.observed.sandboxes.iter().all(|sandbox| sandbox.id != container.sandbox)
    };
    let orphans = view.observed.containers.iter().filter(is_orphan);
    actions.extend(orphans.map(|container| Action::Remove { id: container.id.clone() }));
    if actions.is_empty() {
        return Plan {
            actions: vec![Action::RemoveDirectories],
            stopped: true,
            forgotten: true,
            ..Plan::default()
        };
    }
    Plan { actions, stopped: true, ..Plan::default() }
}

/// How long a container may take to stop: the deletion's period, or the probe's own.
pub fn kill_grace(pod: &Pod, container: Option<&Spec>, probe: Option<Failed>) -> SignedDuration {
    let own = container.and_then(|container| match probe? {
        Failed::Liveness => container.liveness_probe.as_ref()?.termination_grace_period_seconds,
        Failed::Startup => container.startup_probe.as_ref()?.termination_grace_period_seconds,
    });
    let deleting = pod.metadata.deletion_grace_period_seconds.is_some();
    let seconds = own.filter(|_| !deleting).unwrap_or_else(|| spec::grace_seconds(pod));
    SignedDuration::from_secs(seconds.max(0))
}
