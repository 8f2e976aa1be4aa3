//! The status of a pod: what the agent reports, from what it observes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, HostIP, LinuxContainerUser, Pod, PodIP, PodStatus,
    ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::memory::Memory;
use super::observed::{Container, Observed, State};
use super::phase::{self, Circumstances};
use super::resources;
use super::spec::{self, Role};

/// What is reported when a container vanished while its pod ended.
const VANISHED: &str = "The container could not be located when the pod was terminated";

/// Everything a status is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The object.
    pub pod: &'a Pod,
    /// The status last reported.
    pub old: &'a PodStatus,
    /// The runtime.
    pub observed: &'a Observed,
    /// What the worker remembers.
    pub memory: &'a Memory,
    /// The node's addresses.
    pub node_ips: &'a [String],
    /// The name before the `://` of a container id.
    pub runtime_name: &'a str,
    /// A phase forced from outside, with reason and message.
    pub forced: Option<&'a Forced>,
    /// The node never took the pod.
    pub refused: bool,
    /// The pod is being deleted or was forced to end.
    pub ending: bool,
    /// All of its containers are known to have stopped for the last time.
    pub stopped: bool,
    /// The time.
    pub now: Timestamp,
}

/// A phase that does not follow from the containers: a deadline, an eviction, a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The status to report.
pub fn status(view: &View<'_>) -> PodStatus {
    let ended_untouched = is_final(view.old) && view.old.container_statuses.is_none();
    if view.refused || ended_untouched {
        return untouched(view);
    }
    let has_init = !spec::init_containers(view.pod).is_empty();
    let old_main = view.old.container_statuses.as_deref().unwrap_or_default();
    let old_init = view.old.init_container_statuses.as_deref().unwrap_or_default();
    let of = |role: Role, container: &Spec, old: &[ContainerStatus]| {
        let old = old.iter().find(|status| status.name == container.name);
        container_status(view, role, container, old, has_init)
    };
    let mut init = Vec::new();
    let mut main = Vec::new();
    for (role, container) in spec::containers(view.pod) {
        match role {
            Role::Main => main.push(of(role, container, old_main)),
            Role::Init | Role::Sidecar => init.push(of(role, container, old_init)),
            // They are no part of what the pod is for: see below.
            Role::Ephemeral => {}
        }
    }
    let old_added = view.old.ephemeral_container_statuses.as_deref().unwrap_or_default();
    let added: Vec<ContainerStatus> = spec::ephemeral(view.pod)
        .iter()
        .map(|added| of(Role::Ephemeral, &spec::as_container(added), old_added))
        .collect();
    main.sort_by(|a, b| a.name.cmp(&b.name));
    let all: Vec<ContainerStatus> = init.iter().chain(&main).cloned().collect();
    let phase = decide_phase(view, &all);
    let sandbox = view.observed.usable_sandbox(spec::host_network(view.pod));
    let old_conditions = view.old.conditions.as_deref().unwrap_or_default();
    let mut conditions = foreign_conditions(view.pod);
    conditions.extend(conditions::conditions(
        view.pod,
        &all,
        &phase.name,
        sandbox.is_some(),
        old_conditions,
        view.now,
    ));
    let ips = addresses(view);
    PodStatus {
        phase: Some(phase.name),
        reason: phase.reason,
        message: phase.message,
        conditions: Some(conditions),
        container_statuses: Some(main),
        init_container_statuses: (!init.is_empty()).then_some(init),
        host_ip: view.node_ips.first().cloned(),
        host_ips: Some(view.node_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(resources::qos(view.pod).to_string()),
        start_time: view.old.start_time.clone().or(Some(Time(view.now))),
        observed_generation: view.pod.metadata.generation,
        ephemeral_container_statuses: (!added.is_empty()).then_some(added),
        ..PodStatus::default()
    }
}

fn is_final(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// A pod that was never begun has nothing to tell of its containers.
fn untouched(view: &View<'_>) -> PodStatus {
    let mut status = view.old.clone();
    if let Some(forced) = view.forced.filter(|_| !is_final(view.old)) {
        status.phase = Some("Failed".into());
        status.reason = Some(forced.reason.clone());
        status.message = Some(format!("Pod was rejected: {}", forced.message));
    }
    status.qos_class = Some(resources::qos(view.pod).to_string());
    status.start_time.get_or_insert(Time(view.now));
    status.observed_generation = view.pod.metadata.generation;
    status
}

/// Conditions of others are passed on as they are, so that a status is complete.
fn foreign_conditions(pod: &Pod) -> Vec<k8s_openapi::api::core::v1::PodCondition> {
    let present = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    present
        .iter()
        .filter(|condition| !conditions::OWNED.contains(&condition.type_.as_str()))
        .cloned()
        .collect()
}

struct Phase {
    name: String,
    reason: Option<String>,
    message: Option<String>,
}

fn decide_phase(view: &View<'_>, statuses: &[ContainerStatus]) -> Phase {
    let old = view.old.phase.as_deref().unwrap_or_default();
    let kept = |name: &str| Phase {
        name: name.to_owned(),
        reason: view.old.reason.clone(),
        message: view.old.message.clone(),
    };
    if is_final(view.old) {
        return kept(old);
    }
    if let Some(forced) = view.forced {
        return Phase {
            name: "Failed".into(),
            reason: Some(forced.reason.clone()),
            message: Some(forced.message.clone()),
        };
    }
    let initialized = spec::main_containers(view.pod)
        .iter()
        .any(|container| view.observed.latest(&container.name).is_some());
    let computed = phase::phase(view.pod, statuses, Circumstances { ending: view.ending, initialized });
    // A pod that ends is not over while something of it runs.
    let computed = match computed {
        "Succeeded" | "Failed" if runs_of_its_own(view) => "Running",
        // Being deleted before it ever ran.
        "Pending" if view.ending && view.stopped => "Failed",
        other => other,
    };
    if computed == old {
        return kept(old);
    }
    Phase { name: computed.to_owned(), reason: None, message: None }
}

/// Something beside those who only look at the pod is running.
fn runs_of_its_own(view: &View<'_>) -> bool {
    view.observed
        .running()
        .any(|running| !matches!(spec::container(view.pod, &running.name), Some((Role::Ephemeral, _))))
}

fn addresses(view: &View<'_>) -> Vec<String> {
    if spec::host_network(view.pod) {
        return view.node_ips.to_vec();
    }
    let newest = view.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    if !newest.is_empty() {
        return newest;
    }
    // The address stays in the record after the sandbox is gone, as the pod may still be looked at.
    let old = view.old.pod_ips.iter().flatten().map(|ip| ip.ip.clone());
    if view.observed.sandboxes.is_empty() || view.ending || view.stopped { old.collect() } else { Vec::new() }
}

fn container_status(
    view: &View<'_>,
    role: Role,
    container: &Spec,
    old: Option<&ContainerStatus>,
    has_init: bool,
) -> ContainerStatus {
    let mut status = match view.observed.latest(&container.name) {
        Some(latest) => observed_status(view, container, latest),
        None => unobserved_status(view, role, container, old, has_init),
    };
    status.volume_mounts = volume_mounts(container);
    let latest = view.observed.latest(&container.name);
    if waits_for_start(view, role, container, latest)
        && let Some(waiting) = view.memory.waiting.get(&container.name)
    {
        let state = status.state.take().filter(|state| state.terminated.is_some());
        status.last_state = state.or(status.last_state);
        status.state = Some(ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(waiting.reason.clone()),
                message: Some(waiting.message.clone()).filter(|message| !message.is_empty()),
            }),
            ..Default::default()
        });
    }
    judge(view, role, container, &mut status);
    // The API server always prints it; saying so here keeps the two alike.
    status.last_state.get_or_insert_default();
    status
}

