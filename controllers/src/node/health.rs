//! What follows from a node's silence or complaints: conditions and taints.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use runtime::time;
use serde_json::{Value, json};

use crate::views::Node;
use crate::views::node::Taint;

/// A node is given up after this long without a word.
const GRACE: SignedDuration = SignedDuration::from_secs(50);
/// A node that never said how it is is given this long.
const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);
/// A zone with at least this share of nodes down is disturbed as a whole.
const DISTURBED_PERCENT: usize = 55;
/// In a disturbed zone no larger than this nobody is evicted.
const SMALL_ZONE: usize = 50;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What is known of one node.
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    /// When it was last heard of, by our own clock.
    pub(crate) heard: Timestamp,
    /// Whether its pods may be asked to leave if it is down.
    pub(crate) may_evict: bool,
    pub(crate) now: Timestamp,
}

/// How ready a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    NotReady,
    Unknown,
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Conditions that change.
    pub(crate) conditions: Vec<Value>,
    /// All taints, if they change.
    pub(crate) taints: Option<Vec<Taint>>,
    pub(crate) readiness: Readiness,
    pub(crate) wake_at: Option<Timestamp>,
}

/// Judges one node.
pub(crate) fn plan(view: &View<'_>) -> Plan {
    let node = view.node;
    let grace = if node.condition("Ready").is_some() { GRACE } else { STARTUP_GRACE };
    let deadline = view.heard + grace;
    let silent = view.now >= deadline;
    let readiness = if silent { Readiness::Unknown } else { readiness(node) };
    Plan {
        conditions: if silent { unknown_conditions(view) } else { Vec::new() },
        taints: taints(view, readiness),
        readiness,
        wake_at: (!silent).then_some(deadline),
    }
}

/// How ready a node says it is.
pub(crate) fn readiness(node: &Node) -> Readiness {
    match node.condition("Ready").map(|condition| condition.status.as_str()) {
        Some("True") => Readiness::Ready,
        Some("False") => Readiness::NotReady,
        _ => Readiness::Unknown,
    }
}

fn unknown_conditions(view: &View<'_>) -> Vec<Value> {
    let mut changed = Vec::new();
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let (reason, message) = match view.node.condition(kind) {
            Some(condition) if condition.status == "Unknown" => continue,
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let now = time::seconds(view.now);
        let mut condition = json!({
            "type": kind,
            "status": "Unknown",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        });
        if view.node.condition(kind).is_none() {
            let created = view.node.metadata.creation_timestamp.unwrap_or(view.now);
            condition["lastHeartbeatTime"] = time::seconds(created).into();
        }
        changed.push(condition);
    }
    changed
}

fn taints(view: &View<'_>, readiness: Readiness) -> Option<Vec<Taint>> {
    let wanted = wanted(view, readiness);
    let mut taints: Vec<Taint> = view
        .node
        .spec
        .taints
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|wanted| wanted.is(taint)))
        .cloned()
        .collect();
    for taint in wanted {
        if !taints.iter().any(|have| have.is(&taint)) {
            taints.push(taint);
        }
    }
    (taints != view.node.spec.taints).then_some(taints)
}

/// Taints that are ours to put and to take.
fn is_ours(taint: &Taint) -> bool {
    let kept_by_condition = [
        NOT_READY,
        UNREACHABLE,
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/pid-pressure",
        "node.kubernetes.io/network-unavailable",
        "node.kubernetes.io/unschedulable",
    ];
    match taint.effect.as_str() {
        "NoSchedule" => kept_by_condition.contains(&taint.key.as_str()),
        "NoExecute" => taint.key == NOT_READY || taint.key == UNREACHABLE,
        _ => false,
    }
}

fn wanted(view: &View<'_>, readiness: Readiness) -> Vec<Taint> {
    let taint = |key: &str, effect: &str| Taint {
        key: key.to_owned(),
        value: String::new(),
        effect: effect.to_owned(),
        time_added: Some(time::seconds(view.now)),
    };
    let mut wanted = Vec::new();
    let key = match readiness {
        Readiness::Ready => None,
        Readiness::NotReady => Some(NOT_READY),
        Readiness::Unknown => Some(UNREACHABLE),
    };
    if let Some(key) = key {
        wanted.push(taint(key, "NoSchedule"));
        if view.may_evict {
            wanted.push(taint(key, "NoExecute"));
        }
    }
    let pressures = [
        ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
        ("DiskPressure", "node.kubernetes.io/disk-pressure"),
        ("PIDPressure", "node.kubernetes.io/pid-pressure"),
        ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ];
    for (kind, key) in pressures {
        if view.node.condition(kind).is_some_and(|condition| condition.status == "True") {
            wanted.push(taint(key, "NoSchedule"));
        }
    }
    if view.node.spec.unschedulable {
        wanted.push(taint("node.kubernetes.io/unschedulable", "NoSchedule"));
    }
    wanted
}

