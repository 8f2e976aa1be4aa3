//! *durable before visible*: nothing is readable, acknowledged or sent to a watcher before it is on disk.
//!
//! So whatever anybody was told of before a crash is there after it: a store never boots at a revision
//! below one that was seen.

use super::{Evidence, Finding};
use crate::trace::Event;

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let boots = evidence.trace.iter().enumerate().filter_map(|(index, timed)| match timed.event {
        Event::Booted { revision } => Some((index, revision)),
        _ => None,
    });
    let lost = boots.filter_map(|(index, revision)| {
        let seen = evidence.timeline.observed_before(index);
        (revision < seen).then(|| (index, format!("booted at {revision}, {seen} was seen before")))
    });
    lost.collect()
}
