//! *watch loses nothing*: a watch delivers every change of its set after its starting revision once, in
//! order, also if that revision lies inside a transaction, and across resumes and restarts.

use std::collections::BTreeSet;

use super::watches::{Said, Segment};
use super::{Evidence, Finding};
use crate::words::Seen;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.segments.iter().flat_map(|segment| watched(evidence, segment)).collect()
}

fn watched(evidence: &Evidence<'_>, segment: &Segment) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    let (mut last, mut end) = (segment.after, 0);
    let mut delivered = BTreeSet::new();
    for (index, said) in &segment.said {
        let Said::Changes(changes) = said else { continue };
        end = *index;
        for seen in changes {
            evidence.looks();
            if seen.revision <= last {
                let text = format!("{} delivers {} after {last}", segment.name(), seen.revision);
                findings.push((*index, text));
            }
            if !concerns(segment, seen) {
                findings.push((*index, format!("{} delivers {seen}", segment.name())));
            }
            last = last.max(seen.revision);
            delivered.insert(seen.revision);
        }
    }
    for (revision, fact) in timeline.facts.range(segment.after + 1..=last.max(segment.after + 1)) {
        let due = *revision <= last && timeline.concerns(&segment.scope, *revision, fact) == Some(true);
        if due && !delivered.contains(revision) {
            findings.push((end, format!("{} misses {revision} {}", segment.name(), fact.place)));
        }
    }
    findings
}

fn concerns(segment: &Segment, seen: &Seen) -> bool {
    let mut versions = seen.previous.iter().chain([&seen.version]);
    versions.any(|version| segment.scope.covers(&seen.place, &version.content))
}