/// Whether pods of a node may be asked to leave, given how many nodes are down.
///
/// When everything seems down it is more likely that we cannot hear than that
/// all nodes died at once; then nobody is asked to leave.
pub(crate) fn may_evict<'a>(node: &Node, all: impl Iterator<Item = &'a Node>) -> bool {
    let mut zones = BTreeMap::<String, (usize, usize)>::new();
    for other in all {
        let (total, down) = zones.entry(zone(other)).or_default();
        *total += 1;
        *down += usize::from(readiness(other) != Readiness::Ready);
    }
    let all_down = zones.values().all(|(total, down)| total == down);
    let (total, down) = zones.get(&zone(node)).copied().unwrap_or_default();
    let disturbed = down > 2 && down < total && down * 100 >= total * DISTURBED_PERCENT;
    !all_down && (!disturbed || total > SMALL_ZONE)
}

fn zone(node: &Node) -> String {
    let label = |name: &str| node.metadata.labels.get(name).map_or("", String::as_str);
    format!("{}/{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, taints: Value) -> Node {
        let conditions =
            if ready.is_empty() { json!([]) } else { json!([{ "type": "Ready", "status": ready }]) };
        serde_json::from_value(json!({ "metadata": { "name": "n" }, "spec": { "taints": taints }, "status": { "conditions": conditions } }))
            .unwrap()
    }

    /// Ready status, seconds since it was heard, whether it may evict, taints before;
    /// conditions that change and taints after.
    fn check(ready: &str, silent: i64, may_evict: bool, before: &[&str], expect: &str) {
        let taint = |text: &&str| {
            let (key, effect) = text.split_once(':').unwrap();
            json!({ "key": format!("node.kubernetes.io/{key}"), "effect": effect })
        };
        let node = node(ready, before.iter().map(taint).collect());
        let now = Timestamp::from_second(1000).unwrap();
        let view =
            View { node: &node, heard: Timestamp::from_second(1000 - silent).unwrap(), may_evict, now };
        let plan = plan(&view);
        let conditions: Vec<&str> = plan.conditions.iter().map(|c| c["type"].as_str().unwrap()).collect();
        let taints = plan.taints.map_or("same".to_owned(), |taints| {
            let words = taints
                .iter()
                .map(|t| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect));
            words.collect::<Vec<String>>().join(" ")
        });
        assert_eq!(format!("{} | {taints}", conditions.join(" ")), expect);
    }

    #[test]
    fn silence_and_complaints_become_taints() {
        check("True", 10, true, &[], " | same");
        check(
            "True",
            50,
            true,
            &[],
            "Ready MemoryPressure DiskPressure PIDPressure | unreachable:NoSchedule unreachable:NoExecute",
        );
        check(
            "True",
            50,
            false,
            &[],
            "Ready MemoryPressure DiskPressure PIDPressure | unreachable:NoSchedule",
        );
        check("", 55, true, &[], " | unreachable:NoSchedule unreachable:NoExecute");
        check(
            "",
            60,
            true,
            &["unreachable:NoSchedule", "unreachable:NoExecute"],
            "Ready MemoryPressure DiskPressure PIDPressure | same",
        );
        check("False", 10, true, &["unreachable:NoExecute"], " | not-ready:NoSchedule not-ready:NoExecute");
        check(
            "True",
            10,
            true,
            &["unreachable:NoExecute", "not-ready:NoSchedule", "other:NoExecute"],
            " | other:NoExecute",
        );
    }

    #[test]
    fn nobody_is_evicted_when_all_seem_down() {
        let (up, down) = (node("True", json!([])), node("Unknown", json!([])));
        let check = |ups: usize, downs: usize, expect: bool| {
            let all: Vec<&Node> =
                std::iter::repeat_n(&up, ups).chain(std::iter::repeat_n(&down, downs)).collect();
            assert_eq!(may_evict(&down, all.into_iter()), expect, "{ups} up, {downs} down");
        };
        check(0, 1, false);
        check(1, 1, true);
        check(1, 2, true);
        check(2, 3, false);
        check(40, 60, true);
    }
}