/// Whether the reason why the container does not run is of interest.
fn waits_for_start(view: &View<'_>, role: Role, container: &Spec, latest: Option<&Container>) -> bool {
    if view.ending && spec::is_deleting(view.pod) {
        return latest.is_none();
    }
    match latest.map(|latest| (latest.state, latest.exit_code)) {
        None | Some((State::Created | State::Unknown, _)) => true,
        Some((State::Running, _)) => false,
        Some((State::Exited, code)) => spec::restarts(view.pod, role, container, code),
    }
}

fn observed_status(view: &View<'_>, container: &Spec, latest: &Container) -> ContainerStatus {
    let previous = view.observed.previous(&container.name);
    // The runtime forgets what was before; the last report may still know it.
    let remembered = spec::container_statuses(view.old)
        .filter(|status| status.name == container.name && status.restart_count > 0)
        .find_map(|status| status.last_state.clone());
    let requirements = container.resources.clone().unwrap_or_default();
    ContainerStatus {
        name: container.name.clone(),
        image: if latest.image.is_empty() {
            container.image.clone().unwrap_or_default()
        } else {
            latest.image.clone()
        },
        image_id: latest.image_ref.clone(),
        container_id: Some(format!("{}://{}", view.runtime_name, latest.id)),
        restart_count: i32::try_from(latest.attempt).unwrap_or(i32::MAX),
        state: Some(state_of(view, latest)),
        last_state: previous.map(|previous| state_of(view, previous)).or(remembered),
        allocated_resources: requirements.requests.clone(),
        resources: Some(ResourceRequirements { claims: None, ..requirements }),
        user: latest.user.as_ref().map(|user| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: user.uid,
                gid: user.gid,
                supplemental_groups: Some(user.groups.clone()).filter(|groups| !groups.is_empty()),
            }),
        }),
        ..ContainerStatus::default()
    }
}

