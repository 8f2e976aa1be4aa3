//! Jobs step by step: a spec and pods in, what is made, deleted, counted and said out.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::index_limits::FAILURES;
use super::plan::{FINALIZER, INDEX, Step, View, plan};
use crate::views::Pod;
use crate::views::batch::{Job, JobStatus};

const NOW: &str = "2026-01-01T01:00:00Z";

/// A pod: its name, `+` succeeded, `-` failed, `~` on its way out, else running; `.` without its finalizer, `#n` its index,
/// `=n` the exit code, `^n` failures of the index before it.
fn pod(word: &str) -> Pod {
    let name: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
    let after = |mark: char| -> Option<String> {
        Some(word.split_once(mark)?.1.chars().take_while(char::is_ascii_digit).collect())
    };
    let has = |mark: char| word.contains(mark);
    let phase = if has('+') {
        "Succeeded"
    } else if has('-') {
        "Failed"
    } else {
        "Running"
    };
    let code = after('=').and_then(|code| code.parse::<i32>().ok()).unwrap_or(1);
    let end = json!({"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:30:00Z"}});
    let mut annotations = after('#').map_or_else(|| json!({}), |index| json!({INDEX: index}));
    if let Some(failures) = after('^') {
        annotations[FAILURES] = failures.into();
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "namespace": "n", "annotations": annotations,
            "finalizers": if has('.') { json!([]) } else { json!([FINALIZER]) },
            "deletionTimestamp": has('~').then_some("2026-01-01T00:59:00Z")},
        "status": {"phase": phase, "containerStatuses": [{"name": "c", "state": if phase == "Running" { json!({}) } else { end }}]},
    }))
    .expect("a pod")
}

fn job(spec: Value, status: Value) -> Job {
    let mut whole = json!({"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
        "podReplacementPolicy": "TerminatingOrFailed"});
    let fields = whole.as_object_mut().expect("an object");
    fields.extend(spec.as_object().expect("an object").clone());
    fields.retain(|_, value| !value.is_null());
    serde_json::from_value(
        json!({"metadata": {"name": "j", "namespace": "n", "uid": "j"}, "spec": whole, "status": status}),
    )
    .expect("a job")
}

fn step(job: &Job, pods: &str) -> Step {
    let pods: Vec<Pod> = pods.split_whitespace().map(pod).collect();
    plan(&View { job, pods: pods.iter().collect(), now: NOW.parse().expect("a time") })
}

