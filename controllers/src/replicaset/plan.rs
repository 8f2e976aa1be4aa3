//! How many pods a ReplicaSet lacks, which ones are too many, and what its status says.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use runtime::selector::includes;

use crate::views::Pod;
use crate::views::workload::{ReplicaSet, ReplicaSetStatus, WorkloadCondition};

/// Pods created or deleted in one go, as upstream.
const BURST_MAX: usize = 500;
/// Annotation that says how much the loss of a pod would hurt.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What a plan is made from.
pub(crate) struct View<'a> {
    pub(crate) set: &'a ReplicaSet,
    /// Owned, neither ended nor on their way out.
    pub(crate) active: Vec<&'a Pod>,
    /// Owned and on their way out.
    pub(crate) terminating: usize,
    /// Active pods of this set and its siblings, for each node.
    pub(crate) related_on_node: BTreeMap<String, usize>,
    pub(crate) now: Timestamp,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Create this many pods.
    Create(usize),
    /// Delete these pods, by name and uid.
    Delete(Vec<(String, String)>),
}

/// The step towards `spec.replicas`, if one is needed.
pub(crate) fn plan(view: &View<'_>) -> Option<Action> {
    let have = view.active.len();
    let want = usize::try_from(view.set.spec.replicas).unwrap_or(0);
    if view.set.metadata.deleting() || have == want {
        return None;
    }
    if have < want {
        return Some(Action::Create((want - have).min(BURST_MAX)));
    }
    let mut victims = view.active.clone();
    victims.sort_by_cached_key(|pod| rank(view, pod));
    victims.truncate((have - want).min(BURST_MAX));
    let named = victims.iter().map(|pod| (pod.metadata.name.clone(), pod.metadata.uid.clone()));
    Some(Action::Delete(named.collect()))
}

