//! Keeps events few: many alike become one, and one object may not be talked about without end.
//!
//! Decides by what it has seen and the time it is told; writes nothing. The
//! numbers are upstream's, as people know them from `kubectl describe`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Regarding, Severity};

/// Different texts of one reason before they are combined.
const ALIKE_MAX: usize = 10;
/// Events alike are forgotten after this long without one.
const ALIKE_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Events about one object in quick succession.
const BURST: f64 = 25.0;
/// Seconds until one more is allowed.
const REFILL_SECONDS: f64 = 300.0;
/// Objects remembered; the state of more than these is started afresh.
const OBJECTS_MAX: usize = 4096;

type Kind = (Regarding, Severity, String);

#[derive(Debug)]
struct Alike {
    texts: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Allowance {
    tokens: f64,
    at: Timestamp,
}

/// What has been said lately.
#[derive(Debug, Default)]
pub(super) struct Correlator {
    alike: BTreeMap<Kind, Alike>,
    allowances: BTreeMap<Regarding, Allowance>,
}

impl Correlator {
    /// The text to write for an event, and the text that tells it from others.
    pub(super) fn text(
        &mut self,
        kind: (&Regarding, Severity, &str),
        message: &str,
        now: Timestamp,
    ) -> (String, String) {
        if self.alike.len() >= OBJECTS_MAX {
            self.alike.clear();
        }
        let key = (kind.0.clone(), kind.1, kind.2.to_owned());
        let alike = self.alike.entry(key).or_insert_with(|| Alike { texts: BTreeSet::new(), last: now });
        if now.duration_since(alike.last) > ALIKE_FOR {
            alike.texts.clear();
        }
        alike.last = now;
        alike.texts.insert(message.to_owned());
        if alike.texts.len() < ALIKE_MAX {
            return (message.to_owned(), message.to_owned());
        }
        // One text is as good as another from here on, and the set must not grow.
        alike.texts.remove(message);
        (format!("(combined from similar events): {message}"), String::new())
    }

    /// Whether one more event about an object is allowed.
    pub(super) fn allows(&mut self, regarding: &Regarding, now: Timestamp) -> bool {
        if self.allowances.len() >= OBJECTS_MAX {
            self.allowances.clear();
        }
        let allowance =
            self.allowances.entry(regarding.clone()).or_insert(Allowance { tokens: BURST, at: now });
        let passed = now.duration_since(allowance.at).as_secs_f64();
        allowance.tokens = (allowance.tokens + passed / REFILL_SECONDS).min(BURST);
        allowance.at = now;
        if allowance.tokens < 1.0 {
            return false;
        }
        allowance.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regarding() -> Regarding {
        Regarding {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            uid: "c".to_owned(),
            resource_version: String::new(),
        }
    }

    #[test]
    fn the_tenth_text_of_a_reason_stands_for_all_further_ones() {
        let (mut correlator, object) = (Correlator::default(), regarding());
        let mut say = |number: i64, second: i64| {
            let now = Timestamp::from_second(second).expect("in range");
            let text = format!("Created pod: {number}");
            correlator.text((&object, Severity::Normal, "SuccessfulCreate"), &text, now)
        };
        for number in 0..9 {
            assert_eq!(say(number, 0).0, format!("Created pod: {number}"));
        }
        let combined = "(combined from similar events): Created pod: 9";
        assert_eq!(say(9, 0), (combined.to_owned(), String::new()));
        assert_eq!(say(10, 0).1, "");
        assert_eq!(say(11, 601).0, "Created pod: 11");
    }

    #[test]
    fn an_object_is_not_talked_about_without_end() {
        let (mut correlator, object) = (Correlator::default(), regarding());
        let mut allowed = |second: i64, times: usize| {
            let now = Timestamp::from_second(second).expect("in range");
            (0..times).filter(|_| correlator.allows(&object, now)).count()
        };
        assert_eq!(allowed(0, 100), 25);
        assert_eq!(allowed(299, 100), 0);
        assert_eq!(allowed(600, 100), 2);
    }
}
