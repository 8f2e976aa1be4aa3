//! What a Job needs next: which ended pods to count, which pods to make or delete, and what its status says.
//!
//! A pod carries a finalizer until it is counted. Counting is three writes, so that a pod is counted once whoever is
//! interrupted: its uid goes into the status, then its finalizer goes, then the uid turns into a number.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use runtime::Severity;

use super::index_limits::IndexLimits;
use super::policy::{self, Failure};
use super::{end, indexes};
use crate::views::Pod;
use crate::views::batch::{Job, JobCondition, JobStatus};

/// Keeps a pod until its job has counted it.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label with the index of a pod.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Pods created or deleted in one go, as upstream.
const BURST_MAX: usize = 500;
/// Pods counted in one go, which bounds the size of the status.
const COUNTED_MAX: usize = 500;
/// The pause after the first failure; each further one doubles it.
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(600);

/// What a plan is made from.
pub(super) struct View<'a> {
    pub(super) job: &'a Job,
    /// Its pods, ended ones included.
    pub(super) pods: Vec<&'a Pod>,
    pub(super) now: Timestamp,
}

/// A pod to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewPod {
    /// Its index, in an indexed job.
    pub(super) index: Option<i32>,
    /// Failures of that index so far that count, when each index has a limit of its own.
    pub(super) failures: Option<i32>,
    /// Those among them that a policy ignores, if any; they are not in the other number.
    pub(super) ignored: Option<i32>,
}

/// What to say about the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) message: String,
}

/// One step: the status is written first, then finalizers go, then pods are made or deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) status: JobStatus,
    /// Names of pods that are counted.
    pub(super) release: Vec<String>,
    pub(super) create: Vec<NewPod>,
    /// Names and uids.
    pub(super) delete: Vec<(String, String)>,
    pub(super) words: Vec<Words>,
    pub(super) wake_at: Option<Timestamp>,
}

/// The next step of a job that has not ended.
pub(super) fn plan(view: &View<'_>) -> Step {
    let tally = Tally::new(view);
    let verdict = end::verdict(view, &tally);
    let mut step = Step { status: view.job.status.clone(), ..Step::default() };
    tally.count(view, verdict.as_ref(), &mut step);
    let deleting = view.job.metadata.deleting();
    match (&verdict, deleting) {
        (Some(_), _) => step.delete = all(&tally.active),
        (None, true) => {}
        (None, false) => manage(view, &tally, &mut step),
    }
    write_numbers(view, &tally, &mut step);
    end::conclude(view, &tally, verdict, &mut step);
    step
}

/// The pods of a job by what they are doing, and what was counted so far.
pub(super) struct Tally<'a> {
    pub(super) active: Vec<&'a Pod>,
    pub(super) terminating: usize,
    /// Failed pods that are in no counter yet, with what their failure means.
    pub(super) newly_failed: Vec<(&'a Pod, Failure)>,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) succeeded_indexes: BTreeSet<i32>,
    pub(super) failed_indexes: BTreeSet<i32>,
    /// When each index has a limit of its own.
    limits: Option<IndexLimits<'a>>,
}

