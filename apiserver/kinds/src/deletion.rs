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
    let current = int_at(obj, "metadata.deletionGracePeriodSeconds")
        .map_or(0, |seconds| if seconds < 0 { 1 } else { seconds });
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
        set(obj, "metadata.generation", meta::next(generation));
    }
}

/// The finalizers the object should have, or `None` when it has them already.
fn collector_finalizers(strategy: &dyn Strategy, obj: &Value, options: Options) -> Option<Value> {
    let before = strings_at(obj, "metadata.finalizers");
    let wanted = if strategy.garbage_collected() {
        let default = strategy.orphans_by_default().then_some(ORPHAN);
        collector_finalizer(&before, options, default)
    } else {
        None
    };
    let mut after: Vec<&str> =
        before.iter().copied().filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).collect();
    after.extend(wanted);

    let changed = after.len() != before.len() || after.iter().any(|finalizer| !before.contains(finalizer));
    changed.then(|| json!(after))
}

/// What was asked for wins over what the object already has, and that over what its kind does.
fn collector_finalizer(
    before: &[&str],
    options: Options,
    default: Option<&'static str>,
) -> Option<&'static str> {
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
    let present = before.iter().find_map(|finalizer| match *finalizer {
        ORPHAN => Some(ORPHAN),
        FOREGROUND => Some(FOREGROUND),
        _ => None,
    });
    present.or(default)
}

fn timestamp(start: Timestamp, seconds: i64) -> String {
    let end = start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(start);
    Timestamp::from_second(end.as_second()).expect("the second of a timestamp is one").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Error;
    use crate::{Resource, Subresource};

    /// Something with a grace of ten seconds, unless asked otherwise.
    struct Graceful;

    impl Strategy for Graceful {
        fn resource(&self) -> &'static Resource {
            crate::resource!("", "v1", "pods")
        }

        fn validate(&self, _obj: &Value) -> Vec<Error> {
            Vec::new()
        }

        fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
            Vec::new()
        }

        fn graceful_period(&self, _obj: &Value, requested: Option<i64>) -> Option<i64> {
            Some(requested.unwrap_or(10))
        }
    }

    const NOW: &str = "2024-01-01T00:00:30Z";

    fn check(strategy: &dyn Strategy, metadata: Value, options: Options, expected: (&str, Value)) {
        let now = NOW.parse().expect("a timestamp");
        let (verb, metadata) = match plan(strategy, &json!({ "metadata": metadata }), options, now) {
            Deletion::Remove(obj) => ("remove", obj["metadata"].clone()),
            Deletion::Mark(obj) => ("mark", obj["metadata"].clone()),
            Deletion::Pending => ("pending", Value::Null),
        };
        assert_eq!((verb, metadata), expected);
    }

    fn plain() -> &'static dyn Strategy {
        crate::strategy("", "v1", "configmaps").expect("registered")
    }

    fn grace(seconds: i64) -> Options {
        Options { grace_period_seconds: Some(seconds), ..Options::default() }
    }

    fn propagate(propagation: Propagation) -> Options {
        Options { propagation: Some(propagation), ..Options::default() }
    }

    #[test]
    fn an_object_without_finalizers_goes_at_once() {
        check(plain(), json!({"name": "a"}), Options::default(), ("remove", json!({"name": "a"})));
        check(plain(), json!({"name": "a"}), grace(30), ("remove", json!({"name": "a"})));
        check(
            plain(),
            json!({"finalizers": ["orphan"]}),
            propagate(Propagation::Background),
            ("remove", json!({"finalizers": []})),
        );
    }

    #[test]
    fn finalizers_make_it_wait() {
        let marked = json!({"generation": 3, "finalizers": ["a/b"], "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0});
        check(
            plain(),
            json!({"generation": 2, "finalizers": ["a/b"]}),
            Options::default(),
            ("mark", marked.clone()),
        );
        // Asked again, it is marked the same way and counts no further generation.
        check(plain(), marked.clone(), Options::default(), ("mark", marked));
        check(
            plain(),
            json!({}),
            propagate(Propagation::Foreground),
            (
                "mark",
                json!({"finalizers": ["foregroundDeletion"], "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}),
            ),
        );
    }

    #[test]
    fn events_know_no_collector() {
        let events = crate::strategy("", "v1", "events").expect("registered");
        check(events, json!({}), propagate(Propagation::Foreground), ("remove", json!({})));
    }

    #[test]
    fn grace_is_granted_once_and_only_shortened() {
        let at = |until: &str, seconds: i64| json!({"deletionTimestamp": until, "deletionGracePeriodSeconds": seconds});
        check(&Graceful, json!({}), Options::default(), ("mark", at("2024-01-01T00:00:40Z", 10)));
        check(&Graceful, json!({}), grace(0), ("remove", at(NOW, 0)));
        check(&Graceful, json!({}), grace(-5), ("mark", at("2024-01-01T00:00:31Z", 1)));

        let waiting = at("2024-01-01T00:01:00Z", 30);
        check(&Graceful, waiting.clone(), Options::default(), ("pending", Value::Null));
        check(&Graceful, waiting.clone(), grace(60), ("pending", Value::Null));
        check(&Graceful, waiting.clone(), grace(20), ("mark", at("2024-01-01T00:00:50Z", 20)));
        check(&Graceful, waiting, grace(0), ("remove", at(NOW, 0)));

        // The shorter grace would have ended already: one second is left to notice.
        check(&Graceful, at("2024-01-01T00:00:31Z", 30), grace(20), ("mark", at(NOW, 1)));
        check(
            &Graceful,
            at("2024-01-01T00:00:20Z", 0),
            Options::default(),
            ("remove", at("2024-01-01T00:00:20Z", 0)),
        );
    }

    #[test]
    fn an_update_finishes_what_waited_for_finalizers() {
        let old = json!({"metadata": {"finalizers": ["a/b"], "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}});
        let mut new = old.clone();
        assert!(!finished_by_update(&new, &old));
        set(&mut new, "metadata.finalizers", json!([]));
        assert!(finished_by_update(&new, &old));
        assert!(!finished_by_update(&new, &json!({"metadata": {}})));
    }
}
