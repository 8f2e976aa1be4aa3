//! *preconditions decide at apply*: a transaction is applied only if all its preconditions hold in the
//! state right before it, and is refused only by one that did not hold at some moment of the call.

use super::{Call, Evidence, Finding, Known, Timeline};
use crate::words::{Answer, Guard, NAMES, Place, RESOURCES, Step, Write};

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence.timeline.calls.values().filter_map(|call| decided(evidence, call)).collect()
}

fn decided(evidence: &Evidence<'_>, call: &Call) -> Option<Finding> {
    let timeline = &evidence.timeline;
    let write = call.write()?;
    let end = call.answer.as_ref().map_or(call.called, |(index, _)| *index);
    if let Some((_, Answer::Refused { guard })) = &call.answer {
        evidence.looks();
        return wrongly_refused(timeline, call, write, end, *guard).map(|text| (end, text));
    }
    // Applied for certain, whether its client was told or not.
    let before = timeline.range(call)?.0.checked_sub(1)?;
    evidence.looks();
    let broken = write.guards.iter().find(|guard| holds(timeline, guard, before) == Some(false));
    if let Some(guard) = broken {
        return Some((end, format!("#{} was applied at {before}, `{guard}` did not hold", call.number)));
    }
    None
}

fn wrongly_refused(
    timeline: &Timeline,
    call: &Call,
    write: &Write,
    end: usize,
    index: usize,
) -> Option<String> {
    let moments = timeline.observed_before(call.called)..=timeline.ceiling(end);
    let number = call.number;
    if let Some(guard) = write.guards.get(index) {
        // Looking at what is forgotten is refused too.
        if matches!(guard, Guard::Unchanged(..)) {
            return None;
        }
        let held = |at| holds(timeline, guard, at) == Some(true);
        return moments.clone().all(held).then(|| {
            format!("#{number} was refused, `{guard}` held from {} to {}", moments.start(), moments.end())
        });
    }
    // Beyond the guards: a deletion of what is not there. The fence has a check of its own.
    let step = index.checked_sub(write.guards.len()).and_then(|step| Some((step, write.steps.get(step)?)));
    let (step, Step::Delete(place)) = step? else {
        return (index != usize::MAX).then(|| format!("#{number} was refused by {index}, which it has not"));
    };
    let earlier = write.steps[..step].iter().any(|earlier| earlier.place() == place);
    let there = |at| matches!(timeline.state(place, at), Known::Present(_));
    (!earlier && moments.clone().all(there)).then(|| format!("#{number} was refused, {place} was there"))
}

/// Whether a guard holds at a revision; `None` if the trace does not tell.
fn holds(timeline: &Timeline, guard: &Guard, at: u64) -> Option<bool> {
    let present = |place: &Place| match timeline.state(place, at) {
        Known::Present(version) => Some(Some(version)),
        Known::Absent => Some(None),
        Known::Unclear => None,
    };
    match guard {
        Guard::Absent(place) => present(place).map(|version| version.is_none()),
        Guard::Exists(place) => present(place).map(|version| version.is_some()),
        Guard::At(place, revision) => {
            present(place).map(|version| version.is_some_and(|version| version.revision == *revision))
        }
        Guard::Uid(place, uid) => {
            present(place).map(|version| version.is_some_and(|version| version.content.uid == *uid))
        }
        Guard::Tag(place, tag) => {
            present(place).map(|version| version.is_some_and(|version| version.content.tag == *tag))
        }
        Guard::NamespaceEmpty(namespace) => {
            let empty = RESOURCES[1..].iter().map(|resource| is_empty(timeline, resource, namespace, at));
            empty.reduce(both)?
        }
        Guard::RangeEmpty(resource, namespace) => is_empty(timeline, resource, namespace, at),
        Guard::Unchanged(scope, since) => {
            let mut changes = timeline.facts.range(since + 1..=at.max(since + 1));
            let changed = changes.any(|(revision, fact)| {
                *revision <= at && timeline.concerns(scope, *revision, fact) == Some(true)
            });
            match changed {
                true => Some(false),
                false if timeline.blind_within(*since, at) => None,
                false => Some(true),
            }
        }
    }
}

fn is_empty(timeline: &Timeline, resource: &'static str, namespace: &'static str, at: u64) -> Option<bool> {
    let empty = NAMES.iter().map(|name| match timeline.state(&Place { resource, namespace, name }, at) {
        Known::Present(_) => Some(false),
        Known::Absent => Some(true),
        Known::Unclear => None,
    });
    empty.reduce(both)?
}

/// And, of three values.
fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