impl<'a> Tally<'a> {
    fn new(view: &View<'a>) -> Tally<'a> {
        let (job, status) = (view.job, &view.job.status);
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let is_new = |pod: &Pod| {
            tracked(pod)
                && !uncounted.succeeded.contains(&pod.metadata.uid)
                && !uncounted.failed.contains(&pod.metadata.uid)
        };
        let new_pods = || view.pods.iter().copied().filter(|pod| is_new(pod));
        let newly_succeeded: Vec<&Pod> = new_pods().filter(|pod| pod.status.phase == "Succeeded").collect();
        let newly_failed: Vec<(&Pod, Failure)> = new_pods()
            .filter(|pod| has_failed(job, pod) && in_range(job, pod))
            .map(|pod| (pod, policy::failure(job, pod)))
            .collect();
        let counts = |failure: &Failure| *failure != Failure::Ignored;
        let failed = status.failed
            + number(uncounted.failed.len())
            + number(newly_failed.iter().filter(|(_, failure)| counts(failure)).count());
        let mut succeeded_indexes = indexes::parse(&status.completed_indexes);
        succeeded_indexes.extend(newly_succeeded.iter().filter_map(|pod| index_of(pod)));
        if let Some(completions) = job.spec.completions {
            succeeded_indexes.retain(|index| *index < completions);
        }
        let succeeded = if is_indexed(job) {
            number(succeeded_indexes.len())
        } else {
            status.succeeded + number(uncounted.succeeded.len() + newly_succeeded.len())
        };
        let mut tally = Tally {
            active: view.pods.iter().copied().filter(|pod| pod.active()).collect(),
            terminating: view.pods.iter().filter(|pod| pod.metadata.deleting() && !pod.terminal()).count(),
            newly_failed,
            succeeded,
            failed,
            succeeded_indexes,
            failed_indexes: BTreeSet::new(),
            limits: None,
        };
        if let Some(limit) = job.spec.backoff_limit_per_index {
            let before = indexes::parse(status.failed_indexes.as_deref().unwrap_or_default());
            let limits = IndexLimits::new(view, limit, before, &tally.succeeded_indexes);
            tally.failed_indexes.clone_from(&limits.failed);
            tally.limits = Some(limits);
        }
        tally
    }

    /// Moves ended pods a stage further: into the status, out of their finalizer, into the counters.
    fn count(&self, view: &View<'_>, verdict: Option<&end::Verdict>, step: &mut Step) {
        let tracked_uids: BTreeSet<&str> =
            view.pods.iter().filter(|pod| tracked(pod)).map(|pod| pod.metadata.uid.as_str()).collect();
        let status = &mut step.status;
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let settle = |list: &mut Vec<String>| {
            let before = list.len();
            list.retain(|uid| tracked_uids.contains(uid.as_str()));
            number(before - list.len())
        };
        status.succeeded += settle(&mut uncounted.succeeded);
        status.failed += settle(&mut uncounted.failed);

        let mut room = COUNTED_MAX;
        for pod in view.pods.iter().filter(|pod| tracked(pod)) {
            let uid = &pod.metadata.uid;
            let known = uncounted.succeeded.contains(uid) || uncounted.failed.contains(uid);
            let ends_with_job = verdict.is_some_and(|verdict| !verdict.succeeds)
                && !pod.terminal()
                && in_range(view.job, pod);
            let fails = has_failed(view.job, pod) || ends_with_job;
            let all_done = verdict.is_some() || view.job.metadata.deleting();
            let is_needed = || self.limits.as_ref().is_some_and(|limits| limits.is_needed(pod));
            let done = all_done || ((pod.terminal() || fails) && !is_needed());
            if !done || room == 0 {
                continue;
            }
            room -= 1;
            step.release.push(pod.metadata.name.clone());
            if known {
                continue;
            }
            if pod.status.phase == "Succeeded" {
                if !is_indexed(view.job) {
                    uncounted.succeeded.push(uid.clone());
                }
            } else if fails && in_range(view.job, pod) && policy::failure(view.job, pod) != Failure::Ignored {
                uncounted.failed.push(uid.clone());
            }
        }
    }
}

/// Makes or deletes pods of a job that goes on.
fn manage(view: &View<'_>, tally: &Tally<'_>, step: &mut Step) {
    let job = view.job;
    if job.spec.suspend {
        step.delete = all(&tally.active);
        return;
    }
    let active = number(tally.active.len());
    let wanted = wanted(job, tally, active);
    step.delete = surplus(job, tally, usize::try_from(active - wanted).unwrap_or(0));
    if !step.delete.is_empty() {
        return;
    }
    let waits_for_ends = job.spec.pod_replacement_policy == "Failed";
    let occupied = active + if waits_for_ends { number(tally.terminating) } else { 0 };
    let lacking = usize::try_from(wanted - occupied).unwrap_or(0).min(BURST_MAX);
    if lacking == 0 {
        return;
    }
    if tally.limits.is_none()
        && let Some(at) = backoff_until(view)
    {
        step.wake_at = Some(at);
        return;
    }
    step.create = if is_indexed(job) {
        let occupied: BTreeSet<i32> = view
            .pods
            .iter()
            .filter(|pod| pod.active() || (waits_for_ends && pod.metadata.deleting() && !pod.terminal()))
            .filter_map(|pod| index_of(pod))
            .collect();
        let open = (0..job.spec.completions.unwrap_or(0)).filter(|index| {
            !occupied.contains(index)
                && !tally.succeeded_indexes.contains(index)
                && !tally.failed_indexes.contains(index)
        });
        open_indexes(view, tally, open, lacking, &mut step.wake_at)
    } else {
        vec![NewPod { index: None, failures: None, ignored: None }; lacking]
    };
}

/// Pods of so many indexes. Where indexes have limits of their own, one that failed waits on its own, too.
fn open_indexes(
    view: &View<'_>,
    tally: &Tally<'_>,
    open: impl Iterator<Item = i32>,
    lacking: usize,
    wake_at: &mut Option<Timestamp>,
) -> Vec<NewPod> {
    let Some(limits) = &tally.limits else {
        let plain = |index| NewPod { index: Some(index), failures: None, ignored: None };
        return open.take(lacking).map(plain).collect();
    };
    let mut ready = Vec::new();
    for index in open {
        match limits.backoff_until(view, index) {
            None if ready.len() == lacking => break,
            None => ready.push(limits.next(view, index)),
            Some(at) => *wake_at = Some(wake_at.map_or(at, |before| before.min(at))),
        }
    }
    ready
}

/// How many pods should run.
fn wanted(job: &Job, tally: &Tally<'_>, active: i32) -> i32 {
    let parallelism = job.spec.parallelism;
    match job.spec.completions {
        // A queue of work is empty once one pod says so; the others finish.
        None if tally.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => {
            let left = completions - tally.succeeded - number(tally.failed_indexes.len());
            left.clamp(0, parallelism)
        }
    }
}

/// Pods to delete: all second pods of an index and those beyond the completions, then who is missed least.
fn surplus(job: &Job, tally: &Tally<'_>, count: usize) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut ranked: Vec<(bool, bool, bool, &Pod)> = tally
        .active
        .iter()
        .map(|pod| {
            let fits = !is_indexed(job)
                || index_of(pod).is_some_and(|index| {
                    in_range(job, pod) && !tally.succeeded_indexes.contains(&index) && seen.insert(index)
                });
            (fits, !pod.spec.node_name.is_empty(), pod.ready(), *pod)
        })
        .collect();
    ranked.sort_by_key(|(fits, bound, ready, pod)| (*fits, *bound, *ready, pod.metadata.creation_timestamp));
    let count = count.max(ranked.iter().filter(|(fits, ..)| !fits).count());
    all(&ranked.into_iter().take(count.min(BURST_MAX)).map(|(.., pod)| pod).collect::<Vec<_>>())
}

/// Until when no pod is made because the last ones failed.
fn backoff_until(view: &View<'_>) -> Option<Timestamp> {
    let last_success =
        view.pods.iter().filter(|pod| pod.status.phase == "Succeeded").filter_map(|pod| ended_at(pod)).max();
    let failures: Vec<Timestamp> = view
        .pods
        .iter()
        .filter(|pod| pod.status.phase == "Failed" && policy::failure(view.job, pod) != Failure::Ignored)
        .filter_map(|pod| ended_at(pod))
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect();
    let last = *failures.iter().max()?;
    last.checked_add(pause(failures.len())).ok().filter(|until| *until > view.now)
}

/// The pause after so many failures, one at least.
pub(super) fn pause(failures: usize) -> SignedDuration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    (BACKOFF * 2_i32.pow(doublings)).min(BACKOFF_MAX)
}

pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let ends = pod
        .status
        .container_statuses
        .iter()
        .filter_map(|status| status.state.terminated.as_ref()?.finished_at);
    ends.max().or(pod.metadata.deletion_timestamp).or(pod.metadata.creation_timestamp)
}

fn write_numbers(view: &View<'_>, tally: &Tally<'_>, step: &mut Step) {
    let leaving = step.delete.len();
    let status = &mut step.status;
    let ready = tally.active.iter().filter(|pod| pod.ready()).count();
    status.active = number(tally.active.len().saturating_sub(leaving));
    status.ready = Some(number(ready).min(status.active));
    status.terminating = Some(number(tally.terminating + leaving));
    if is_indexed(view.job) {
        status.completed_indexes = indexes::print(&tally.succeeded_indexes);
        status.succeeded = number(tally.succeeded_indexes.len());
    }
    if view.job.spec.backoff_limit_per_index.is_some() {
        status.failed_indexes = Some(indexes::print(&tally.failed_indexes));
    }
    if status.start_time.is_none() && !view.job.spec.suspend {
        status.start_time = Some(view.now);
    }
}

fn all(pods: &[&Pod]) -> Vec<(String, String)> {
    pods.iter().map(|pod| (pod.metadata.name.clone(), pod.metadata.uid.clone())).collect()
}

pub(super) fn tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

/// Whether a pod has failed. One that is deleted counts as failed at once, unless the job waits for its end.
pub(super) fn has_failed(job: &Job, pod: &Pod) -> bool {
    match pod.status.phase.as_str() {
        "Failed" => true,
        "Succeeded" => false,
        phase => {
            let waits = job.spec.pod_replacement_policy == "Failed";
            pod.metadata.deleting() && (!waits || phase == "Pending")
        }
    }
}

pub(super) fn is_indexed(job: &Job) -> bool {
    job.spec.completion_mode == "Indexed"
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.get(INDEX).and_then(|index| index.parse().ok())
}

/// Whether a pod is one of an index that the job has.
pub(super) fn in_range(job: &Job, pod: &Pod) -> bool {
    !is_indexed(job) || index_of(pod).is_some_and(|index| index >= 0 && Some(index) < job.spec.completions)
}

pub(super) fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A condition that became true now.
pub(super) fn condition(ty: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        r#type: ty.to_owned(),
        status: status.to_owned(),
        last_probe_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
