//! What a DELETE does to an object: remove it now, mark it and wait, or nothing because it is waiting already.
//!
//! It checks no preconditions and knows no store; a caller that is told [`Deletion::Mark`] stores the object it gets.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::meta::{FOREGROUND, ORPHAN};
use crate::tree::{at, int_at, set, str_at, strings_at};
use crate::{Strategy, meta};

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without this owner.
    Orphan,
    /// They go after the object.
    Background,
    /// They go before the object.
    Foreground,
}

/// What a deleter asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Seconds to wait; negative means one.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of dependents.
    pub propagation: Option<Propagation>,
    /// The older spelling of [`Propagation::Orphan`].
    pub orphan_dependents: Option<bool>,
}

/// What a DELETE does.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// Remove the object. It is the last content, which may carry a deletion mark of grace zero.
    Remove(Value),
    /// Store the object with its deletion mark and wait.
    Mark(Value),
    /// It is marked already and nothing changes.
    Pending,
}

/// Decides what deleting `obj` with `options` does at `now`.
pub fn plan(strategy: &dyn Strategy, obj: &Value, options: Options, now: Timestamp) -> Deletion {
    let mut obj = obj.clone();
    let requested = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let graceful = match begin(strategy, &mut obj, requested, now) {
        Grace::Pending => return Deletion::Pending,
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };

    if let Some(finalizers) = collector_finalizers(strategy, &obj, options) {
        set(&mut obj, "metadata.finalizers", finalizers);
    }
    let finalizers = !strings_at(&obj, "metadata.finalizers").is_empty();
    match graceful {
        None if finalizers => {
            mark_without_grace(&mut obj, now);
            Deletion::Mark(obj)
        }
        None => Deletion::Remove(obj),
        Some(seconds) if finalizers || seconds > 0 => Deletion::Mark(obj),
        Some(_) => Deletion::Remove(obj),
    }
}

/// Whether an update has taken away what a marked object was waiting for, so that it goes now.
pub fn finished_by_update(new: &Value, old: &Value) -> bool {
    let is_marked = at(old, "metadata.deletionTimestamp").is_some();
    let waits = !strings_at(new, "metadata.finalizers").is_empty();
    let grace_over = int_at(old, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0;
    is_marked && !waits && grace_over
}

enum Grace {
    /// The kind or the object knows no grace.
    None,
    /// Already waiting, and not for longer than asked.
    Pending,
    /// Marked with this many seconds.
    Seconds(i64),
}

fn begin(strategy: &dyn Strategy, obj: &mut Value, requested: Option<i64>, now: Timestamp) -> Grace {
    let Some(period) = strategy.graceful_period(obj, requested) else { return Grace::None };
    if at(obj, "metadata.deletionTimestamp").is_some() {
        return shorten(obj, requested, now);
    }
    set(obj, "metadata.deletionTimestamp", timestamp(now, period));
    set(obj, "metadata.deletionGracePeriodSeconds", period);
    count_generation(obj);
    Grace::Seconds(period)
}

/// A second DELETE may only shorten the wait, counted from when the first came.
fn shorten(obj: &mut Value, requested: Option<i64>, now: Timestamp) -> Grace {
    let current = int_at(obj, "metadata.deletionGracePeriodSeconds").map_or(0, |seconds| if seconds < 0 { 1 } else { seconds });
    if current == 0 {
        return Grace::None;
    }
    let Some(mut period) = requested.filter(|period| *period < current) else { return Grace::Pending };
    let until = str_at(obj, "metadata.deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
    let mut until = until.saturating_sub(SignedDuration::from_secs(current - period)).unwrap_or(now);
    if until < now {
        until = now;
        // An end in the past still gives whoever ends it gracefully a second to see the change.
        period = period.min(1);
    }
    set(obj, "metadata.deletionTimestamp", timestamp(until, 0));
    set(obj, "metadata.deletionGracePeriodSeconds", period);
    Grace::Seconds(period)
}

fn mark_without_grace(obj: &mut Value, now: Timestamp) {
    if at(obj, "metadata.deletionTimestamp").is_none() {
        count_generation(obj);
        set(obj, "metadata.deletionTimestamp", timestamp(now, 0));
    } else if str_at(obj, "metadata.deletionTimestamp").parse::<Timestamp>().is_ok_and(|until| until > now) {
        set(obj, "metadata.deletionTimestamp", timestamp(now, 0));
    }
    set(obj, "metadata.deletionGracePeriodSeconds", 0);
}

fn count_generation(obj: &mut Value) {
    let generation = meta::generation(obj);
    if generation > 0 {
        set(obj, "metadata.generation", generation + 1);
    }
}

/// The finalizers the object should have, or `None` when it has them already.
fn collector_finalizers(strategy: &dyn Strategy, obj: &Value, options: Options) -> Option<Value> {
    let before = strings_at(obj, "metadata.finalizers");
    let wanted = if strategy.garbage_collected() { collector_finalizer(&before, options) } else { None };
    let mut after: Vec<&str> =
        before.iter().copied().filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).collect();
    after.extend(wanted);

    let changed = after.len() != before.len() || after.iter().any(|finalizer| !before.contains(finalizer));
    changed.then(|| json!(after))
}

/// What was asked for wins over what the object already has.
fn collector_finalizer(before: &[&str], options: Options) -> Option<&'static str> {
    if let Some(orphan) = options.orphan_dependents {
        return orphan.then_some(ORPHAN);
    }
    if let Some(propagation) = options.propagation {
        return match propagation {
            Propagation::Orphan => Some(ORPHAN),
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Background => None,
        };
    }
    before.iter().find_map(|finalizer| match *finalizer {
        ORPHAN => Some(ORPHAN),
        FOREGROUND => Some(FOREGROUND),
        _ => None,
    })
}

fn timestamp(start: Timestamp, seconds: i64) -> String {
    let end = start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(start);
    Timestamp::from_second(end.as_second()).expect("the second of a timestamp is one").to_string()
}
