//! What is done for a pod in which situation.
//!
//! A situation is three parts: the pod (restart policy and containers; `init:`, `side:` and `look:` mark init containers,
//! sidecars and ephemeral containers), its sandbox (`none`, `ready`, `dead`), and its containers, newest last: `name#attempt`, then
//! `created`, `running`, or `exit CODE AGE` with the seconds since it ended. Containers of a sandbox that is gone have `~`
//! before their name. What is remembered comes as words: `novolumes`, `backoff NAME SECONDS`, `liveness NAME`,
//! `unstarted NAME` (it has a startup probe that has not succeeded), `started NAME`, `starting NAME`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::backoff::Backoff;
use super::memory::{Failed, Memory, Volumes};
use super::observed::{Container, Observed, Sandbox, State};
use super::plan::{Action, Goal, Plan, View, plan};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

struct Situation {
    pod: Pod,
    observed: Observed,
    memory: Memory,
}

fn situation(text: &str, remembered: &str) -> Situation {
    let mut parts = text.split('|').map(str::trim);
    let pod = parts.next().expect("a pod");
    let sandbox = parts.next().expect("a sandbox");
    let containers = parts.next().unwrap_or_default();
    let unstarted: Vec<&str> =
        remembered.split(", ").filter_map(|word| word.strip_prefix("unstarted ")).collect();
    let mut observed = Observed { sandboxes: sandboxes(sandbox), containers: Vec::new() };
    for (index, container) in containers.split(", ").filter(|part| !part.is_empty()).enumerate() {
        observed.containers.insert(0, container_of(container, index));
    }
    Situation { pod: pod_of(pod, &unstarted), observed, memory: memory(remembered) }
}

fn pod_of(text: &str, unstarted: &[&str]) -> Pod {
    let mut words = text.split(' ');
    let policy = words.next().expect("a policy");
    let (mut init, mut main, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        let (kind, name) = word.split_once(':').unwrap_or(("", word));
        let mut container = json!({"name": name});
        if unstarted.contains(&name) {
            container["startupProbe"] = json!({});
        }
        match kind {
            "side" => {
                container["restartPolicy"] = json!("Always");
                init.push(container);
            }
            "init" => init.push(container),
            "look" => added.push(container),
            _ => main.push(container),
        }
    }
    let spec = json!({"restartPolicy": policy, "initContainers": init, "containers": main, "ephemeralContainers": added});
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}))
        .expect("a pod")
}

fn sandboxes(text: &str) -> Vec<Sandbox> {
    let sandbox = |ready| Sandbox {
        id: "s".into(),
        attempt: 0,
        ready,
        created: Timestamp::UNIX_EPOCH,
        ips: vec!["10.0.0.1".into()],
    };
    match text {
        "none" => Vec::new(),
        "ready" => vec![sandbox(true)],
        "dead" => vec![sandbox(false)],
        other => panic!("unknown sandbox {other}"),
    }
}

fn container_of(text: &str, index: usize) -> Container {
    let words: Vec<&str> = text.split(' ').collect();
    let (name, attempt) = words[0].split_once('#').expect("an attempt");
    let (sandbox, name) = name.strip_prefix('~').map_or(("s", name), |name| ("gone", name));
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i32>().ok()).unwrap_or(0);
    let state = match words[1] {
        "created" => State::Created,
        "running" => State::Running,
        "exit" => State::Exited,
        other => panic!("unknown state {other}"),
    };
    Container {
        id: format!("{name}{attempt}"),
        name: name.into(),
        sandbox: sandbox.into(),
        attempt: attempt.parse().expect("a number"),
        state,
        created: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(index).expect("few")),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Some(now() - SignedDuration::from_secs(number(3).into())),
        exit_code: number(2),
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_ref: String::new(),
        user: None,
        log_path: String::new(),
    }
}

fn memory(text: &str) -> Memory {
    let refresh_at = now() + SignedDuration::from_secs(60);
    let mut memory = Memory { volumes: Volumes::Ready { refresh_at }, ..Memory::default() };
    for word in text.split(", ").filter(|word| !word.is_empty()) {
        match word.split(' ').collect::<Vec<_>>().as_slice() {
            ["novolumes"] => memory.volumes = Volumes::Unknown,
            ["stale"] => memory.volumes = Volumes::Ready { refresh_at: now() },
            ["torndown"] => memory.torn_down = true,
            ["backoff", name, seconds] => {
                let delay = SignedDuration::from_secs(seconds.parse().expect("a number"));
                memory.restarts.insert((*name).into(), Backoff { delay, updated: now() - delay });
            }
            ["liveness", id] => drop(memory.unhealthy.insert((*id).into(), Failed::Liveness)),
            ["starting", name] => drop(memory.starting.insert((*name).into())),
            ["started", id] => drop(memory.started.insert((*id).into(), true)),
            ["unstarted", _] => {}
            other => panic!("unknown word {other:?}"),
        }
    }
    memory
}

