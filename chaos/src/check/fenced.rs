//! *fenced*: a write fenced by a term is refused in any other, and each start of a member is a new term.

use super::{Call, Evidence, Finding};
use crate::trace::Event;
use crate::words::Answer;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let terms: Vec<(usize, u64)> = evidence
        .trace
        .iter()
        .enumerate()
        .filter_map(|(index, timed)| match timed.event {
            Event::Leads { term } => Some((index, term)),
            _ => None,
        })
        .collect();
    let again = terms.windows(2).filter(|pair| pair[1].1 <= pair[0].1);
    let mut findings: Vec<Finding> =
        again.map(|pair| (pair[1].0, format!("leads in term {} after {}", pair[1].1, pair[0].1))).collect();
    findings.extend(evidence.timeline.calls.values().filter_map(|call| fenced(&terms, call)));
    findings
}

fn fenced(terms: &[(usize, u64)], call: &Call) -> Option<Finding> {
    let (fence, (index, answer)) = (call.write()?.fence?, call.answer.as_ref()?);
    let mut possible = possible(terms, call.called, *index);
    match answer {
        Answer::Applied { .. } if possible.all(|term| term != fence) => {
            Some((*index, format!("#{} is fenced by term {fence}, which is over", call.number)))
        }
        Answer::Refused { guard: usize::MAX } if possible.all(|term| term == fence) => {
            Some((*index, format!("#{} is refused by the fence of the very term {fence}", call.number)))
        }
        _ => None,
    }
}

/// The terms a call may have met: the one it began in, those that began under way, and the next, which
/// is told of a moment after it has begun.
fn possible(terms: &[(usize, u64)], called: usize, answered: usize) -> impl Iterator<Item = u64> {
    let from = terms.iter().rposition(|(index, _)| *index < called).unwrap_or(0);
    let until = terms.iter().position(|(index, _)| *index > answered).map_or(terms.len(), |next| next + 1);
    terms[from..until.max(from)].iter().map(|(_, term)| *term)
}
