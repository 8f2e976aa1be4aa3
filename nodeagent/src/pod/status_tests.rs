//! What is reported in which situation. `UPDATE=1` is not needed here: the expectations stand beside the cases.
//!
//! Statuses come as `name state`: `waiting[:REASON]`, `running`, `ready` (running and ready), `exit CODE`, or
//! `again CODE` (waiting for its next start after it ended with the code).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use super::conditions;
use super::phase::{self, Circumstances};

fn pod(text: &str) -> Pod {
    let mut words = text.split(' ');
    let policy = words.next().expect("a policy");
    let (mut init, mut main) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once(':') {
            Some(("side", name)) => init.push(json!({"name": name, "restartPolicy": "Always"})),
            Some((_, name)) => init.push(json!({"name": name})),
            None => main.push(json!({"name": word})),
        }
    }
    let spec = json!({"restartPolicy": policy, "initContainers": init, "containers": main});
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
}

fn statuses(text: &str) -> Vec<ContainerStatus> {
    text.split(", ").filter(|part| !part.is_empty()).map(status).collect()
}

fn status(text: &str) -> ContainerStatus {
    let words: Vec<&str> = text.split(' ').collect();
    let code = || words[2].parse::<i32>().expect("a code");
    let end = |code: i32| json!({"terminated": {"exitCode": code}});
    let (state, last, ready): (Value, Value, bool) = match words[1] {
        "waiting" => (json!({"waiting": {}}), json!({}), false),
        "running" => (json!({"running": {}}), json!({}), false),
        "ready" => (json!({"running": {}}), json!({}), true),
        "exit" => (end(code()), json!({}), code() == 0),
        "again" => (json!({"waiting": {"reason": "CrashLoopBackOff"}}), end(code()), false),
        other => panic!("unknown state {other}"),
    };
    let started = matches!(words[1], "ready" | "running");
    serde_json::from_value(json!({"name": words[0], "image": "", "imageID": "", "restartCount": 0,
        "state": state, "lastState": last, "ready": ready, "started": started}))
    .expect("a status")
}

fn check(text: &str, all: &str, expected: &str) {
    let phase = phase::phase(&pod(text), &statuses(all), Circumstances::default());
    assert_eq!(phase, expected, "{text} | {all}");
}

#[test]
fn phases() {
    check("Always a", "a waiting", "Pending");
    check("Always a", "", "Pending");
    check("Always a b", "a running, b waiting", "Pending");
    check("Always a b", "a running, b again 1", "Running");
    check("Always a", "a again 1", "Running");
    check("Always a", "a exit 0", "Running");
    check("OnFailure a", "a exit 0", "Succeeded");
    check("OnFailure a", "a exit 1", "Running");
    check("OnFailure a b", "a exit 0, b again 1", "Running");
    check("Never a", "a exit 0", "Succeeded");
    check("Never a", "a exit 1", "Failed");
    check("Never a b", "a exit 1, b running", "Running");
    check("Never a b", "a exit 1, b exit 0", "Failed");
}

#[test]
fn phases_with_init_containers() {
    check("Always init:x a", "x running, a waiting", "Pending");
    check("Always init:x a", "x exit 0, a waiting", "Pending");
    check("Always init:x a", "x exit 0, a running", "Running");
    check("Always init:x a", "x again 1, a waiting", "Pending");
    check("Never init:x a", "x exit 1, a waiting", "Failed");
    check("Always side:s a", "s running, a running", "Running");
    check("Never side:s a", "s running, a exit 0", "Running");
    check("Never side:s a", "s exit 143, a exit 0", "Succeeded");
    check("Never side:s a", "s exit 1, a exit 1", "Failed");
}

#[test]
fn a_pod_that_ends_restarts_nothing() {
    let ending = Circumstances { ending: true, initialized: true };
    let of = |all: &str| phase::phase(&pod("Always a b"), &statuses(all), ending);
    assert_eq!(of("a exit 0, b exit 0"), "Succeeded");
    assert_eq!(of("a exit 137, b exit 0"), "Failed");
    assert_eq!(of("a running, b exit 0"), "Running");
}

/// Conditions as `Type=Status reason: message`, the first letters of the type alone.
fn shown(text: &str, all: &str, phase: &str, has_sandbox: bool) -> Vec<String> {
    let made =
        conditions::conditions(&pod(text), &statuses(all), phase, has_sandbox, &[], Timestamp::UNIX_EPOCH);
    made.into_iter()
        .map(|condition| {
            let reason = condition.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            let message = condition.message.map(|message| format!(": {message}")).unwrap_or_default();
            format!("{}={}{reason}{message}", condition.type_, condition.status)
        })
        .collect()
}

#[test]
fn conditions_of_a_pod_on_its_way() {
    assert_eq!(
        shown("Always init:x a b", "x running, a waiting, b waiting", "Pending", true),
        [
            "PodReadyToStartContainers=True",
            "Initialized=False ContainersNotInitialized: containers with incomplete status: [x]",
            "Ready=False ContainersNotReady: containers with unready status: [a b]",
            "ContainersReady=False ContainersNotReady: containers with unready status: [a b]",
            "PodScheduled=True",
        ]
    );
    assert_eq!(
        shown("Always init:x a", "x exit 0, a ready", "Running", true),
        [
            "PodReadyToStartContainers=True",
            "Initialized=True",
            "Ready=True",
            "ContainersReady=True",
            "PodScheduled=True"
        ]
    );
}

#[test]
fn conditions_of_a_pod_that_ended() {
    assert_eq!(
        shown("Never a", "a exit 0", "Succeeded", false),
        [
            "PodReadyToStartContainers=False",
            "Initialized=True PodCompleted",
            "Ready=False PodCompleted",
            "ContainersReady=False PodCompleted",
            "PodScheduled=True",
        ]
    );
    assert_eq!(shown("Never a", "a exit 1", "Failed", false)[2], "Ready=False PodFailed");
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(60);
    let of = |all: &str, old: &[_], now| {
        conditions::conditions(&pod("Always a"), &statuses(all), "Running", true, old, now)
    };
    let first = of("a running", &[], Timestamp::UNIX_EPOCH);
    let second = of("a ready", &first, later);
    let times = |index: usize| second[index].last_transition_time.as_ref().map(|time| time.0);
    assert_eq!(times(1), Some(Timestamp::UNIX_EPOCH), "Initialized did not change");
    assert_eq!(times(2), Some(later), "Ready changed");
}