fn print(plan: &Plan) -> String {
    let mut out: Vec<String> = plan.actions.iter().map(action).collect();
    out.extend(plan.held_back.iter().map(|(name, _)| format!("hold {name}")));
    if plan.stopped {
        out.push("stopped".into());
    }
    if plan.forgotten {
        out.push("forgotten".into());
    }
    out.join(", ")
}

fn action(action: &Action) -> String {
    match action {
        Action::SetUp => "set up".into(),
        Action::RefreshVolumes => "refresh".into(),
        Action::RunSandbox { attempt } => format!("run sandbox {attempt}"),
        Action::StopSandbox { .. } => "stop sandbox".into(),
        Action::RemoveSandbox { .. } => "remove sandbox".into(),
        Action::Start { name, attempt, .. } => match attempt {
            Some(attempt) => format!("start {name}#{attempt}"),
            None => format!("start {name}"),
        },
        Action::Kill(kills) => {
            let names: Vec<&str> = kills.iter().map(|kill| kill.name.as_str()).collect();
            format!("kill {}", names.join("+"))
        }
        Action::Remove { id } => format!("remove {id}"),
        Action::TearDown => "tear down".into(),
        Action::RemoveDirectories => "remove directories".into(),
    }
}

fn planned(goal: Goal, text: &str, remembered: &str) -> Plan {
    let Situation { pod, observed, memory } = situation(text, remembered);
    plan(&View { pod: &pod, observed: &observed, memory: &memory, goal, now: now() })
}

fn check(text: &str, remembered: &str, expected: &str) {
    assert_eq!(print(&planned(Goal::Run, text, remembered)), expected, "{text} [{remembered}]");
}

fn check_stop(text: &str, remembered: &str, expected: &str) {
    assert_eq!(print(&planned(Goal::Stop, text, remembered)), expected, "{text} [{remembered}]");
}

fn check_forget(text: &str, remembered: &str, expected: &str) {
    assert_eq!(print(&planned(Goal::Forget, text, remembered)), expected, "{text} [{remembered}]");
}

#[test]
fn from_nothing_to_running() {
    check("Always a b | none", "novolumes", "set up");
    check("Always a b | none", "", "run sandbox 0");
    check("Always a b | ready", "", "start a, start b");
    check("Always a b | ready | a#0 running", "", "start b");
    check("Always a b | ready | a#0 running, b#0 running", "", "");
    // It was made and its start failed; it would stay like this for ever.
    check("Always a | ready | a#0 created", "", "start a#1");
}

#[test]
fn what_runs_is_left_alone() {
    check("Always a | ready | a#7 running", "", "");
    check("Always a | ready | a#7 running", "stale", "refresh");
    check("Never a | ready | a#0 running", "", "");
}

#[test]
fn restarts_follow_the_policy() {
    check("Always a | ready | a#0 exit 0 1", "", "start a#1");
    check("OnFailure a | ready | a#0 exit 0 1", "", "");
    check("OnFailure a | ready | a#0 exit 1 1", "", "start a#1");
    check("Never a | ready | a#0 exit 1 1", "", "");
    check("Never a b | ready | a#0 exit 1 1", "", "start b");
}

#[test]
fn restarts_wait() {
    check("Always a | ready | a#1 exit 1 3", "backoff a 10", "hold a");
    check("Always a | ready | a#1 exit 1 10", "backoff a 10", "start a#2");
    check("Always a b | ready | a#1 exit 1 3, b#0 running", "backoff a 10", "hold a");
    // It is being started; its own back-off began with that.
    check("Always a | ready | a#1 exit 1 3", "backoff a 10, starting a", "");
    let plan = planned(Goal::Run, "Always a | ready | a#1 exit 1 3", "backoff a 80");
    assert_eq!(plan.held_back[0].1, "back-off 1m20s restarting failed container=a pod=p_ns(u)");
    assert_eq!(plan.wake_at, Some(now() + SignedDuration::from_secs(60)));
}

#[test]
fn init_containers_go_one_by_one() {
    check("Always init:x init:y a | ready", "", "start x");
    check("Always init:x init:y a | ready | x#0 running", "", "");
    check("Always init:x init:y a | ready | x#0 exit 0 1", "", "start y");
    check("Always init:x init:y a | ready | x#0 exit 0 1, y#0 exit 0 1", "", "start a");
    check("Always init:x a | ready | x#0 exit 1 1", "", "start x#1");
    check("Never init:x a | ready | x#0 exit 1 1", "", "");
    // They are not asked for again once a main container was made here.
    check("Always init:x a | ready | a#0 running", "", "");
    check("Always init:x a | ready | a#0 exit 1 1", "", "start a#1");
}

