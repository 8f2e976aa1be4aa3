//! What a deployment says about itself: counts, and the story of its rollout.

use jiff::{SignedDuration, Timestamp};

use super::math::fenceposts;
use super::plan::SetState;
use crate::views::workload::{Deployment, DeploymentSpec, DeploymentStatus, WorkloadCondition};

const PROGRESSING: &str = "Progressing";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

pub(super) fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a WorkloadCondition> {
    status.conditions.iter().find(|condition| condition.r#type == kind)
}

/// Sets a condition unless its status and reason stand already; the transition
/// time moves only with the status.
pub(super) fn set_condition(status: &mut DeploymentStatus, mut condition: WorkloadCondition) {
    if let Some(old) = status.conditions.iter().find(|old| old.r#type == condition.r#type) {
        if old.status == condition.status && old.reason == condition.reason {
            return;
        }
        if old.status == condition.status {
            condition.last_transition_time = old.last_transition_time;
        }
    }
    status.conditions.retain(|old| old.r#type != condition.r#type);
    status.conditions.push(condition);
}

/// A condition that begins now.
pub(super) fn begun(
    kind: &str,
    status: &str,
    (reason, message): (&str, String),
    now: Timestamp,
) -> WorkloadCondition {
    WorkloadCondition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        last_update_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.to_owned(),
        message,
    }
}

/// A condition on how the rollout goes.
pub(super) fn progressing(status: &str, reason: &str, message: String, now: Timestamp) -> WorkloadCondition {
    begun(PROGRESSING, status, (reason, message), now)
}

pub(super) fn has_deadline(spec: &DeploymentSpec) -> bool {
    spec.progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX)
}

/// Notes that a deployment was paused or resumed, so that the pause does not count as lack of progress.
pub(super) fn note_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let current = condition(status, PROGRESSING).map(|condition| condition.reason.clone());
    if !has_deadline(&deployment.spec) || current.as_deref() == Some(TIMED_OUT) {
        return;
    }
    match (deployment.spec.paused, current.as_deref() == Some(PAUSED)) {
        (true, false) => {
            set_condition(status, progressing("Unknown", PAUSED, "Deployment is paused".to_owned(), now));
        }
        (false, true) => {
            let text = "Deployment is resumed".to_owned();
            set_condition(status, progressing("Unknown", "DeploymentResumed", text, now));
        }
        _ => {}
    }
}

/// Notes that the new set was found rather than made.
pub(super) fn note_found(spec: &DeploymentSpec, status: &mut DeploymentStatus, name: &str, now: Timestamp) {
    if has_deadline(spec) && condition(status, PROGRESSING).is_none() {
        let text = format!("Found new replica set \"{name}\"");
        set_condition(status, progressing("True", "FoundNewReplicaSet", text, now));
    }
}

/// Counts, and whether enough is available.
pub(super) fn counted(
    deployment: &Deployment,
    before: &DeploymentStatus,
    sets: &[&SetState<'_>],
    new: Option<&SetState<'_>>,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: fn(&SetState<'_>) -> i32| sets.iter().map(|set| count(set)).sum::<i32>();
    let available = sum(|set| set.status().available_replicas);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: sum(|set| set.status().replicas),
        updated_replicas: new.map_or(0, |set| set.status().replicas),
        ready_replicas: sum(|set| set.status().ready_replicas),
        available_replicas: available,
        unavailable_replicas: (sum(|set| set.replicas) - available).max(0),
        terminating_replicas: terminating(sets),
        conditions: before.conditions.clone(),
        collision_count: before.collision_count,
    };
    let spec = &deployment.spec;
    let (value, reason, text) = if available >= spec.replicas - fenceposts(spec).max_unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set_condition(&mut status, begun("Available", value, (reason, text.to_owned()), now));
    status
}

/// Unknown as long as a set that has been looked at does not say.
fn terminating(sets: &[&SetState<'_>]) -> Option<i32> {
    let mut total = 0;
    for status in sets.iter().map(|set| set.status()) {
        match status.terminating_replicas {
            Some(count) => total += count,
            None if status.observed_generation == 0 => {}
            None => return None,
        }
    }
    Some(total)
}

/// All replicas are new and available, and nothing old is left.
pub(super) fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.replicas;
    status.updated_replicas == replicas
        && status.replicas == replicas
        && status.available_replicas == replicas
        && status.observed_generation >= deployment.metadata.generation
}

fn progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn timed_out(spec: &DeploymentSpec, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = condition(status, PROGRESSING) else { return false };
    match condition.reason.as_str() {
        NEW_SET_AVAILABLE => false,
        TIMED_OUT => true,
        _ => deadline(spec, condition).is_some_and(|at| at < now),
    }
}

fn deadline(spec: &DeploymentSpec, condition: &WorkloadCondition) -> Option<Timestamp> {
    let patience = SignedDuration::from_secs(i64::from(spec.progress_deadline_seconds?));
    condition.last_update_time?.checked_add(patience).ok()
}

/// Judges the rollout after a step: done, on its way, or stuck.
pub(super) fn judge_rollout(
    deployment: &Deployment,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    new: Option<&str>,
    now: Timestamp,
) {
    let spec = &deployment.spec;
    if !has_deadline(spec) {
        status.conditions.retain(|condition| condition.r#type != PROGRESSING);
        return;
    }
    let current = condition(before, PROGRESSING).cloned();
    let settled = current.as_ref().is_some_and(|condition| condition.reason == NEW_SET_AVAILABLE);
    if settled && status.replicas == status.updated_replicas {
        return;
    }
    let what = match new {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => format!("Deployment \"{}\"", deployment.metadata.name),
    };
    if complete(deployment, status) {
        let text = format!("{what} has successfully progressed.");
        set_condition(status, progressing("True", NEW_SET_AVAILABLE, text, now));
    } else if progressed(before, status) {
        let mut step = progressing("True", "ReplicaSetUpdated", format!("{what} is progressing."), now);
        if let Some(current) = current.filter(|current| current.status == "True") {
            step.last_transition_time = current.last_transition_time;
        }
        // Unlike other conditions this one is renewed by each step: its update time is what the deadline counts from.
        status.conditions.retain(|condition| condition.r#type != PROGRESSING);
        status.conditions.push(step);
    } else if timed_out(spec, status, now) {
        let text = format!("{what} has timed out progressing.");
        set_condition(status, progressing("False", TIMED_OUT, text, now));
    }
}

/// Passes on what keeps a set from making its pods; the new set's word counts most.
pub(super) fn pass_failures(
    status: &mut DeploymentStatus,
    sets: &[&SetState<'_>],
    new: Option<&SetState<'_>>,
) {
    const KIND: &str = "ReplicaFailure";
    let failure = new
        .into_iter()
        .chain(sets.iter().copied())
        .find_map(|set| set.status().conditions.iter().find(|condition| condition.r#type == KIND));
    match failure {
        Some(failure) => {
            let copy =
                WorkloadCondition { last_update_time: failure.last_transition_time, ..failure.clone() };
            set_condition(status, copy);
        }
        None => status.conditions.retain(|condition| condition.r#type != KIND),
    }
}

/// When lack of progress becomes a failure by mere waiting.
pub(super) fn wake_at(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let spec = &deployment.spec;
    let condition = condition(status, PROGRESSING).filter(|_| has_deadline(spec) && !spec.paused)?;
    if complete(deployment, status) || condition.reason == TIMED_OUT || condition.reason == NEW_SET_AVAILABLE
    {
        return None;
    }
    // A second more, as times are printed without their fraction.
    deadline(spec, condition)?.checked_add(SignedDuration::from_secs(1)).ok()
}
