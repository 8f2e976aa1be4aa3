//! *one revision per change*: each change has a revision of its own, without gaps, growing in real time;
//! a transaction is a contiguous range. Across restarts too.

use super::{Call, Evidence, Finding};
use crate::words::{Answer, RESOURCES, Scope};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = timeline.conflicts.clone();
    findings.extend(timeline.calls.values().filter_map(|call| acknowledged(evidence, call)));
    findings.extend(gaps(evidence));
    findings
}

fn acknowledged(evidence: &Evidence<'_>, call: &Call) -> Option<Finding> {
    let (write, (index, answer)) = (call.write()?, call.answer.as_ref()?);
    let Answer::Applied { first, last, versions } = answer else { return None };
    let (number, steps) = (call.number, write.steps.len() as u64);
    evidence.looks();
    let before = evidence.timeline.observed_before(call.called);
    if *first <= before {
        return Some((*index, format!("#{number} has revision {first}, {before} was seen before it")));
    }
    if last + 1 - first != steps || versions.len() as u64 != steps {
        return Some((*index, format!("#{number} has {steps} steps and revisions {first}..{last}")));
    }
    None
}

/// Revisions that watches of every resource passed without a change.
fn gaps(evidence: &Evidence<'_>) -> Vec<Finding> {
    let segments = &evidence.segments;
    let passed = |resource, revision| {
        segments.iter().any(|segment| {
            segment.scope == Scope::Resource(resource)
                && segment.after < revision
                && revision <= segment.reached()
        })
    };
    let blind = evidence.timeline.blind().iter();
    let gaps = blind.filter(|revision| RESOURCES.iter().all(|resource| passed(resource, **revision)));
    let end = evidence.trace.len() - 1;
    gaps.map(|revision| (end, format!("revision {revision} changed nothing"))).collect()
}
