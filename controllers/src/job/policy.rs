//! What a failed pod means, and when enough indexes have succeeded.

use std::collections::BTreeSet;

use super::indexes;
use crate::views::Pod;
use crate::views::batch::{ConditionPattern, ExitCodes, Job};

/// What the failure of a pod means to its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It counts.
    Counts,
    /// It does not count, and the pod is replaced.
    Ignored,
    /// The index has failed for good.
    FailsIndex,
    /// The job has failed, for this reason.
    FailsJob(String),
}

/// The first rule that matches decides; without one, failures count.
pub(super) fn failure(job: &Job, pod: &Pod) -> Failure {
    let rules = job.spec.pod_failure_policy.as_ref().map_or(&[][..], |policy| &policy.rules);
    for (index, rule) in rules.iter().enumerate() {
        let cause = match &rule.on_exit_codes {
            Some(codes) => on_exit_codes(codes, pod),
            None => on_conditions(&rule.on_pod_conditions, pod),
        };
        let Some(cause) = cause else { continue };
        match rule.action.as_str() {
            "Ignore" => return Failure::Ignored,
            "FailIndex" if job.spec.backoff_limit_per_index.is_some() => return Failure::FailsIndex,
            "FailJob" => {
                return Failure::FailsJob(format!("{cause} matching FailJob rule at index {index}"));
            }
            _ => return Failure::Counts,
        }
    }
    Failure::Counts
}

/// What happened, in words, if it is what a rule is about.
fn on_exit_codes(codes: &ExitCodes, pod: &Pod) -> Option<String> {
    let statuses = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    for status in statuses {
        if codes.container_name.as_ref().is_some_and(|name| *name != status.name) {
            continue;
        }
        let Some(code) = status.state.terminated.as_ref().map(|end| end.exit_code).filter(|code| *code != 0)
        else {
            continue;
        };
        if codes.values.contains(&code) == (codes.operator == "In") {
            let (container, metadata) = (&status.name, &pod.metadata);
            return Some(format!(
                "Container {container} for pod {}/{} failed with exit code {code}",
                metadata.namespace, metadata.name
            ));
        }
    }
    None
}

fn on_conditions(patterns: &[ConditionPattern], pod: &Pod) -> Option<String> {
    let has = |pattern: &&ConditionPattern| {
        pod.condition(&pattern.r#type).is_some_and(|condition| condition.status == pattern.status)
    };
    let pattern = patterns.iter().find(has)?;
    let metadata = &pod.metadata;
    Some(format!("Pod {}/{} has condition {}", metadata.namespace, metadata.name, pattern.r#type))
}

/// The words about the rule that the succeeded indexes fulfil, if one.
pub(super) fn success(job: &Job, succeeded: &BTreeSet<i32>) -> Option<String> {
    let policy = job.spec.success_policy.as_ref()?;
    policy.rules.iter().enumerate().find_map(|(at, rule)| {
        let met = match (&rule.succeeded_indexes, rule.succeeded_count) {
            (Some(text), count) => {
                let wanted = indexes::parse(text);
                let have = wanted.intersection(succeeded).count();
                have >= count.map_or(wanted.len(), |count| usize::try_from(count).unwrap_or(0))
            }
            (None, Some(count)) => succeeded.len() >= usize::try_from(count).unwrap_or(0),
            (None, None) => false,
        };
        met.then(|| format!("Matched rules at index {at}"))
    })
}
