//! The verdict: one file for each promise of docs/guarantees.md, named after it.
//!
//! A check reads the trace and what the [`Timeline`] makes of it, and nothing else. It shares no code with
//! the store and knows none of its types. Where the trace does not tell, a check is silent.

mod acknowledged_stays;
mod bookmarks;
mod deterministic_apply;
mod durable_before_visible;
mod fenced;
mod history_survives;
mod linearizable_reads;
mod no_half_transaction;
mod one_revision_per_change;
mod preconditions_decide_at_apply;
mod prefix;
mod reads_outlive_the_disk;
mod recovers_by_itself;
mod timeline;
mod unknown_is_said;
mod watch_loses_nothing;
mod watches;

use std::cell::Cell;
use std::fmt;

pub use timeline::{Call, Fact, Known, Timeline};

use watches::{Segment, segments};

use crate::plan::Plan;
use crate::tally::{CHECKS as TABLE, LOOKED_AT, Tally};
use crate::trace::Timed;

/// Something that should not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise that was broken.
    pub promise: &'static str,
    /// The line of the trace where it shows, from 0.
    pub at: Option<usize>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.promise, self.text)?;
        self.at.map_or(Ok(()), |at| write!(formatter, " (line {})", at + 1))
    }
}

/// What a check finds: where, and what.
type Finding = (usize, String);

/// What the checks look at.
struct Evidence<'a> {
    trace: &'a [Timed],
    timeline: Timeline,
    plan: &'a Plan,
    /// Every watch, with what it said.
    segments: Vec<Segment>,
    /// What the check has judged.
    looked_at: Cell<u64>,
}

impl Evidence<'_> {
    /// Counts what a check judges: one that never finds anything to judge finds nothing wrong either.
    fn looks(&self) {
        self.looked_at.set(self.looked_at.get() + 1);
    }

    /// Whether there is one member only, which can answer alone.
    fn is_sole(&self) -> bool {
        self.plan.members == 1
    }
}

type Check = fn(&Evidence<'_>) -> Vec<Finding>;

const CHECKS: [(&str, Check); 15] = [
    ("durable before visible", durable_before_visible::check),
    ("acknowledged stays", acknowledged_stays::check),
    ("prefix", prefix::check),
    ("one revision per change", one_revision_per_change::check),
    ("no half transaction", no_half_transaction::check),
    ("preconditions decide at apply", preconditions_decide_at_apply::check),
    ("fenced", fenced::check),
    ("deterministic apply", deterministic_apply::check),
    ("watch loses nothing", watch_loses_nothing::check),
    ("bookmarks", bookmarks::check),
    ("history survives", history_survives::check),
    ("unknown is said", unknown_is_said::check),
    ("reads outlive the disk", reads_outlive_the_disk::check),
    ("linearizable reads", linearizable_reads::check),
    ("recovers by itself", recovers_by_itself::check),
];

/// The promises that are judged.
pub fn promises() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(promise, _)| *promise)
}

/// Judges a trace.
pub fn all(trace: &[Timed], plan: &Plan, tally: &mut Tally) -> Vec<Violation> {
    let (timeline, segments) = (Timeline::of(trace), segments(trace));
    let evidence = Evidence { trace, timeline, plan, segments, looked_at: Cell::new(0) };
    let mut violations = Vec::new();
    for (promise, check) in &CHECKS {
        let findings = check(&evidence).into_iter();
        violations.extend(findings.map(|(at, text)| Violation { promise, at: Some(at), text }));
        tally.add(TABLE, promise, LOOKED_AT, evidence.looked_at.take());
    }
    violations
}
