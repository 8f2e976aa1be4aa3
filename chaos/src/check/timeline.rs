//! What must have happened inside the store, pieced together from what was seen outside.
//!
//! Answers, watches and reads each tell that some revision changed some object. Put together they are
//! the history of the store; where they contradict each other, it is broken. Revisions of which nobody
//! tells are blind spots: what lies behind one is unclear, never wrong.

use std::collections::BTreeMap;

use crate::trace::{Event, Timed};
use crate::words::{Action, Answer, Id, Kind, Place, Scope, Seen, Step, Version, Write};

/// What one revision did.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    /// To which object.
    pub place: Place,
    /// Whether it is gone since.
    pub deleted: bool,
    /// The version it wrote; of a deletion the last one before.
    pub version: Version,
    /// Where the trace first tells of it.
    pub seen: usize,
}

/// A call with its answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Which computer was asked.
    pub computer: usize,
    /// What was asked for.
    pub action: Action,
    /// Where in the trace it began.
    pub called: usize,
    /// Where it ended, and how.
    pub answer: Option<(usize, Answer)>,
}

impl Call {
    /// The transaction, if it is one.
    pub fn write(&self) -> Option<&Write> {
        match &self.action {
            Action::Write(write) => Some(write),
            _ => None,
        }
    }
}

/// What is known of an object at a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was this.
    Present(Version),
    /// There was none.
    Absent,
    /// The trace does not tell.
    Unclear,
}

/// The history of the store as far as the trace tells.
#[derive(Debug, Default)]
pub struct Timeline {
    /// By revision.
    pub facts: BTreeMap<u64, Fact>,
    /// Where the trace contradicts itself.
    pub conflicts: Vec<(usize, String)>,
    /// By number.
    pub calls: BTreeMap<u32, Call>,
    /// The revisions at which a step was seen; more than one is a bug.
    pub applied: BTreeMap<Id, Vec<u64>>,
    /// The newest revision told of up to each event of the trace.
    observed: Vec<u64>,
    by_place: BTreeMap<Place, Vec<u64>>,
    blind: Vec<u64>,
    /// Writes that took effect: where they were called, and their first revision.
    firsts: Vec<(usize, u64)>,
}

impl Timeline {
    /// Reads a trace.
    pub fn of(trace: &[Timed]) -> Self {
        let mut timeline = Self::default();
        for (index, timed) in trace.iter().enumerate() {
            timeline.take_call(index, &timed.event);
        }
        let mut newest = 0;
        for (index, timed) in trace.iter().enumerate() {
            newest = newest.max(timeline.take(index, &timed.event));
            timeline.observed.push(newest);
        }
        timeline.finish(newest);
        timeline
    }

