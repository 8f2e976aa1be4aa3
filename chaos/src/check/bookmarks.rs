//! *bookmarks*: progress is a revision at or below which every change of the set has been delivered. It
//! never goes back.

use std::collections::BTreeSet;

use super::watches::{Said, Segment};
use super::{Evidence, Finding};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.segments.iter().flat_map(|segment| told(evidence, segment)).collect()
}

fn told(evidence: &Evidence<'_>, segment: &Segment) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    let mut delivered = BTreeSet::new();
    let mut told = segment.after;
    for (index, said) in &segment.said {
        match said {
            Said::Changes(changes) => {
                delivered.extend(changes.iter().map(|seen| seen.revision));
                if let Some(late) = changes.iter().find(|seen| seen.revision <= told) {
                    let text = format!("{} said {told} and delivers {}", segment.name(), late.revision);
                    findings.push((*index, text));
                }
            }
            Said::Progress(revision) if *revision < told => {
                findings.push((*index, format!("{} said {told}, then {revision}", segment.name())));
            }
            Said::Progress(revision) => {
                evidence.looks();
                let missing =
                    timeline.facts.range(told + 1..=(*revision).max(told + 1)).find(|(at, fact)| {
                        let due = **at <= *revision && !delivered.contains(*at);
                        due && timeline.concerns(&segment.scope, **at, fact) == Some(true)
                    });
                if let Some((missing, _)) = missing {
                    let text = format!("{} says {revision} before {missing}", segment.name());
                    findings.push((*index, text));
                }
                told = *revision;
            }
        }
    }
    findings
}
