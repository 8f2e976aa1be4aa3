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
                let found = items.iter().find(|(at, _)| at == place).map(|(_, version)| *version);
                if place.resource == resource && !stays(timeline, step, revision, found) {
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

/// A list, and where in the trace it was answered.
type List<'a> = (usize, &'a [(Place, Version)]);

/// The last list of each resource.
fn last_lists(timeline: &Timeline) -> BTreeMap<&'static str, List<'_>> {
    let mut last: BTreeMap<&'static str, List<'_>> = BTreeMap::new();
    for call in timeline.calls.values() {
        let (Action::List(resource), Some((index, Answer::Listed { items, .. }))) =
            (&call.action, &call.answer)
        else {
            continue;
        };
        if last.get(resource).is_none_or(|(before, _)| before < index) {
            last.insert(resource, (*index, items.as_slice()));
        }
    }
    last
}

fn stays(timeline: &Timeline, step: &Step, revision: u64, found: Option<Version>) -> bool {
    match (step, found) {
        (Step::Put(..), Some(found)) => found.revision >= revision,
        (Step::Delete(_), Some(found)) => found.revision > revision,
        (Step::Delete(_), None) => true,
        (Step::Put(place, _), None) => {
            let mut later = timeline.facts.range(revision + 1..);
            later.any(|(_, fact)| fact.place == *place && fact.deleted)
                || timeline.blind_within(revision, u64::MAX)
        }
    }
}
