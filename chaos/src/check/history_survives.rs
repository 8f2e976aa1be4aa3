//! *history survives*: watches resume and old revisions are readable back to the compaction point, which
//! only a compaction moves: not a restart, and the store's own housekeeping only within its bounds.

use super::{Evidence, Finding};
use crate::trace::Event;
use crate::words::{Action, Answer};

/// Compaction never cuts a transaction, so it may go this much further than it was told.
const STEPS_MAX: u64 = 3;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    // What housekeeping may have forgotten at the very end of the run.
    let mut allowed = timeline.newest().saturating_sub(evidence.history_changes_max);
    let mut told = 0;
    for (index, timed) in evidence.trace.iter().enumerate() {
        let (asked, oldest) = match &timed.event {
            Event::Called { action: Action::Compact(at), .. } => {
                allowed = allowed.max(*at);
                continue;
            }
            Event::WatchRefused { after, oldest, .. } => (*after, *oldest),
            Event::Answered { call, answer: Answer::Compacted { oldest } } => {
                match timeline.calls.get(call).map(|call| &call.action) {
                    Some(Action::ListAt(_, at)) => (*at, *oldest),
                    _ => continue,
                }
            }
            _ => continue,
        };
        if asked >= oldest {
            findings.push((index, format!("{asked} is refused, the oldest is {oldest}")));
        }
        if oldest >= allowed + STEPS_MAX {
            findings.push((index, format!("{oldest} is the oldest, nobody compacted beyond {allowed}")));
        }
        if oldest < told {
            findings.push((index, format!("{oldest} is the oldest, it was {told} before")));
        }
        told = told.max(oldest);
    }
    findings
}
