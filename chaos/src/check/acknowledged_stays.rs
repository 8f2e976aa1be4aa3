//! *acknowledged stays*: an acknowledged write survives every crash, with its revision; a deleted object
//! stays deleted.
//!
//! The run ends with a power cut and a list of everything. What an acknowledged step has written must be
//! there, or something newer that somebody wrote, or nothing if somebody deleted it since.

use super::{Evidence, Finding, Timeline};
use crate::words::{Action, Answer, Place, Step, Version};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    for (resource, listed, items) in last_lists(timeline) {
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
                    let text = format!("#{} wrote {place} at {revision}, in the end there is {found}", call.number);
                    findings.push((listed, text));
                }
            }
        }
    }
    findings
}

/// The last list of each resource.
fn last_lists(timeline: &Timeline) -> Vec<(&'static str, usize, Vec<(Place, Version)>)> {
    let lists = |resource: &'static str| {
        let of_resource = timeline.calls.values().filter(move |call| call.action == Action::List(resource));
        let answered = of_resource.filter_map(move |call| match call.answer.as_ref()? {
            (index, Answer::Listed { items, .. }) => Some((resource, *index, items.clone())),
            _ => None,
        });
        answered.max_by_key(|(_, index, _)| *index)
    };
    crate::words::RESOURCES.into_iter().filter_map(lists).collect()
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
