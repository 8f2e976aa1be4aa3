//! The phase of a pod, from its containers' statuses.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::spec::{self, Role};

/// What the statuses of one kind of container add up to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    unknown: u32,
    running: u32,
    /// Not started even once.
    waiting: u32,
    /// Ended at least once and not running now.
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

/// Facts about the pod that are not in its statuses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// The pod is being deleted, or was told to end: nothing restarts.
    pub ending: bool,
    /// A main container runs or ended in the present sandbox.
    pub initialized: bool,
}

/// The phase that the statuses amount to. Leaves Succeeded and Failed to the caller to keep.
pub fn phase(pod: &Pod, statuses: &[ContainerStatus], circumstances: Circumstances) -> &'static str {
    let init = InitTally::of(pod, statuses);
    if init.failed_for_good {
        return "Failed";
    }
    let mut tally = Tally::default();
    for container in spec::init_containers(pod).iter().filter(|container| spec::is_sidecar(container)) {
        tally.count_sidecar(find(statuses, &container.name));
    }
    for container in spec::main_containers(pod) {
        let restarts = |code| spec::restarts(pod, Role::Main, container, code);
        tally.count_main(find(statuses, &container.name), restarts);
    }
    let initializing = init.pending || (init.sidecar_pending && !circumstances.initialized);
    if initializing || tally.waiting > 0 || tally.unknown > 0 {
        return "Pending";
    }
    match tally {
        Tally { running: 1.., .. } => "Running",
        Tally { stopped: 0, .. } => "Pending",
        // Something is about to be restarted.
        _ if !circumstances.ending && tally.stopped != tally.stopped_for_good => "Running",
        _ if tally.stopped == tally.succeeded => "Succeeded",
        _ => "Failed",
    }
}

#[derive(Debug, Default)]
struct InitTally {
    pending: bool,
    sidecar_pending: bool,
    failed_for_good: bool,
}

impl InitTally {
    fn of(pod: &Pod, statuses: &[ContainerStatus]) -> Self {
        let mut tally = InitTally::default();
        for container in spec::init_containers(pod) {
            let status = find(statuses, &container.name);
            let state = status.and_then(|status| status.state.as_ref());
            if spec::is_sidecar(container) {
                let started = status.is_some_and(|status| status.started == Some(true));
                let running = state.is_some_and(|state| state.running.is_some());
                let first = status.is_some_and(|status| ended(status).is_none());
                tally.sidecar_pending |= (running && !started) || (!running && first);
                continue;
            }
            match status.and_then(ended) {
                Some(end) if end.exit_code != 0 => {
                    tally.failed_for_good |= !spec::restarts(pod, Role::Init, container, end.exit_code);
                    tally.pending |= state.is_some_and(|state| state.running.is_some());
                }
                // A last state of success cannot stand beside a present state of waiting.
                Some(_) => tally.pending |= state.is_none_or(|state| state.terminated.is_none()),
                None => tally.pending = true,
            }
        }
        tally
    }
}

impl Tally {
    fn count_sidecar(&mut self, status: Option<&ContainerStatus>) {
        match status {
            None => self.unknown += 1,
            Some(status) if is_running(status) => self.running += 1,
            Some(status) if ended(status).is_some() => {}
            Some(_) => self.waiting += 1,
        }
    }

    fn count_main(&mut self, status: Option<&ContainerStatus>, restarts: impl Fn(i32) -> bool) {
        let Some(status) = status else {
            self.unknown += 1;
            return;
        };
        if is_running(status) {
            self.running += 1;
            return;
        }
        let Some(end) = ended(status) else {
            self.waiting += 1;
            return;
        };
        self.stopped += 1;
        self.stopped_for_good += u32::from(!restarts(end.exit_code));
        let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        self.succeeded += u32::from(now.is_some_and(|end| end.exit_code == 0));
    }
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// How the container ended, now or, when it waits for its next start, the last time.
fn ended(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of =
        |state: &'_ Option<ContainerState>| state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = if of(&status.state) { &status.state } else { &status.last_state };
    let waits = status.state.as_ref().is_none_or(|state| state.running.is_none());
    state.as_ref().filter(|_| waits).and_then(|state| state.terminated.as_ref())
}
