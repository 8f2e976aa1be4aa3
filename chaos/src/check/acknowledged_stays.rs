//! *acknowledged stays*: an acknowledged write survives every crash, with its revision; a deleted object
//! stays deleted.
//!
//! The run ends with a power cut and a list of everything. What an acknowledged step has written must be
//! there, or something newer that somebody wrote, or nothing if somebody deleted it since.

use std::collections::BTreeMap;

use super::{Evidence, Finding, Timeline};
use crate::words::{Action, Answer, Place, Step, Version};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    for (resource, (listed, items)) in last_lists(timeline) {
        for call in timeline.calls.values() {
            let (Some(write), Some((answered, Answer::Applied { first, .. }))) = (call.write(), &call.answer)
            else {
                continue;
            };
            if *answered > listed {
                continue;
            }
            for (step, revision) in write.steps.iter().zip(*first..) {
                let place = step.place();
                if place.resource != resource {
                    continue;
                }
                evidence.looks();
                let found = items.iter().find(|(at, _)| at == place).map(|(_, version)| *version);
                if !stays(timeline, place, matches!(step, Step::Delete(_)), revision, found) {
                    let found = found.map_or("nothing".into(), |found| found.to_string());
                    let text =
                        format!("#{} wrote {place} at {revision}, in the end there is {found}", call.number);
                    findings.push((listed, text));
                }
            }
        }
    }
    findings
}

/// A list, and where in the trace it was asked for.
pub(super) type List<'a> = (usize, &'a [(Place, Version)]);

/// The last list of each resource.
pub(super) fn last_lists(timeline: &Timeline) -> BTreeMap<&'static str, List<'_>> {
    let mut last: BTreeMap<&'static str, List<'_>> = BTreeMap::new();
    for call in timeline.calls.values() {
        let (Action::List(resource), Some((_, Answer::Listed { items, .. }))) = (&call.action, &call.answer)
        else {
            continue;
        };
        if last.get(resource).is_none_or(|(before, _)| *before < call.called) {
            last.insert(resource, (call.called, items.as_slice()));
        }
    }
    last
}

/// Whether what was written at a revision, or something newer, is there in the end.
pub(super) fn stays(
    timeline: &Timeline,
    place: &Place,
    is_deleted: bool,
    revision: u64,
    found: Option<Version>,
) -> bool {
    match (is_deleted, found) {
        (false, Some(found)) => found.revision >= revision,
        (true, Some(found)) => found.revision > revision,
        (true, None) => true,
        (false, None) => {
            let mut later = timeline.facts.range(revision + 1..);
            later.any(|(_, fact)| fact.place == *place && fact.deleted)
                || timeline.blind_within(revision, u64::MAX)
        }
    }
}
