//! The `eviction` subresource: whether a disruption budget lets a pod go.
//!
//! Decisions only. The caller finds the budgets, writes the budget and the pod, and retries on conflicts.

use jiff::Timestamp;
use schema::selectors::labels::Selector;
use serde_json::{Value, json};

use super::binding::seconds;
use super::conditions::{self, Condition};
use crate::tree::{at, int_at, list_at, list_at_mut, map_at, set, str_at};

/// Evictions a budget remembers until its controller has seen them.
const DISRUPTED_PODS_MAX: usize = 2000;

/// What the budgets say about an eviction.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Delete the pod; no budget is concerned. With `at_this_revision`, only if it has not changed since: a pod that is not
    /// ready may go, but only while it is not.
    Delete {
        /// Whether the deletion must be tied to the revision that was looked at.
        at_this_revision: bool,
    },
    /// Store this budget at its revision, then delete the pod.
    Charge(Box<Value>),
    /// 429: not now, for this reason. `retry_after_seconds` is set only while the budget's controller lags behind.
    TooManyRequests {
        /// Message of the Status cause `DisruptionBudget`.
        cause: String,
        /// Seconds to wait.
        retry_after_seconds: Option<u32>,
    },
    /// 403 on the budget of this name, with this text.
    Forbidden {
        /// Name of the budget.
        budget: String,
        /// Why.
        text: &'static str,
    },
    /// 500: more than one budget matches.
    SeveralBudgets,
}

/// Whether a pod may go whatever the budgets say: it has ended, has not begun, or goes already.
pub fn ignores_budgets(pod: &Value) -> bool {
    matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed" | "Pending")
        || at(pod, "metadata.deletionTimestamp").is_some()
}

/// Whether a budget is about a pod of its namespace. An empty selector is about all of them, an absent one about none.
pub fn selects(budget: &Value, pod: &Value) -> bool {
    Selector::from_tree(at(budget, "spec.selector")).is_ok_and(|selector| selector.matches_object(pod))
}

/// Decides over the eviction of `pod`, given the budgets that select it.
pub fn decide(pod: &Value, budgets: &[Value], now: Timestamp) -> Verdict {
    if ignores_budgets(pod) {
        let may_still_start =
            str_at(pod, "status.phase") == "Pending" && at(pod, "metadata.deletionTimestamp").is_none();
        return Verdict::Delete { at_this_revision: may_still_start };
    }
    let budget = match budgets {
        [] => return Verdict::Delete { at_this_revision: false },
        [budget] => budget,
        _ => return Verdict::SeveralBudgets,
    };
    if !is_ready(pod) {
        let healthy = int_at(budget, "status.currentHealthy").unwrap_or(0);
        let desired = int_at(budget, "status.desiredHealthy").unwrap_or(0);
        let always = str_at(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Verdict::Delete { at_this_revision: true };
        }
    }
    charge(pod, budget, now)
}

fn is_ready(pod: &Value) -> bool {
    list_at(pod, "status.conditions")
        .iter()
        .find(|condition| str_at(condition, "type") == "Ready")
        .is_some_and(|condition| str_at(condition, "status") == "True")
}

fn charge(pod: &Value, budget: &Value, now: Timestamp) -> Verdict {
    let name = str_at(budget, "metadata.name");
    let allowed = int_at(budget, "status.disruptionsAllowed").unwrap_or(0);
    let observed = int_at(budget, "status.observedGeneration").unwrap_or(0);
    if observed < int_at(budget, "metadata.generation").unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Verdict::TooManyRequests { cause, retry_after_seconds: Some(10) };
    }
    let forbidden = |text| Verdict::Forbidden { budget: name.to_owned(), text };
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if map_at(budget, "status.disruptedPods").map_or(0, serde_json::Map::len) > DISRUPTED_PODS_MAX {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Verdict::TooManyRequests { cause: refusal(budget), retry_after_seconds: None };
    }
    Verdict::Charge(Box::new(charged(pod, budget, allowed - 1, now)))
}

