//! *history survives*: watches resume and old revisions are readable back to the compaction point, which
//! only a compaction moves: not a restart, and the store's own housekeeping only within its bounds.

use std::collections::BTreeMap;

use super::{Evidence, Finding};
use crate::trace::Event;
use crate::words::{Action, Answer};

/// Compaction never cuts a transaction, so it may go this much further than it was told.
const STEPS_MAX: u64 = 3;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let timeline = &evidence.timeline;
    let mut findings = Vec::new();
    // What housekeeping may have forgotten at the very end of the run.
    let mut allowed = timeline.newest().saturating_sub(evidence.plan.limits.history_changes_max as u64);
    // What each computer said was its oldest revision.
    let mut told: BTreeMap<usize, u64> = BTreeMap::new();
    for (index, timed) in evidence.trace.iter().enumerate() {
        let (computer, asked, oldest) = match &timed.event {
            Event::Booted { computer, .. } if !evidence.is_sole() => {
                // It may have to hear again of what it forgot before, or be another member.
                told.remove(computer);
                continue;
            }
            // By a clock that was set forward everything from before is old.
            Event::Fault { fault, .. } if fault.starts_with("ClockJump") && !fault.contains("by_ms: -") => {
                allowed = allowed.max(timeline.observed_before(index));
                continue;
            }
            Event::Called { action: Action::Compact(at), .. } => {
                allowed = allowed.max(*at);
                continue;
            }
            // Nobody asked; asking one below would be refused.
            Event::State { oldest: 0, .. } => continue,
            Event::State { computer, oldest, .. } => (*computer, *oldest - 1, *oldest),
            Event::WatchRefused { computer, after, oldest, .. } => (*computer, *after, *oldest),
            Event::Answered { call, answer: Answer::Compacted { oldest } } => {
                match timeline.calls.get(call).map(|call| (call.computer, &call.action)) {
                    Some((computer, Action::ListAt(_, at))) => (computer, *at, *oldest),
                    _ => continue,
                }
            }
            _ => continue,
        };
        evidence.looks();
        if asked >= oldest {
            findings.push((index, format!("{asked} is refused, the oldest is {oldest}")));
        }
        if oldest >= allowed + STEPS_MAX {
            findings.push((index, format!("{oldest} is the oldest, nobody compacted beyond {allowed}")));
        }
        let before = told.insert(computer, oldest).unwrap_or(0);
        if oldest < before {
            findings.push((index, format!("{oldest} is the oldest, it was {before} before")));
        }
    }
    findings
}