/// What a step does: `+n` pods (or `+#i` for indexes), `-name` for deletions, `!name` for finalizers, then true conditions.
fn told(step: &Step) -> String {
    let mut words: Vec<String> = Vec::new();
    let plain = step.create.iter().filter(|new| new.index.is_none()).count();
    if plain > 0 {
        words.push(format!("+{plain}"));
    }
    words.extend(step.create.iter().filter_map(|new| new.index.map(|index| format!("+#{index}"))));
    words.extend(step.delete.iter().map(|(name, _)| format!("-{name}")));
    words.extend(step.release.iter().map(|name| format!("!{name}")));
    let conditions = step.status.conditions.iter().filter(|condition| condition.status == "True");
    words.extend(conditions.map(|condition| match condition.reason.as_str() {
        "CompletionsReached" => condition.r#type.clone(),
        reason => format!("{}:{reason}", condition.r#type),
    }));
    words.join(" ")
}

fn check(spec: Value, pods: &str, expected: &str) {
    assert_eq!(told(&step(&job(spec, json!({})), pods)), expected, "{pods}");
}

#[test]
fn pods_are_made_until_enough_have_succeeded() {
    check(json!({}), "", "+1");
    check(json!({"parallelism": 3, "completions": 5}), "a", "+2");
    check(json!({"parallelism": 3, "completions": 5}), "a+ b+ c+ d", "+1 !a !b !c");
    check(json!({"parallelism": 3, "completions": null}), "a b", "+1");
    check(json!({"parallelism": 3, "completions": null}), "a+ b c", "!a");
    check(json!({"parallelism": 1, "completions": 5}), "a b", "-a");
    check(json!({"suspend": true}), "a", "-a Suspended:JobSuspended");
}

#[test]
fn an_ended_pod_is_counted_in_three_writes_and_then_the_job_ends() {
    let first = step(&job(json!({}), json!({})), "a+");
    assert_eq!(told(&first), "!a SuccessCriteriaMet");
    let uncounted = first.status.uncounted_terminated_pods.clone().expect("noted");
    assert_eq!((uncounted.succeeded, first.status.succeeded), (vec!["a".to_owned()], 0));

    let status = |status: &JobStatus| serde_json::to_value(status).expect("plain data");
    let second = step(&job(json!({}), status(&first.status)), "a+.");
    assert_eq!(told(&second), "SuccessCriteriaMet Complete");
    assert_eq!((second.status.succeeded, second.status.completion_time), (1, Some(now())));
    assert_eq!(second.words.len(), 1);

    // Whoever is interrupted between the writes counts the same pod once.
    let again = step(&job(json!({}), status(&first.status)), "a+");
    assert_eq!(again.status.succeeded, 0);
    assert_eq!(again.release, ["a"]);
}

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

#[test]
fn failures_pause_and_in_the_end_fail_the_job() {
    check(json!({}), "a-", "+1 !a");
    check(json!({"backoffLimit": 0}), "a- b", "-b !a !b FailureTarget:BackoffLimitExceeded");
    check(json!({"backoffLimit": 1}), "a-. b-", "+1 !b");
    let failed = json!({"failed": 2, "conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}]});
    let end = step(&job(json!({"backoffLimit": 1}), failed), "a-. b-.");
    assert_eq!(told(&end), "FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded");
    let late = json!({"startTime": "2026-01-01T00:00:00Z"});
    let end = step(&job(json!({"activeDeadlineSeconds": 60}), late), "a");
    assert_eq!(told(&end), "-a !a FailureTarget:DeadlineExceeded");

    let mut recent = pod("a-");
    recent.status.container_statuses[0].state.terminated.as_mut().expect("ended").finished_at =
        Some("2026-01-01T00:59:55Z".parse().expect("a time"));
    let job = job(json!({}), json!({}));
    let waiting = plan(&View { job: &job, pods: vec![&recent], now: now() });
    assert!(waiting.create.is_empty());
    assert_eq!(waiting.wake_at, Some("2026-01-01T01:00:05Z".parse().expect("a time")));
}

#[test]
fn indexes_each_succeed_once() {
    let indexed = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 4});
    check(indexed.clone(), "", "+#0 +#1");
    let done = step(&job(indexed.clone(), json!({})), "a#0+ b#1");
    assert_eq!(told(&done), "+#2 !a");
    assert_eq!((done.status.completed_indexes.as_str(), done.status.succeeded), ("0", 1));
    check(indexed, "a#0 b#0", "-b");
    let limited = json!({"completionMode": "Indexed", "parallelism": 4, "completions": 2, "backoffLimitPerIndex": 0,
        "backoffLimit": i32::MAX});
    let failed = step(&job(limited, json!({})), "a#0- b#1");
    assert_eq!(told(&failed), "!a");
    assert_eq!(failed.status.failed_indexes.as_deref(), Some("0"));
}

#[test]
fn the_last_failure_of_an_index_stays_until_its_successor_knows_of_it() {
    let limited = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2, "backoffLimitPerIndex": 2,
        "backoffLimit": i32::MAX});
    let first = step(&job(limited.clone(), json!({})), "a#0-^1 b#1");
    assert_eq!(told(&first), "+#0", "counted, but not let go");
    assert_eq!(first.create[0].failures, Some(2));
    assert_eq!(first.status.uncounted_terminated_pods.map(|uncounted| uncounted.failed.len()), Some(0));
    let second = step(&job(limited.clone(), json!({})), "a#0-^1 b#1 c#0^2");
    assert_eq!(told(&second), "!a");
    let third = step(&job(limited.clone(), json!({})), "a#0-.^1 b#1 c#0-^2");
    assert_eq!((told(&third).as_str(), third.status.failed_indexes.as_deref()), ("!c", Some("0")));

    // What a policy ignores is told apart, and each index waits on its own.
    let mut ignoring = limited;
    ignoring["podFailurePolicy"] =
        json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}]});
    let ignored = step(&job(ignoring.clone(), json!({})), "a#0-=42^1 b#1");
    assert_eq!((ignored.create[0].failures, ignored.create[0].ignored), (Some(1), Some(1)));
    let mut recent = pod("a#0-^1");
    recent.status.container_statuses[0].state.terminated.as_mut().expect("ended").finished_at =
        Some("2026-01-01T00:59:55Z".parse().expect("a time"));
    let job = job(ignoring, json!({}));
    let waiting = plan(&View { job: &job, pods: vec![&recent], now: now() });
    assert_eq!(told(&waiting), "+#1");
    assert_eq!(waiting.wake_at, Some("2026-01-01T01:00:15Z".parse().expect("a time")));
}

#[test]
fn policies_decide_over_failures_and_success() {
    let on_codes = |action: &str| {
        json!({"podFailurePolicy": {"rules": [
        {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]}, "backoffLimit": 0,
        "podReplacementPolicy": "Failed"})
    };
    check(on_codes("FailJob"), "a-=42 b", "-b !a !b FailureTarget:PodFailurePolicy");
    check(on_codes("Ignore"), "a-=42", "+1 !a");
    check(on_codes("Ignore"), "a-=1", "!a FailureTarget:BackoffLimitExceeded");
    let policy = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 3,
        "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}});
    check(policy, "a#1+ b#0 c#2", "-b -c !a !b !c SuccessCriteriaMet:SuccessPolicy");
}

#[test]
fn a_pod_on_its_way_out_is_replaced_when_the_policy_says() {
    check(json!({}), "a~", "+1 !a");
    check(json!({"podReplacementPolicy": "Failed"}), "a~", "");
}
