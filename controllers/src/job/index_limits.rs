//! Jobs whose indexes have a limit of failures each. A pod knows how often its index failed before it; the last failed pod
//! of an index therefore keeps its finalizer until the pod that replaces it is there, so that nobody who deletes pods makes
//! failures forgotten.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::plan::{self, NewPod, View};
use super::policy::{self, Failure};
use crate::views::Pod;

/// Annotation with the failures of the index before this pod that count.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation with those that a policy ignores.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What is known of the indexes' failures.
#[derive(Default)]
pub(super) struct IndexLimits<'a> {
    /// Indexes that have failed for good.
    pub(super) failed: BTreeSet<i32>,
    /// The last failed pod of each index that nobody works at.
    last: BTreeMap<i32, &'a Pod>,
}

impl<'a> IndexLimits<'a> {
    /// Of a job whose indexes may fail so often; `before` are those that have failed already.
    pub(super) fn new(
        view: &View<'a>,
        limit: i32,
        before: BTreeSet<i32>,
        succeeded: &BTreeSet<i32>,
    ) -> IndexLimits<'a> {
        let mut limits = IndexLimits { failed: before, last: BTreeMap::new() };
        let failed_pods = || {
            let failed = view.pods.iter().copied().filter(|pod| plan::has_failed(view.job, pod));
            failed.filter(|pod| plan::in_range(view.job, pod))
        };
        for pod in failed_pods() {
            let Some(index) = plan::index_of(pod) else { continue };
            let failure = policy::failure(view.job, pod);
            let counts = failure != Failure::Ignored && annotation(pod, FAILURES) >= limit;
            if counts || failure == Failure::FailsIndex {
                limits.failed.insert(index);
            }
        }
        limits.failed.retain(|index| !succeeded.contains(index));
        let working: BTreeSet<i32> =
            view.pods.iter().filter(|pod| pod.active()).filter_map(|pod| plan::index_of(pod)).collect();
        for pod in failed_pods() {
            let Some(index) = plan::index_of(pod) else { continue };
            if succeeded.contains(&index) || limits.failed.contains(&index) || working.contains(&index) {
                continue;
            }
            let place = |pod: &Pod| (count(pod), plan::ended_at(pod));
            let last = limits.last.entry(index).or_insert(pod);
            if place(pod) >= place(last) {
                *last = pod;
            }
        }
        limits
    }

    /// Whether a pod must stay until another takes over what it knows.
    pub(super) fn is_needed(&self, pod: &Pod) -> bool {
        self.last.values().any(|last| last.metadata.uid == pod.metadata.uid)
    }

    /// The pod of an index, with what it must know.
    pub(super) fn next(&self, view: &View<'_>, index: i32) -> NewPod {
        let Some(last) = self.last.get(&index) else {
            return NewPod { index: Some(index), failures: Some(0), ignored: None };
        };
        let is_ignored = policy::failure(view.job, last) == Failure::Ignored;
        let failures = annotation(last, FAILURES) + i32::from(!is_ignored);
        let ignored = annotation(last, IGNORED) + i32::from(is_ignored);
        NewPod { index: Some(index), failures: Some(failures), ignored: (ignored > 0).then_some(ignored) }
    }

    /// Until when no pod is made for an index, because the last ones failed.
    pub(super) fn backoff_until(&self, view: &View<'_>, index: i32) -> Option<Timestamp> {
        let last = self.last.get(&index)?;
        let ended = plan::ended_at(last)?;
        let failures = usize::try_from(count(last)).unwrap_or_default() + 1;
        ended.checked_add(plan::pause(failures)).ok().filter(|until| *until > view.now)
    }
}

/// Failures before a pod, of either kind.
fn count(pod: &Pod) -> i32 {
    annotation(pod, FAILURES) + annotation(pod, IGNORED)
}

fn annotation(pod: &Pod, name: &str) -> i32 {
    pod.metadata.annotations.get(name).and_then(|count| count.parse().ok()).unwrap_or(0)
}
