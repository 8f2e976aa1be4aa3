//! *fenced*: a write fenced by a term is refused in any other, and each start of a member is a new term.
//!
//! A term has one leader. Who is called after somebody leads in a term cannot have written in one before:
//! a quorum has promised to follow nobody else.

use std::collections::BTreeMap;

use super::{Call, Evidence, Finding};
use crate::trace::Event;
use crate::words::Answer;

/// Where in the trace somebody began to lead, and in which term.
type Leads = (usize, u64);

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut terms: Vec<Leads> = Vec::new();
    let (mut leaders, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (index, timed) in evidence.trace.iter().enumerate() {
        let Event::Leads { computer, term } = timed.event else { continue };
        evidence.looks();
        if let Some(before) = last.insert(computer, term).filter(|before| *before >= term) {
            findings.push((index, format!("computer {computer} leads in term {term} after {before}")));
        }
        if let Some(other) = leaders.insert(term, computer).filter(|other| *other != computer) {
            findings.push((index, format!("computers {other} and {computer} lead in term {term}")));
        }
        terms.push((index, term));
    }
    findings.extend(evidence.timeline.calls.values().filter_map(|call| fenced(evidence, &terms, call)));
    findings
}

fn fenced(evidence: &Evidence<'_>, terms: &[Leads], call: &Call) -> Option<Finding> {
    let (fence, (index, answer)) = (call.write()?.fence?, call.answer.as_ref()?);
    evidence.looks();
    let possible = possible(terms, call.called, *index);
    match answer {
        Answer::Applied { .. } if possible.iter().all(|term| *term != fence) => {
            Some((*index, format!("#{} is fenced by term {fence}, which is over", call.number)))
        }
        Answer::Refused { guard: usize::MAX } if possible.iter().all(|term| *term == fence) => {
            Some((*index, format!("#{} is refused by the fence of the very term {fence}", call.number)))
        }
        _ => None,
    }
}

/// The terms a call may have met: the newest one it began in, those that began under way, and the next,
/// which is told of a moment after it has begun.
fn possible(terms: &[Leads], called: usize, answered: usize) -> Vec<u64> {
    let newest = terms.iter().filter(|(index, _)| *index < called).map(|(_, term)| *term).max();
    let later = terms.iter().skip_while(|(index, _)| *index < called);
    let until = later.clone().position(|(index, _)| *index > answered).map_or(usize::MAX, |next| next + 1);
    newest.into_iter().chain(later.take(until).map(|(_, term)| *term)).collect()
}
