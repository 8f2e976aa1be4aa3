//! Liveness: once faults are over, every client's writes are answered, the store boots after the last
//! power cut, and every watcher reaches the newest revision. Nobody helps.

use super::{Evidence, Finding};
use crate::trace::Event;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let overdue = evidence.trace.iter().enumerate().filter_map(|(index, timed)| match &timed.event {
        Event::Calm => {
            evidence.looks();
            None
        }
        Event::Overdue(what) => Some((index, what.clone())),
        _ => None,
    });
    overdue.collect()
}
