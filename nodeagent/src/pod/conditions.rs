//! The conditions the agent owns.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::spec;

/// The types that the agent writes; all others belong to somebody else and are never touched.
pub const OWNED: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// What a condition says, before times are added.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes(kind: &'static str) -> Self {
        Verdict { kind, status: true, reason: "", message: String::new() }
    }

    fn no(kind: &'static str, reason: &'static str, message: String) -> Self {
        Verdict { kind, status: false, reason, message }
    }
}

/// All owned conditions in upstream's order. `old` keeps the time of the last change.
pub fn conditions(
    pod: &Pod,
    statuses: &[ContainerStatus],
    phase: &str,
    has_sandbox: bool,
    old: &[PodCondition],
    now: Timestamp,
) -> Vec<PodCondition> {
    let sandbox = match has_sandbox {
        true => Verdict::yes("PodReadyToStartContainers"),
        false => Verdict::no("PodReadyToStartContainers", "", String::new()),
    };
    let containers_ready = containers_ready(pod, statuses, phase);
    let verdicts = [
        sandbox,
        initialized(pod, statuses, phase),
        ready(pod, &containers_ready),
        containers_ready,
        Verdict::yes("PodScheduled"),
    ];
    verdicts.into_iter().map(|verdict| condition(pod, verdict, old, now)).collect()
}

fn condition(pod: &Pod, verdict: Verdict, old: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let before = old.iter().find(|condition| condition.type_ == verdict.kind);
    let unchanged = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: some(verdict.reason),
        message: some(&verdict.message),
        last_transition_time: Some(unchanged.unwrap_or(Time(now))),
        observed_generation: pod.metadata.generation,
        last_probe_time: None,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn initialized(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> Verdict {
    const KIND: &str = "Initialized";
    let mut unknown = Vec::new();
    let mut incomplete = Vec::new();
    for container in spec::init_containers(pod) {
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if spec::is_sidecar(container) && status.started == Some(true) => {}
            Some(status) if !spec::is_sidecar(container) && status.ready => {}
            Some(_) => incomplete.push(container.name.as_str()),
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict { reason: "PodCompleted", ..Verdict::yes(KIND) };
    }
    let any_main_started = spec::main_containers(pod)
        .iter()
        .filter_map(|container| find(statuses, &container.name))
        .any(has_started_once);
    match lacking(&unknown, "incomplete", &incomplete) {
        Some(message) if !any_main_started => Verdict::no(KIND, "ContainersNotInitialized", message),
        _ => Verdict::yes(KIND),
    }
}

fn has_started_once(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    status.started == Some(true)
        || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn containers_ready(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> Verdict {
    const KIND: &str = "ContainersReady";
    let sidecars = spec::init_containers(pod).iter().filter(|container| spec::is_sidecar(container));
    let mut unknown = Vec::new();
    let mut unready = Vec::new();
    for container in sidecars.chain(spec::main_containers(pod)) {
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if status.ready => {}
            Some(_) => unready.push(container.name.as_str()),
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => Verdict::no(KIND, "PodCompleted", String::new()),
        "Failed" => Verdict::no(KIND, "PodFailed", String::new()),
        _ => match lacking(&unknown, "unready", &unready) {
            Some(message) => Verdict::no(KIND, "ContainersNotReady", message),
            None => Verdict::yes(KIND),
        },
    }
}

fn lacking(unknown: &[&str], adjective: &str, names: &[&str]) -> Option<String> {
    let part = |adjective: &str, names: &[&str]| {
        (!names.is_empty()).then(|| format!("containers with {adjective} status: [{}]", names.join(" ")))
    };
    let parts: Vec<String> =
        [part("unknown", unknown), part(adjective, names)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn ready(pod: &Pod, containers_ready: &Verdict) -> Verdict {
    const KIND: &str = "Ready";
    if !containers_ready.status {
        return Verdict { kind: KIND, ..containers_ready.clone() };
    }
    let present = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let gates = spec::spec(pod).readiness_gates.iter().flatten();
    let failures: Vec<String> = gates
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match present.iter().find(|condition| condition.type_ == *kind) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist."))
                }
                Some(condition) if condition.status == "True" => None,
                Some(condition) => Some(format!(
                    "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                    condition.status
                )),
            }
        })
        .collect();
    if failures.is_empty() {
        return Verdict::yes(KIND);
    }
    Verdict::no(KIND, "ReadinessGatesNotReady", failures.join(", "))
}