/// Order in which pods are deleted: who is missed least goes first.
fn rank(view: &View<'_>, pod: &Pod) -> impl Ord + use<> {
    let phase = match pod.status.phase.as_str() {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost: i32 =
        pod.metadata.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let crowd = view.related_on_node.get(&pod.spec.node_name).copied().unwrap_or(0);
    let (restarts, init_restarts) = pod.restarts();
    (
        (!pod.spec.node_name.is_empty(), phase, pod.ready(), cost, Reverse(crowd)),
        (age_class(view, pod.ready_since()), Reverse(restarts), Reverse(init_restarts)),
        (age_class(view, pod.metadata.creation_timestamp), pod.metadata.uid.clone()),
    )
}

/// Ages count by their order of magnitude, so that a scale-down does not always
/// take the pods of one moment (and with them, often, of one place).
fn age_class(view: &View<'_>, since: Option<Timestamp>) -> i64 {
    let Some(since) = since else { return -1 };
    let age = view.now.duration_since(since).as_nanos();
    if age > 0 { i64::from(age.ilog2()) } else { -1 }
}

/// The status after a step; `failure` is what kept it from being completed.
pub(crate) fn status(view: &View<'_>, failure: Option<&str>) -> ReplicaSetStatus {
    let set = view.set;
    let ready = view.active.iter().filter(|pod| pod.ready());
    let available = ready
        .clone()
        .filter(|pod| pod.available_at(set.spec.min_ready_seconds).is_some_and(|at| at <= view.now));
    let labeled = view.active.iter().filter(|pod| includes(pod.labels(), &set.spec.template.metadata.labels));
    ReplicaSetStatus {
        replicas: count(view.active.len()),
        fully_labeled_replicas: count(labeled.count()),
        available_replicas: count(available.count()),
        ready_replicas: count(ready.count()),
        terminating_replicas: Some(count(view.terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(view, failure),
    }
}

fn conditions(view: &View<'_>, failure: Option<&str>) -> Vec<WorkloadCondition> {
    const KIND: &str = "ReplicaFailure";
    let mut conditions = view.set.status.conditions.clone();
    let there = conditions.iter().any(|condition| condition.r#type == KIND);
    match failure {
        None => conditions.retain(|condition| condition.r#type != KIND),
        Some(message) if !there => {
            let lacking = view.active.len() < usize::try_from(view.set.spec.replicas).unwrap_or(0);
            conditions.push(WorkloadCondition {
                r#type: KIND.to_owned(),
                status: "True".to_owned(),
                last_update_time: None,
                last_transition_time: Some(view.now),
                reason: if lacking { "FailedCreate" } else { "FailedDelete" }.to_owned(),
                message: message.to_owned(),
            });
        }
        Some(_) => {}
    }
    conditions
}

/// When the next ready pod becomes available by mere waiting.
pub(crate) fn wake_at(view: &View<'_>) -> Option<Timestamp> {
    let seconds = view.set.spec.min_ready_seconds;
    view.active.iter().filter_map(|pod| pod.available_at(seconds)).filter(|at| *at > view.now).min()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(word: &str, at: usize) -> Pod {
        let name: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
        let has = |mark: char| word.contains(mark);
        let phase = if has('?') { "Pending" } else { "Running" };
        let ready = if has('!') { "True" } else { "False" };
        let after = |mark: char| -> Option<String> {
            let rest = word.split_once(mark)?.1;
            Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
        };
        let created = Timestamp::from_second(1000 - i64::try_from(at).unwrap()).unwrap();
        serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "uid": name,
                "creationTimestamp": created.to_string(),
                "annotations": { DELETION_COST: after('$').unwrap_or_else(|| "0".to_owned()) },
            },
            "spec": { "nodeName": if has('-') { String::new() } else { after('@').unwrap_or_else(|| "n".to_owned()) } },
            "status": {
                "phase": phase,
                "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:10:00Z" }],
                "containerStatuses": [{ "name": "c", "restartCount": after('*').unwrap_or_default().parse::<i32>().unwrap_or(0) }],
            },
        }))
        .unwrap()
    }

    /// `REPLICAS | PODS`, a pod being a name, then `!` ready, `?` pending, `-` on no node,
    /// `@n` on that node, `$c` deletion cost, `*r` restarts; listed from new to old.
    /// Expected: `+N` pods created, or `-NAME` for each deleted one in order.
    fn check(given: &str, expect: &str) {
        let (replicas, pods) = given.split_once('|').unwrap();
        let pods: Vec<Pod> = pods.split_whitespace().enumerate().map(|(at, word)| pod(word, at)).collect();
        let set: ReplicaSet = serde_json::from_value(
            json!({ "spec": { "replicas": replicas.trim().parse::<i32>().unwrap() } }),
        )
        .unwrap();
        let mut related_on_node = BTreeMap::<String, usize>::new();
        for pod in &pods {
            *related_on_node.entry(pod.spec.node_name.clone()).or_default() += 1;
        }
        let view = View {
            set: &set,
            active: pods.iter().collect(),
            terminating: 0,
            related_on_node,
            now: Timestamp::from_second(2000).unwrap(),
        };
        let done = match plan(&view) {
            None => String::new(),
            Some(Action::Create(count)) => format!("+{count}"),
            Some(Action::Delete(victims)) => {
                victims.iter().map(|(name, _)| format!("-{name}")).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(done, expect, "{given}");
    }

    #[test]
    fn replicas_are_filled_up_and_cut_down() {
        check("2 | a! b!", "");
        check("5 | a! b!", "+3");
        check("900 |", "+500");
        check("0 | a! b", "-b -a");
    }

    #[test]
    fn scaling_down_takes_those_missed_least() {
        check("1 | a! b c!@m", "-b -a");
        check("2 | a! b!? c!", "-b");
        check("2 | a! b?- c!", "-b");
        check("2 | a!$5 b!$-1 c!", "-b");
        check("2 | a!@x b!@y c!@y", "-b");
        check("2 | a! b!*3 c!", "-b");
        check("2 | a!@x b!@y c!@z", "-a");
    }

    #[test]
    fn status_counts_and_remembers_the_first_failure() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": { "generation": 3 },
            "spec": { "replicas": 3, "minReadySeconds": 1500 },
        }))
        .unwrap();
        let pods = [pod("a!", 0), pod("b", 1)];
        let now = Timestamp::from_second(2000).unwrap();
        let view = View {
            set: &set,
            active: pods.iter().collect(),
            terminating: 1,
            related_on_node: BTreeMap::new(),
            now,
        };
        let status = status(&view, Some("no room"));
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({
                "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "terminatingReplicas": 1, "observedGeneration": 3,
                "conditions": [{
                    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no room",
                    "lastTransitionTime": "1970-01-01T00:33:20Z",
                }],
            })
        );
        assert_eq!(wake_at(&view), Some(Timestamp::from_second(2100).unwrap()));
    }
}
