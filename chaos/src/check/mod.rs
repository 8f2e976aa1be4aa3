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

use std::fmt;

pub use timeline::{Call, Fact, Known, Timeline};

use watches::{Segment, segments};

use crate::plan::Plan;
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
}

impl Evidence<'_> {
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

/// Judges a trace.
pub fn all(trace: &[Timed], plan: &Plan) -> Vec<Violation> {
    let evidence = Evidence { trace, timeline: Timeline::of(trace), plan, segments: segments(trace) };
    let found = |(promise, check): &(&'static str, Check)| {
        let promise = *promise;
        let violation = move |(at, text)| Violation { promise, at: Some(at), text };
        check(&evidence).into_iter().map(violation).collect::<Vec<_>>()
    };
    CHECKS.iter().flat_map(found).collect()
}
