//! The watches of a trace, each with what it delivered and said, in order.

use std::collections::BTreeMap;

use crate::trace::{Event, Timed};
use crate::words::{Scope, Seen};

/// One watch, from its beginning to its end.
pub(super) struct Segment {
    pub(super) watch: u32,
    pub(super) scope: Scope,
    pub(super) after: u64,
    pub(super) said: Vec<(usize, Said)>,
}

/// What a watch said.
pub(super) enum Said {
    Changes(Vec<Seen>),
    Progress(u64),
}

impl Segment {
    /// The name it goes by in the trace.
    pub(super) fn name(&self) -> String {
        format!("watch ~{} of {} after {}", self.watch, self.scope, self.after)
    }

    /// How far it came: everything of interest up to here should have been delivered.
    pub(super) fn reached(&self) -> u64 {
        let reached = self.said.iter().map(|(_, said)| match said {
            Said::Changes(changes) => changes.iter().map(|seen| seen.revision).max().unwrap_or(0),
            Said::Progress(revision) => *revision,
        });
        reached.max().unwrap_or(0).max(self.after)
    }
}

/// Every watch of the trace.
pub(super) fn segments(trace: &[Timed]) -> Vec<Segment> {
    let mut segments: BTreeMap<u32, Segment> = BTreeMap::new();
    for (index, timed) in trace.iter().enumerate() {
        let (watch, said) = match &timed.event {
            Event::WatchOpened { watch, scope, after, .. } => {
                let (watch, scope, after) = (*watch, *scope, *after);
                segments.insert(watch, Segment { watch, scope, after, said: Vec::new() });
                continue;
            }
            Event::Delivered { watch, changes } => (watch, Said::Changes(changes.clone())),
            Event::Progress { watch, revision } => (watch, Said::Progress(*revision)),
            _ => continue,
        };
        segments.get_mut(watch).expect("a watch begins before it speaks").said.push((index, said));
    }
    segments.into_values().collect()
}