fn state_of(view: &View<'_>, container: &Container) -> ContainerState {
    let time = |at: Option<Timestamp>| at.map(Time);
    match container.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(container.started) }),
            ..Default::default()
        },
        State::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(format!("{}://{}", view.runtime_name, container.id)),
                exit_code: container.exit_code,
                reason: Some(container.reason.clone()).filter(|reason| !reason.is_empty()),
                message: Some(container.message.clone()).filter(|message| !message.is_empty()),
                // Without a start the runtime says the beginning of time.
                started_at: Some(Time(container.started.unwrap_or_default())),
                finished_at: Some(Time(container.finished.unwrap_or_default())),
                signal: None,
            }),
            ..Default::default()
        },
        State::Created | State::Unknown => {
            ContainerState { waiting: Some(ContainerStateWaiting::default()), ..Default::default() }
        }
    }
}

/// The runtime has no such container: it was never made, or it vanished.
fn unobserved_status(
    view: &View<'_>,
    role: Role,
    container: &Spec,
    old: Option<&ContainerStatus>,
    has_init: bool,
) -> ContainerStatus {
    if let Some(ended) = old.filter(|old| is_terminated(old)) {
        return ended.clone();
    }
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart_count: old.map_or(0, |old| old.restart_count),
        last_state: old.and_then(|old| old.last_state.clone()),
        ..ContainerStatus::default()
    };
    let ran = old.is_some_and(|old| old.state.as_ref().is_some_and(|state| state.running.is_some()));
    let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
    let mains_exist =
        spec::main_containers(view.pod).iter().any(|main| view.observed.latest(&main.name).is_some());
    let end = |exit_code, reason: &str, message: &str| ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code,
            reason: Some(reason.into()),
            message: Some(message.into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    status.state = Some(if view.ending && view.stopped {
        end(137, "ContainerStatusUnknown", VANISHED)
    } else if role == Role::Init && mains_exist {
        end(
            0,
            "Completed",
            "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
        )
    } else {
        ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message: None }),
            ..Default::default()
        }
    });
    if ran && status.last_state.as_ref().is_none_or(|state| state.terminated.is_none()) {
        let text =
            "The container could not be located when the pod was deleted.  The container used to be Running";
        status.last_state = Some(end(137, "ContainerStatusUnknown", text));
        status.restart_count += i32::from(!spec::is_deleting(view.pod));
    }
    status
}

fn is_terminated(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

/// `started` and `ready`.
fn judge(view: &View<'_>, role: Role, container: &Spec, status: &mut ContainerStatus) {
    // Nobody asks an added container whether it is ready.
    if role == Role::Ephemeral {
        return;
    }
    let state = status.state.as_ref();
    let running = state.is_some_and(|state| state.running.is_some());
    let latest = view.observed.latest(&container.name);
    let id = latest.map(|latest| latest.id.as_str()).unwrap_or_default();
    let started =
        running && (container.startup_probe.is_none() || view.memory.started.get(id) == Some(&true));
    status.started = Some(started);
    status.ready = match role {
        Role::Init => state.and_then(|state| state.terminated.as_ref()).is_some_and(|end| end.exit_code == 0),
        Role::Sidecar | Role::Main | Role::Ephemeral => {
            started && (container.readiness_probe.is_none() || view.memory.ready.get(id) == Some(&true))
        }
    };
}

fn volume_mounts(container: &Spec) -> Option<Vec<VolumeMountStatus>> {
    let mounts: Vec<VolumeMountStatus> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
            volume_status: None,
        })
        .collect();
    (!mounts.is_empty()).then_some(mounts)
}