#[test]
fn sidecars_start_in_order_and_stay() {
    check("Always side:s init:x a | ready", "", "start s");
    check("Always side:s init:x a | ready | s#0 running", "", "start x");
    check("Always side:s init:x a | ready | s#0 running", "unstarted s", "");
    check("Always side:s init:x a | ready | s#0 running", "unstarted s, started s0", "start x");
    check("Always side:s a | ready | s#0 running, a#0 running", "", "");
    // One that ended restarts whatever the pod's policy is, and holds up nobody who runs.
    check("Never side:s a b | ready | s#0 exit 1 1, a#0 running", "", "start s#1, start b");
    check("Never side:s a | ready | s#0 exit 0 1", "", "start s#1");
}

#[test]
fn those_who_look_start_at_once_and_once() {
    check("Always look:l a | ready", "", "start l, start a");
    check("Always init:x look:l a | ready | x#0 running", "", "start l");
    check("Always look:l a | ready | a#0 running, l#0 running", "", "");
    check("Always look:l a | ready | a#0 running, l#0 exit 1 9", "", "");
    // They keep no pod alive and get no new sandbox.
    check("Never look:l a | dead | a#0 exit 0 1, l#0 exit 137 1", "", "");
    check_stop("Always look:l a | ready | a#0 exit 0 1, l#0 running", "", "kill l");
}

#[test]
fn probes_kill() {
    check("Always a b | ready | a#0 running, b#0 running", "liveness b0", "kill b");
    let kill = |text: &str| match planned(Goal::Run, text, "liveness a0").actions.as_slice() {
        [Action::Kill(kills)] => kills[0].message.clone(),
        other => panic!("{other:?}"),
    };
    let message = kill("Always a | ready | a#0 running");
    assert_eq!(message, "Container a failed liveness probe, will be restarted");
    assert_eq!(kill("Never a | ready | a#0 running"), "Container a failed liveness probe");
}

#[test]
fn a_dead_sandbox_is_replaced() {
    check("Always a | dead | a#0 exit 137 1", "", "stop sandbox, run sandbox 1");
    check("Always a | dead | a#0 running", "", "kill a");
    // Nothing would run in a new one.
    check("Never a | dead | a#0 exit 0 1", "", "");
    check("OnFailure a | dead | a#0 exit 0 1", "", "");
    check("Never a b | dead | a#0 exit 0 1", "", "stop sandbox, run sandbox 1");
    // In the new one everything begins anew, init containers too.
    check("Always init:x a | ready | ~x#0 exit 0 9, ~a#0 exit 137 9", "", "start x#1");
    check("Always init:x a | ready | ~x#0 exit 0 9, ~a#0 exit 137 9, x#1 exit 0 1", "", "start a#1");
}

#[test]
fn two_of_each_are_kept() {
    check("Always a | ready | a#0 exit 1 9, a#1 exit 1 9, a#2 running", "", "remove a0");
    check("Always a | ready | a#1 exit 1 9, a#2 running", "", "");
}

#[test]
fn stopping() {
    check_stop("Always a b | ready | a#0 running, b#0 running", "", "kill b+a");
    check_stop("Always a | ready | a#0 exit 143 1", "", "stop sandbox, tear down");
    check_stop("Always a | dead | a#0 exit 143 1", "", "stop sandbox, tear down");
    check_stop("Always a | dead | a#0 exit 143 1", "torndown", "stopped");
    check_stop("Always a | none", "torndown", "stopped");
    check_stop("Always a | ready", "torndown", "stop sandbox, tear down");
    // Sidecars serve to the end and go in reverse.
    check_stop("Always side:s side:t a | ready | s#0 running, t#0 running, a#0 running", "", "kill a");
    check_stop("Always side:s side:t a | ready | s#0 running, t#0 running, a#0 exit 0 1", "", "kill t");
    check_stop("Always side:s side:t a | ready | s#0 running, t#0 exit 0 1, a#0 exit 0 1", "", "kill s");
}

#[test]
fn forgetting() {
    check_forget("Always a | ready | a#0 running", "", "kill a");
    check_forget("Always a | dead | a#0 exit 143 1", "torndown", "remove sandbox, stopped");
    check_forget("Always a | none | ~a#0 exit 143 1", "torndown", "remove a0, stopped");
    check_forget("Always a | none", "torndown", "remove directories, stopped, forgotten");
}
