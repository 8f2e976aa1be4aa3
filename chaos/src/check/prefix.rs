//! *prefix*: a crash in the middle of a commit leaves a prefix of what was written, never a hole.
//!
//! A hole would show as a log that cannot be read, or as a revision that everybody's watch passes over
//! (see *one revision per change*).

use super::{Evidence, Finding};
use crate::trace::Event;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let damaged = evidence.trace.iter().enumerate().filter_map(|(index, timed)| match &timed.event {
        Event::Booted { .. } => {
            evidence.looks();
            None
        }
        Event::BootFailed { why, .. } if why == "damaged" => Some((index, "the log is damaged".to_owned())),
        _ => None,
    });
    damaged.collect()
}