    /// The newest revision told of before an event.
    pub fn observed_before(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.observed[before])
    }

    /// The newest revision told of at all.
    pub fn newest(&self) -> u64 {
        self.observed.last().copied().unwrap_or(0)
    }

    /// The newest revision there can have been at an event: what was called later came later.
    pub fn ceiling(&self, index: usize) -> u64 {
        let later = self.firsts.iter().filter(|(called, _)| *called > index);
        later.map(|(_, first)| first - 1).min().unwrap_or(self.newest())
    }

    /// Whether nobody tells of some revision in `after + 1 ..= until`.
    pub fn blind_within(&self, after: u64, until: u64) -> bool {
        let next = self.blind.partition_point(|revision| *revision <= after);
        self.blind.get(next).is_some_and(|revision| *revision <= until)
    }

    /// Revisions nobody tells of.
    pub fn blind(&self) -> &[u64] {
        &self.blind
    }

    /// An object at a revision.
    pub fn state(&self, place: &Place, at: u64) -> Known {
        let revisions = self.by_place.get(place).map_or(&[][..], Vec::as_slice);
        let until = revisions.partition_point(|revision| *revision <= at);
        let last = until.checked_sub(1).map(|index| revisions[index]);
        if self.blind_within(last.unwrap_or(0), at) {
            return Known::Unclear;
        }
        match last.map(|revision| self.facts[&revision]) {
            Some(fact) if !fact.deleted => Known::Present(fact.version),
            _ => Known::Absent,
        }
    }

    /// Whether a reader at a revision may have found this. If not, what it should have found.
    pub fn agrees(&self, place: &Place, at: u64, found: Option<Version>) -> Result<(), String> {
        let (known, told) =
            (self.state(place, at), found.map_or("nothing".into(), |found| found.to_string()));
        match (known, found) {
            (Known::Unclear, _) | (Known::Absent, None) => Ok(()),
            (Known::Present(known), Some(found)) if known == found => Ok(()),
            (Known::Present(known), _) => Err(format!("{place} at {at} is {known}, not {told}")),
            (Known::Absent, Some(_)) => Err(format!("{place} at {at} is nothing, not {told}")),
        }
    }

    /// Whether a revision concerns those who watch a set; `None` if the trace does not tell.
    pub fn concerns(&self, scope: &Scope, revision: u64, fact: &Fact) -> Option<bool> {
        if scope.covers(&fact.place, &fact.version.content) {
            return Some(true);
        }
        match self.state(&fact.place, revision - 1) {
            Known::Present(previous) => Some(scope.covers(&fact.place, &previous.content)),
            Known::Absent => Some(false),
            Known::Unclear => None,
        }
    }

    /// The revisions of a transaction that took effect, answered or not.
    pub fn range(&self, call: &Call) -> Option<(u64, u64)> {
        let steps = call.write()?.steps.len() as u64;
        if let Some((_, Answer::Applied { first, last, .. })) = &call.answer {
            return Some((*first, *last));
        }
        let mut ids =
            self.applied.range(Id { call: call.number, step: 0 }..Id { call: call.number + 1, step: 0 });
        let (id, revisions) = ids.next()?;
        let first = revisions.first()?.checked_sub(u64::from(id.step))?;
        Some((first, first + steps - 1))
    }

    fn take_call(&mut self, index: usize, event: &Event) {
        match event {
            Event::Called { call, computer, action, .. } => {
                let (number, computer, action) = (*call, *computer, action.clone());
                self.calls.insert(number, Call { number, computer, action, called: index, answer: None });
            }
            Event::Answered { call, answer } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.answer = Some((index, answer.clone()));
                }
            }
            _ => {}
        }
    }

    /// Takes what an event tells and returns the newest revision it tells of.
    fn take(&mut self, index: usize, event: &Event) -> u64 {
        match event {
            Event::Answered { call, answer } => self.take_answer(index, *call, answer),
            Event::Delivered { changes, .. } => {
                changes.iter().for_each(|seen| self.take_seen(index, seen));
                changes.iter().map(|seen| seen.revision).max().unwrap_or(0)
            }
            Event::Progress { revision, .. }
            | Event::Booted { revision, .. }
            | Event::State { revision, .. } => *revision,
            _ => 0,
        }
    }

    fn take_answer(&mut self, index: usize, call: u32, answer: &Answer) -> u64 {
        match answer {
            Answer::Applied { first, last, versions } => {
                let write = self.calls.get(&call).and_then(Call::write).cloned();
                let steps = write.map(|write| write.steps).unwrap_or_default();
                for ((step, version), revision) in steps.iter().zip(versions).zip(*first..) {
                    let deleted = matches!(step, Step::Delete(_));
                    self.add(index, revision, *step.place(), deleted, *version);
                }
                *last
            }
            Answer::Found { at, version } => {
                if let (Some(version), Some(Action::Read(place))) =
                    (version, self.calls.get(&call).map(|call| call.action.clone()))
                {
                    self.add(index, version.revision, place, false, *version);
                }
                *at
            }
            Answer::Listed { at, items } => {
                for (place, version) in items {
                    self.add(index, version.revision, *place, false, *version);
                }
                *at
            }
            _ => 0,
        }
    }

    fn take_seen(&mut self, index: usize, seen: &Seen) {
        let deleted = seen.kind == Kind::Deleted;
        self.add(index, seen.revision, seen.place, deleted, seen.version);
        if let Some(previous) = seen.previous {
            self.add(index, previous.revision, seen.place, false, previous);
        }
    }

    fn add(&mut self, index: usize, revision: u64, place: Place, deleted: bool, version: Version) {
        if deleted {
            self.add(index, version.revision, place, false, version);
        } else {
            self.check_content(index, &place, &version);
            let applied = self.applied.entry(version.id).or_default();
            if !applied.contains(&revision) {
                applied.push(revision);
            }
            if version.revision != revision {
                let text = format!("{place} {version} was written at {revision}");
                self.conflicts.push((index, text));
            }
        }
        let fact = Fact { place, deleted, version, seen: index };
        let known = self.facts.entry(revision).or_insert(fact);
        if (known.place, known.deleted, known.version) != (place, deleted, version) {
            let text = format!(
                "revision {revision} is {place} {version} here and {} {} in line {}",
                known.place,
                known.version,
                known.seen + 1
            );
            self.conflicts.push((index, text));
        }
    }

    /// A version is what the call it names has written.
    fn check_content(&mut self, index: usize, place: &Place, version: &Version) {
        let write = self.calls.get(&version.id.call).and_then(Call::write);
        let step = write.and_then(|write| write.steps.get(usize::from(version.id.step)));
        let written =
            matches!(step, Some(Step::Put(at, content)) if at == place && *content == version.content);
        if !written {
            self.conflicts.push((index, format!("nobody has written {place} {version} like this")));
        }
    }

    fn finish(&mut self, newest: u64) {
        for (revision, fact) in &self.facts {
            self.by_place.entry(fact.place).or_default().push(*revision);
        }
        self.blind = (1..=newest).filter(|revision| !self.facts.contains_key(revision)).collect();
        let firsts = self.calls.values().filter_map(|call| Some((call.called, self.range(call)?.0)));
        self.firsts = firsts.filter(|(_, first)| *first > 0).collect();
    }
}