fn refusal(budget: &Value) -> String {
    let name = str_at(budget, "metadata.name");
    let healthy = int_at(budget, "status.currentHealthy").unwrap_or(0);
    let desired = int_at(budget, "status.desiredHealthy").unwrap_or(0);
    let condition = list_at(budget, "status.conditions").iter().find(|condition| {
        str_at(condition, "type") == "DisruptionAllowed"
            && str_at(condition, "status") == "False"
            && !str_at(condition, "message").is_empty()
    });
    let (reason, message) = condition.map_or(("", ""), |c| (str_at(c, "reason"), str_at(c, "message")));
    if reason == "SyncFailed" {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        );
    }
    if healthy <= desired {
        return format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        );
    }
    match condition {
        Some(_) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// The budget with one disruption less, and the pod noted as going.
fn charged(pod: &Value, budget: &Value, left: i64, now: Timestamp) -> Value {
    let mut budget = budget.clone();
    set(&mut budget, "status.disruptionsAllowed", left);
    if left == 0 {
        let observed = int_at(&budget, "status.observedGeneration").unwrap_or(0);
        for condition in list_at_mut(&mut budget, "status.conditions") {
            if str_at(condition, "type") == "DisruptionAllowed" && str_at(condition, "status") != "False" {
                set(condition, "status", "False");
                set(condition, "reason", "InsufficientPods");
                set(condition, "lastTransitionTime", seconds(now));
                set(condition, "observedGeneration", observed);
            }
        }
    }
    let mut going = map_at(&budget, "status.disruptedPods").cloned().unwrap_or_default();
    going.insert(str_at(pod, "metadata.name").to_owned(), json!(seconds(now)));
    set(&mut budget, "status.disruptedPods", going);
    budget
}

/// Notes in the pod's status that it is being evicted.
pub fn mark(pod: &mut Value, now: Timestamp) {
    let condition = Condition {
        ty: "DisruptionTarget",
        status: "True",
        reason: "EvictionByEvictionAPI",
        message: "Eviction API: evicting",
    };
    conditions::update(pod, condition, &json!(seconds(now)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    /// What the budgets say about a pod of this phase and readiness. A budget is `allowed healthy/desired`, then `!` when its
    /// controller has not seen its spec and `*` when it always lets unhealthy pods go.
    fn check(phase: &str, ready: &str, budgets: &[&str], expected: &str) {
        let pod = json!({"metadata": {"name": "p"},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        let budgets: Vec<Value> = budgets.iter().map(|text| budget(text)).collect();
        let text = match decide(&pod, &budgets, NOW.parse().expect("a time")) {
            Verdict::Delete { at_this_revision: false } => "delete".to_owned(),
            Verdict::Delete { at_this_revision: true } => "delete if unchanged".to_owned(),
            Verdict::Charge(budget) => {
                let left = int_at(&budget, "status.disruptionsAllowed").unwrap_or(0);
                assert_eq!(at(&budget, "status.disruptedPods.p"), Some(&json!(NOW)));
                format!("charge, {left} left")
            }
            Verdict::TooManyRequests { cause, retry_after_seconds } => {
                format!("{retry_after_seconds:?} {cause}")
            }
            Verdict::Forbidden { text, .. } => text.to_owned(),
            Verdict::SeveralBudgets => "several".to_owned(),
        };
        assert_eq!(text, expected);
    }

    fn budget(text: &str) -> Value {
        let (numbers, marks) = text.split_at(text.trim_end_matches(['!', '*']).len());
        let (allowed, health) = numbers.split_once(' ').expect("two parts");
        let (healthy, desired) = health.split_once('/').expect("two numbers");
        let number = |text: &str| text.parse::<i64>().expect("a number");
        let policy = if marks.contains('*') { "AlwaysAllow" } else { "IfHealthyBudget" };
        json!({"metadata": {"name": "b", "generation": 2}, "spec": {"unhealthyPodEvictionPolicy": policy},
            "status": {"observedGeneration": if marks.contains('!') { 1 } else { 2 }, "disruptionsAllowed": number(allowed),
                "currentHealthy": number(healthy), "desiredHealthy": number(desired)}})
    }

    #[test]
    fn budgets_guard_running_pods() {
        check("Running", "True", &[], "delete");
        check("Running", "True", &["1 2/1"], "charge, 0 left");
        check(
            "Running",
            "True",
            &["0 2/2"],
            "None The disruption budget b needs 2 healthy pods and has 2 currently",
        );
        check(
            "Running",
            "True",
            &["1 2/1!"],
            "Some(10) The disruption budget b is still being processed by the server.",
        );
        check("Running", "True", &["1 2/1", "1 2/1"], "several");
        check("Running", "True", &["-1 2/1"], "pdb disruptions allowed is negative");
    }

    #[test]
    fn what_does_not_run_may_go() {
        check("Succeeded", "False", &["0 1/1"], "delete");
        check("Pending", "False", &["0 1/1"], "delete if unchanged");
        check("Running", "False", &["0 1/1"], "delete if unchanged");
        check(
            "Running",
            "False",
            &["0 0/1"],
            "None The disruption budget b needs 1 healthy pods and has 0 currently",
        );
        check("Running", "False", &["0 0/1*"], "delete if unchanged");
    }

    #[test]
    fn a_budget_without_selector_is_about_no_pod() {
        let pod = json!({"metadata": {"labels": {"a": "b"}}});
        let selects = |selector: Value| selects(&json!({"spec": {"selector": selector}}), &pod);
        assert!(selects(json!({})));
        assert!(selects(json!({"matchLabels": {"a": "b"}})));
        assert!(!selects(json!({"matchLabels": {"a": "c"}})));
        assert!(!selects(Value::Null));
    }
}
