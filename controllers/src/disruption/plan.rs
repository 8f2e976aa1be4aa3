//! How many of a budget's pods are healthy, how many must be, and how many may go.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use runtime::{LabelSelector, Metadata, View as CacheView};
use serde::{Deserialize, Serialize};

use crate::views::Pod;
use crate::views::workload::{IntOrPercent, whole_seconds};

/// A granted eviction whose deletion has not been seen after this long will not come.
const GRANT_LIFETIME: SignedDuration = SignedDuration::from_mins(2);

/// A PodDisruptionBudget.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Budget {
    pub(super) metadata: Metadata,
    pub(super) spec: BudgetSpec,
    pub(super) status: BudgetStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BudgetSpec {
    pub(super) min_available: Option<IntOrPercent>,
    pub(super) max_unavailable: Option<IntOrPercent>,
    pub(super) selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BudgetStatus {
    #[serde(skip_serializing_if = "zero")]
    pub(super) observed_generation: i64,
    /// Pods whose eviction was granted, and when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) disrupted_pods: BTreeMap<String, Timestamp>,
    pub(super) disruptions_allowed: i32,
    pub(super) current_healthy: i32,
    pub(super) desired_healthy: i32,
    pub(super) expected_pods: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<BudgetCondition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BudgetCondition {
    pub(super) r#type: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "zero")]
    pub(super) observed_generation: i64,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(super) last_transition_time: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) message: String,
}

fn zero(number: &i64) -> bool {
    *number == 0
}

impl CacheView for Budget {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Budget {
    pub(super) fn selects(&self, pod: &Pod) -> bool {
        self.spec.selector.as_ref().is_some_and(|selector| selector.matches(pod.labels()))
    }

    /// Whether it is about a share of the replicas that the pods' controllers want.
    pub(super) fn asks_for_scale(&self) -> bool {
        self.spec.max_unavailable.is_some()
            || matches!(self.spec.min_available, Some(IntOrPercent::Percent(_)))
    }
}

/// What a plan is made from.
pub(super) struct View<'a> {
    pub(super) budget: &'a Budget,
    /// The pods it selects.
    pub(super) pods: Vec<&'a Pod>,
    /// Replicas that the controllers of these pods want together.
    pub(super) scale: i32,
    pub(super) now: Timestamp,
}

/// The status that is true now, and when a grant runs out by mere waiting.
pub(super) fn plan(view: &View<'_>) -> (BudgetStatus, Option<Timestamp>) {
    let budget = view.budget;
    let granted = granted(view);
    let healthy = view
        .pods
        .iter()
        .filter(|pod| pod.ready() && !pod.metadata.deleting() && !granted.contains_key(&pod.metadata.name))
        .count();
    let current = i32::try_from(healthy).unwrap_or(i32::MAX);
    let (expected, desired) = expectation(view);
    let allowed = if expected > 0 { (current - desired).max(0) } else { 0 };
    let wake_at = granted.values().min().and_then(|at| at.checked_add(GRANT_LIFETIME).ok());
    let status = BudgetStatus {
        observed_generation: budget.metadata.generation,
        disrupted_pods: granted,
        disruptions_allowed: allowed,
        current_healthy: current,
        desired_healthy: desired,
        expected_pods: expected,
        conditions: conditions(view, allowed),
    };
    (status, wake_at)
}

/// Grants that are still open: the pod is there, does not go yet, and may still be about to.
fn granted(view: &View<'_>) -> BTreeMap<String, Timestamp> {
    let is_open = |name: &str, at: &Timestamp| {
        let waits = view.pods.iter().any(|pod| pod.metadata.name == name && !pod.metadata.deleting());
        waits && at.checked_add(GRANT_LIFETIME).is_ok_and(|until| until > view.now)
    };
    let grants = &view.budget.status.disrupted_pods;
    grants.iter().filter(|(name, at)| is_open(name, at)).map(|(name, at)| (name.clone(), *at)).collect()
}

/// How many pods there should be, and how many of them must be healthy.
fn expectation(view: &View<'_>) -> (i32, i32) {
    let spec = &view.budget.spec;
    let pods = i32::try_from(view.pods.len()).unwrap_or(i32::MAX);
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (view.scale, (view.scale - share(most, view.scale)).max(0)),
        (None, Some(least @ IntOrPercent::Percent(_))) => (view.scale, share(least, view.scale)),
        (None, Some(IntOrPercent::Int(least))) => (pods, *least),
        (None, None) => (0, 0),
    }
}

