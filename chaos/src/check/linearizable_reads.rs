//! Linearizable reads: a read shows every write that was seen by anybody before it began, and for each
//! object the version that was there at the view's revision.

use super::{Call, Evidence, Finding};
use crate::words::{Action, Answer, Place};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.timeline.calls.values().flat_map(|call| read(evidence, call)).collect()
}

fn read(evidence: &Evidence<'_>, call: &Call) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let Some((index, answer)) = &call.answer else { return Vec::new() };
    let mut findings = Vec::new();
    let mut old = |at: u64| {
        evidence.looks();
        let seen = timeline.observed_before(call.called);
        if at < seen {
            findings.push((*index, format!("#{} reads at {at}, {seen} was seen before it", call.number)));
        }
    };
    let disagreements: Vec<String> = match (&call.action, answer) {
        (Action::Read(place), Answer::Found { at, version }) => {
            old(*at);
            timeline.agrees(place, *at, *version).err().into_iter().collect()
        }
        (Action::List(resource), Answer::Listed { at, items }) => {
            old(*at);
            let sorted = items.is_sorted_by_key(|(place, _)| (place.namespace, place.name));
            let unsorted = (!sorted).then(|| format!("#{} is not in order", call.number));
            let places = Place::all().into_iter().filter(|place| place.resource == *resource);
            let disagreements = places.filter_map(|place| {
                let found = items.iter().find(|(here, _)| *here == place).map(|(_, version)| *version);
                timeline.agrees(&place, *at, found).err()
            });
            unsorted.into_iter().chain(disagreements).collect()
        }
        _ => Vec::new(),
    };
    findings.extend(disagreements.into_iter().map(|text| (*index, text)));
    findings
}
