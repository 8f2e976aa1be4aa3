//! *no half transaction*: a reader sees all of a transaction or nothing of it; a revision inside its range
//! reads as its last; compaction never cuts one.

use super::{Call, Evidence, Finding, Timeline};
use crate::trace::Event;
use crate::words::{Action, Answer, Place};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let ranges: Vec<(u64, u64)> = timeline
        .calls
        .values()
        .filter_map(|call| timeline.range(call))
        .filter(|(first, last)| first < last)
        .collect();
    let cut = |index: usize, revision: u64, what: &str| {
        evidence.looks();
        let range = ranges.iter().find(|(first, last)| *first <= revision && revision < *last);
        range.map(|(first, last)| (index, format!("{what} {revision} lies inside {first}..{last}")))
    };
    let mut findings: Vec<Finding> = Vec::new();
    for (index, timed) in evidence.trace.iter().enumerate() {
        findings.extend(match &timed.event {
            Event::Booted { revision, .. } => cut(index, *revision, "the boot's revision"),
            Event::State { revision, oldest, .. } => cut(index, *revision, "the newest revision")
                .or_else(|| cut(index, *oldest, "the oldest revision")),
            Event::WatchRefused { oldest, .. } => cut(index, *oldest, "the oldest revision"),
            Event::Answered { answer, .. } => match answer {
                Answer::Found { at, .. } | Answer::Listed { at, .. } => {
                    cut(index, *at, "the view's revision")
                }
                Answer::Compacted { oldest } => cut(index, *oldest, "the oldest revision"),
                _ => None,
            },
            _ => None,
        });
    }
    findings.extend(timeline.calls.values().flat_map(|call| old_list(timeline, call)));
    findings
}

/// A list at an earlier revision shows exactly what was there.
fn old_list(timeline: &Timeline, call: &Call) -> Vec<Finding> {
    let (Action::ListAt(resource, wanted), Some((index, Answer::Listed { at, items }))) =
        (&call.action, &call.answer)
    else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if at < wanted && *at < timeline.observed_before(call.called) {
        findings.push((*index, format!("#{} asked for {wanted} and got {at}", call.number)));
    }
    for place in Place::all().into_iter().filter(|place| place.resource == *resource) {
        let found = items.iter().find(|(here, _)| *here == place).map(|(_, version)| *version);
        findings.extend(timeline.agrees(&place, *at, found).err().map(|text| (*index, text)));
    }
    findings
}