/// A number, or a share of the whole rounded up.
fn share(amount: &IntOrPercent, whole: i32) -> i32 {
    match amount {
        IntOrPercent::Int(number) => *number,
        IntOrPercent::Percent(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            i32::try_from((i64::from(whole) * percent + 99) / 100).unwrap_or(i32::MAX)
        }
    }
}

fn conditions(view: &View<'_>, allowed: i32) -> Vec<BudgetCondition> {
    const TYPE: &str = "DisruptionAllowed";
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut conditions = view.budget.status.conditions.clone();
    let before = conditions.iter().find(|condition| condition.r#type == TYPE);
    let since = before.filter(|condition| condition.status == status);
    let condition = BudgetCondition {
        r#type: TYPE.to_owned(),
        status: status.to_owned(),
        observed_generation: view.budget.metadata.generation,
        last_transition_time: since.map_or(Some(view.now), |condition| condition.last_transition_time),
        reason: reason.to_owned(),
        message: String::new(),
    };
    match conditions.iter_mut().find(|condition| condition.r#type == TYPE) {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Pods by name, `!` ready, `~` on their way out; the numbers are allowed, healthy, desired and expected.
    fn check(spec: Value, scale: i32, pods: &str, granted: Value, expected: [i32; 4]) {
        let pods: Vec<Pod> = pods
            .split_whitespace()
            .map(|word| {
                let ready = if word.contains('!') { "True" } else { "False" };
                let deleted = word.contains('~').then_some("2026-01-01T00:00:00Z");
                serde_json::from_value(json!({
                    "metadata": {"name": word.trim_end_matches(['!', '~']), "deletionTimestamp": deleted},
                    "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
                .expect("a pod")
            })
            .collect();
        let budget: Budget =
            serde_json::from_value(json!({"spec": spec, "status": {"disruptedPods": granted}}))
                .expect("a budget");
        let now = "2026-01-01T00:01:00Z".parse().expect("a time");
        let (status, _) = plan(&View { budget: &budget, pods: pods.iter().collect(), scale, now });
        let numbers = [
            status.disruptions_allowed,
            status.current_healthy,
            status.desired_healthy,
            status.expected_pods,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn what_is_healthy_beyond_what_must_be_may_go() {
        check(json!({"minAvailable": 2}), 0, "a! b! c", json!({}), [0, 2, 2, 3]);
        check(json!({"minAvailable": 1}), 0, "a! b! c", json!({}), [1, 2, 1, 3]);
        check(json!({"minAvailable": 1}), 0, "a!~ b! c", json!({}), [0, 1, 1, 3]);
        check(json!({"maxUnavailable": 1}), 3, "a! b! c!", json!({}), [1, 3, 2, 3]);
        check(json!({"maxUnavailable": "30%"}), 4, "a! b! c! d!", json!({}), [2, 4, 2, 4]);
        check(json!({"minAvailable": "50%"}), 3, "a! b! c!", json!({}), [1, 3, 2, 3]);
        check(json!({"maxUnavailable": 1}), 0, "a!", json!({}), [0, 1, 0, 0]);
        check(json!({}), 0, "a!", json!({}), [0, 1, 0, 0]);
    }

    #[test]
    fn a_grant_counts_until_its_pod_goes_or_it_is_too_old() {
        let one = || json!({"minAvailable": 1});
        check(one(), 0, "a! b!", json!({"a": "2026-01-01T00:00:30Z"}), [0, 1, 1, 2]);
        check(one(), 0, "a! b!", json!({"a": "2025-12-31T23:00:00Z"}), [1, 2, 1, 2]);
        check(one(), 0, "a!~ b!", json!({"a": "2026-01-01T00:00:30Z"}), [0, 1, 1, 2]);
    }
}
