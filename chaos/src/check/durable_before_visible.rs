//! *durable before visible*: nothing is readable, acknowledged or sent to a watcher before a quorum has it on
//! disk.
//!
//! So whatever anybody was told of is there after the power cuts at the end, unless somebody wrote over it.
//! A sole member never even boots at a revision below one that was seen.

use super::{Evidence, Finding, acknowledged_stays};
use crate::trace::Event;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = gone(evidence);
    if evidence.is_sole() {
        findings.extend(forgotten_at_boot(evidence));
    }
    findings
}

fn forgotten_at_boot(evidence: &Evidence<'_>) -> Vec<Finding> {
    let boots = evidence.trace.iter().enumerate().filter_map(|(index, timed)| match timed.event {
        Event::Booted { revision, .. } => {
            evidence.looks();
            Some((index, revision))
        }
        _ => None,
    });
    let lost = boots.filter_map(|(index, revision)| {
        let seen = evidence.timeline.observed_before(index);
        (revision < seen).then(|| (index, format!("booted at {revision}, {seen} was seen before")))
    });
    lost.collect()
}

/// What was seen, by a reader or a watcher, and is not there in the end.
fn gone(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    let lists = acknowledged_stays::last_lists(timeline);
    for (revision, fact) in &timeline.facts {
        let Some((listed, items)) = lists.get(fact.place.resource).filter(|(index, _)| fact.seen < *index)
        else {
            continue;
        };
        evidence.looks();
        let found = items.iter().find(|(place, _)| *place == fact.place).map(|(_, version)| *version);
        if !acknowledged_stays::stays(timeline, &fact.place, fact.deleted, *revision, found) {
            let found = found.map_or("nothing".into(), |found| found.to_string());
            let text = format!("{} was seen at {revision}, in the end there is {found}", fact.place);
            findings.push((*listed, text));
        }
    }
    findings
}
