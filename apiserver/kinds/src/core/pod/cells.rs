//! Columns and cells of pods in a Table: what a person sees of a pod's life in one word and a few numbers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::containers::is_sidecar;
use crate::columns::{self, Column, or_none};
use crate::tree::{at, bool_at, int_at, list_at, str_at};

/// The columns.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Containers that are ready, of all that should be."),
    Column::text("Status", "What the pod is doing, or what keeps it from doing it."),
    Column::text("Restarts", "How often containers were restarted, and when last."),
    Column::AGE,
    Column::text("IP", "Address of the pod.").wide(),
    Column::text("Node", "Node the pod runs on.").wide(),
    Column::text("Nominated Node", "Node on which room is made for the pod.").wide(),
    Column::text("Readiness Gates", "Extra conditions that are true, of all the pod waits for.").wide(),
];

/// The cells.
pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let ip = list_at(pod, "status.podIPs").first().map_or("", |entry| str_at(entry, "ip"));
    vec![
        columns::name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(summary.restarts.text(now)),
        columns::age(pod, now),
        json!(or_none(ip)),
        json!(or_none(str_at(pod, "spec.nodeName"))),
        json!(or_none(str_at(pod, "status.nominatedNodeName"))),
        json!(readiness_gates(pod)),
    ]
}

/// The conditions of the row: a pod that has ended says so.
pub(super) fn conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match str_at(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

/// What the cells say about the containers.
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

/// How often, and when last.
#[derive(Debug, Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += int_at(status, "restartCount").unwrap_or(0);
        let ended = str_at(status, "lastState.terminated.finishedAt").parse::<Timestamp>().ok();
        self.last = self.last.max(ended);
    }

    fn text(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, columns::since(&last.to_string(), now))
            }
            _ => self.count.to_string(),
        }
    }
}

fn summarize(pod: &Value) -> Summary {
    let init = list_at(pod, "spec.initContainers");
    let mut summary = Summary {
        ready: 0,
        total: list_at(pod, "spec.containers").len()
            + init.iter().filter(|container| is_sidecar(container)).count(),
        reason: first_reason(pod),
        restarts: Restarts::default(),
    };
    let mut of_sidecars = Restarts::default();
    let initializing = summarize_init(pod, &mut summary, &mut of_sidecars);
    if !initializing || is_true(pod, "Initialized") {
        summary.restarts = of_sidecars;
        summarize_main(pod, &mut summary);
    }
    if at(pod, "metadata.deletionTimestamp").is_some() {
        if str_at(pod, "status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

fn first_reason(pod: &Value) -> String {
    let gated = list_at(pod, "status.conditions").iter().any(|condition| {
        str_at(condition, "type") == "PodScheduled" && str_at(condition, "reason") == "SchedulingGated"
    });
    let reason = match str_at(pod, "status.reason") {
        _ if gated => "SchedulingGated",
        "" => str_at(pod, "status.phase"),
        reason => reason,
    };
    reason.to_owned()
}

/// Goes through the init containers up to the one that is not done; true when there is one.
fn summarize_init(pod: &Value, summary: &mut Summary, of_sidecars: &mut Restarts) -> bool {
    let specs = list_at(pod, "spec.initContainers");
    for (index, status) in list_at(pod, "status.initContainerStatuses").iter().enumerate() {
        let sidecar =
            specs.iter().any(|spec| str_at(spec, "name") == str_at(status, "name") && is_sidecar(spec));
        summary.restarts.add(status);
        if sidecar {
            of_sidecars.add(status);
        }
        let terminated = at(status, "state.terminated");
        if terminated.is_some_and(|terminated| int_at(terminated, "exitCode").unwrap_or(0) == 0) {
            continue;
        }
        if sidecar && bool_at(status, "started") == Some(true) {
            summary.ready += usize::from(bool_at(status, "ready") == Some(true));
            continue;
        }
        let waiting = str_at(status, "state.waiting.reason");
        summary.reason = match terminated {
            Some(terminated) => format!("Init:{}", end_of(terminated)),
            None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        return true;
    }
    false
}

fn summarize_main(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    let mut failure = None;
    for status in list_at(pod, "status.containerStatuses").iter().rev() {
        summary.restarts.add(status);
        let waiting = str_at(status, "state.waiting.reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(terminated) = at(status, "state.terminated") {
            summary.reason = end_of(terminated);
            if int_at(terminated, "exitCode").unwrap_or(0) != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if bool_at(status, "ready") == Some(true) && at(status, "state.running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason != "Completed" {
        return;
    }
    if running && is_true(pod, "Ready") {
        summary.reason = "Running".to_owned();
    } else if let Some(failure) = failure {
        summary.reason = failure;
    } else if running {
        summary.reason = "NotReady".to_owned();
    }
}

/// How a container has ended: its reason, or else its signal or exit code.
fn end_of(terminated: &Value) -> String {
    let signal = int_at(terminated, "signal").unwrap_or(0);
    match str_at(terminated, "reason") {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", int_at(terminated, "exitCode").unwrap_or(0)),
        reason => reason.to_owned(),
    }
}

fn is_true(pod: &Value, condition: &str) -> bool {
    list_at(pod, "status.conditions")
        .iter()
        .find(|candidate| str_at(candidate, "type") == condition)
        .is_some_and(|condition| str_at(condition, "status") == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|gate| is_true(pod, str_at(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}
