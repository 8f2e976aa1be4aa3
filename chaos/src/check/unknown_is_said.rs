//! *unknown is said*: a write ends applied, refused, not appended or unknown. What was not appended or
//! refused never takes effect; what is unknown takes effect once, whole, or never.

use super::{Call, Evidence, Fact, Finding, Timeline};
use crate::words::{Answer, Id, Step, Write};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let writes = timeline.calls.values().filter_map(|call| Some((call, call.write()?)));
    let mut findings: Vec<Finding> =
        writes.flat_map(|(call, write)| resolved(evidence, call, write)).collect();
    let deletions = timeline.facts.iter().filter(|(_, fact)| fact.deleted);
    let unexplained = deletions.filter(|(revision, fact)| !explained(timeline, **revision, fact));
    findings.extend(
        unexplained
            .map(|(revision, fact)| (fact.seen, format!("nobody deleted {} at {revision}", fact.place))),
    );
    findings
}

fn resolved(evidence: &Evidence<'_>, call: &Call, write: &Write) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    if !matches!(call.answer, Some((_, Answer::Applied { .. }))) {
        evidence.looks();
    }
    let mut findings = Vec::new();
    let end = call.answer.as_ref().map_or(call.called, |(index, _)| *index);
    let Some((first, last)) = timeline.range(call) else { return findings };
    if let Some((_, Answer::Refused { .. } | Answer::NotAppended(_))) = &call.answer {
        findings.push((end, format!("#{} failed and is there at {first}..{last}", call.number)));
    }
    for ((step, number), revision) in write.steps.iter().zip(0..).zip(first..) {
        let id = Id { call: call.number, step: number };
        let seen = timeline.applied.get(&id).map_or(&[][..], Vec::as_slice);
        if let Some(other) = seen.iter().find(|seen| **seen != revision) {
            findings.push((end, format!("{id} took effect at {revision} and at {other}")));
        }
        // Half of it may not be told of, but nothing else can be in its place.
        let there = timeline.facts.get(&revision);
        let fits = there.is_none_or(|fact| {
            fact.place == *step.place() && fact.deleted == matches!(step, Step::Delete(_))
        });
        if !fits {
            findings.push((end, format!("#{} took effect without its step {number}", call.number)));
        }
    }
    findings
}

/// Whether somebody deleted, or may have.
fn explained(timeline: &Timeline, revision: u64, fact: &Fact) -> bool {
    let deletes = |call: &Call, step: &Step, number: u64| {
        let may = match &call.answer {
            Some((_, Answer::Applied { first, .. })) => first + number == revision,
            Some((_, Answer::Unknown)) | None => call.called < fact.seen,
            Some(_) => false,
        };
        may && *step == Step::Delete(fact.place)
    };
    timeline.calls.values().any(|call| {
        let steps = call.write().map_or(&[][..], |write| write.steps.as_slice());
        steps.iter().zip(0..).any(|(step, number)| deletes(call, step, number))
    })
}
