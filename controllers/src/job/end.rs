//! Whether a job ends, and how its status says so: first that it will (`FailureTarget`, `SuccessCriteriaMet`), and when
//! its last pod is gone and counted, that it has (`Failed`, `Complete`).

use jiff::{SignedDuration, Timestamp};
use runtime::Severity;

use super::plan::{Step, Tally, View, Words, condition, is_indexed, number};
use super::policy::{self, Failure};
use crate::views::Pod;
use crate::views::batch::JobCondition;

/// Why a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) succeeds: bool,
    reason: String,
    message: String,
}

impl Verdict {
    fn fails(reason: &str, message: impl Into<String>) -> Option<Verdict> {
        Some(Verdict { succeeds: false, reason: reason.to_owned(), message: message.into() })
    }

    fn succeeds(reason: &str, message: impl Into<String>) -> Option<Verdict> {
        Some(Verdict { succeeds: true, reason: reason.to_owned(), message: message.into() })
    }

    fn of(condition: &JobCondition, succeeds: bool) -> Verdict {
        Verdict { succeeds, reason: condition.reason.clone(), message: condition.message.clone() }
    }
}

/// What ends the job, if anything does. What was decided before stays decided.
pub(super) fn verdict(view: &View<'_>, tally: &Tally<'_>) -> Option<Verdict> {
    let job = view.job;
    if let Some(condition) = job.condition("FailureTarget") {
        return Some(Verdict::of(condition, false));
    }
    if let Some(condition) = job.condition("SuccessCriteriaMet") {
        return Some(Verdict::of(condition, true));
    }
    failure(view, tally).or_else(|| success(view, tally))
}

fn failure(view: &View<'_>, tally: &Tally<'_>) -> Option<Verdict> {
    let job = view.job;
    let by_policy = tally.newly_failed.iter().find_map(|(_, failure)| match failure {
        Failure::FailsJob(message) => Some(message.clone()),
        _ => None,
    });
    if let Some(message) = by_policy {
        return Verdict::fails("PodFailurePolicy", message);
    }
    if tally.failed > job.spec.backoff_limit || restarts_exceed(view, tally) {
        return Verdict::fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline(view).is_some_and(|deadline| deadline <= view.now) {
        return Verdict::fails("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let failed = number(tally.failed_indexes.len());
    if job.spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Verdict::fails("MaxFailedIndexesExceeded", message);
    }
    let ended = failed + number(tally.succeeded_indexes.len());
    if failed > 0 && job.spec.completions.is_some_and(|completions| ended >= completions) {
        return Verdict::fails("FailedIndexes", "Job has failed indexes");
    }
    None
}

/// Containers that are restarted in place count by their restarts.
fn restarts_exceed(view: &View<'_>, tally: &Tally<'_>) -> bool {
    let job = view.job;
    if job.spec.template.spec.restart_policy != "OnFailure" {
        return false;
    }
    let of_pod = |pod: &Pod| -> i32 {
        let statuses = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
        statuses.map(|status| status.restart_count).sum()
    };
    let restarts: i32 = tally.active.iter().map(|pod| of_pod(pod)).sum();
    if job.spec.backoff_limit == 0 { restarts > 0 } else { restarts >= job.spec.backoff_limit }
}

fn deadline(view: &View<'_>) -> Option<Timestamp> {
    let job = view.job;
    let seconds = job.spec.active_deadline_seconds.filter(|_| !job.spec.suspend)?;
    job.status.start_time?.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn success(view: &View<'_>, tally: &Tally<'_>) -> Option<Verdict> {
    let job = view.job;
    if is_indexed(job)
        && let Some(message) = policy::success(job, &tally.succeeded_indexes)
    {
        return Verdict::succeeds("SuccessPolicy", message);
    }
    let enough = match job.spec.completions {
        None => tally.succeeded > 0 && tally.active.is_empty(),
        Some(completions) => tally.succeeded >= completions && tally.active.is_empty(),
    };
    if !enough || job.metadata.deleting() {
        return None;
    }
    Verdict::succeeds("CompletionsReached", "Reached expected number of succeeded pods")
}

/// Writes the conditions of a step, and what is said about them.
pub(super) fn conclude(view: &View<'_>, tally: &Tally<'_>, verdict: Option<Verdict>, step: &mut Step) {
    match verdict {
        Some(verdict) => end(view, tally, &verdict, step),
        None if view.job.metadata.deleting() => {}
        None => {
            suspend(view, step);
            let wakes = [step.wake_at, deadline(view)];
            step.wake_at = wakes.into_iter().flatten().min();
        }
    }
}

fn end(view: &View<'_>, tally: &Tally<'_>, verdict: &Verdict, step: &mut Step) {
    let (target, terminal) =
        if verdict.succeeds { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    let conditions = &mut step.status.conditions;
    if view.job.condition(target).is_none() {
        conditions.push(condition(target, "True", &verdict.reason, &verdict.message, view.now));
    }
    let uncounted = step.status.uncounted_terminated_pods.clone().unwrap_or_default();
    let all_counted =
        uncounted.succeeded.is_empty() && uncounted.failed.is_empty() && step.release.is_empty();
    if !all_counted || !tally.active.is_empty() || tally.terminating > 0 {
        return;
    }
    let conditions = &mut step.status.conditions;
    conditions.push(condition(terminal, "True", &verdict.reason, &verdict.message, view.now));
    step.status.start_time.get_or_insert(view.now);
    if verdict.succeeds {
        step.status.completion_time = Some(view.now);
        say(step, Severity::Normal, "Completed", "Job completed");
    } else {
        say(step, Severity::Warning, &verdict.reason, &verdict.message);
    }
}

fn suspend(view: &View<'_>, step: &mut Step) {
    let conditions = &mut step.status.conditions;
    let present = conditions.iter_mut().find(|condition| condition.r#type == "Suspended");
    let (status, reason, message, event) = if view.job.spec.suspend {
        ("True", "JobSuspended", "Job suspended", "Suspended")
    } else {
        ("False", "JobResumed", "Job resumed", "Resumed")
    };
    let changed = condition("Suspended", status, reason, message, view.now);
    match present {
        Some(condition) if condition.status == status => return,
        Some(condition) => *condition = changed,
        // A job that was never suspended does not say that it is not.
        None if !view.job.spec.suspend => return,
        None => conditions.push(changed),
    }
    if !view.job.spec.suspend {
        step.status.start_time = Some(view.now);
    }
    say(step, Severity::Normal, event, message);
}

fn say(step: &mut Step, severity: Severity, reason: &str, message: &str) {
    step.words.push(Words { severity, reason: reason.to_owned(), message: message.to_owned() });
}
