//! How often what happened, in one run or in many: faults, messages, disks, members, and what each check looked at.
//!
//! A simulation in which a fault never happens, or a check that never finds anything to judge, looks like a clean one. So
//! it is counted where it takes effect, and not where it was planned.

use std::collections::BTreeMap;
use std::fmt;

use crate::trace::{Event, Timed};
use crate::words::Answer;

/// The tables, in the order they are shown, and the columns of each.
pub const TABLES: &[(&str, &[&str])] = &[
    (FAULTS, &[INSTALLED, SKIPPED]),
    (DISKS, &[TIMES]),
    (MESSAGES, &[SENT, ANSWERED, LOST, REPLY_LOST, TWICE, CUT_OFF, RESET]),
    (MEMBERS, &[TIMES]),
    (ANSWERS, &[TIMES]),
    (WATCHES, &[TIMES]),
    (CHECKS, &[LOOKED_AT]),
];

/// What the nemesis does.
pub const FAULTS: &str = "faults";
/// It holds.
pub const INSTALLED: &str = "in effect";
/// There was nothing to do it to.
pub const SKIPPED: &str = "no target";

/// What became of commits.
pub const DISKS: &str = "disks";
/// What members came to.
pub const MEMBERS: &str = "members";
/// What clients heard.
pub const ANSWERS: &str = "answers";
/// How watches began and ended.
pub const WATCHES: &str = "watches";
/// Of tables with one column.
pub const TIMES: &str = "times";

/// Requests between members, by kind.
pub const MESSAGES: &str = "messages";
/// Given to the network.
pub const SENT: &str = "sent";
/// Whose reply came back to a sender that may have given up.
pub const ANSWERED: &str = "answered";
/// That did not arrive.
pub const LOST: &str = "lost";
/// Whose reply did not arrive.
pub const REPLY_LOST: &str = "reply lost";
/// That arrived a second time.
pub const TWICE: &str = "twice";
/// That met a cut wire, on the way there or back, or nobody.
pub const CUT_OFF: &str = "cut off";
/// Whose receiver lost its power over it.
pub const RESET: &str = "reset";

/// The checks, by promise.
pub const CHECKS: &str = "checks";
/// Answers, watches, boots or whatever a check judges.
pub const LOOKED_AT: &str = "looked at";

type Name = &'static str;

/// Counts by table, row and column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(Name, Name), BTreeMap<Name, u64>>);

impl Tally {
    /// Counts something.
    pub fn add(&mut self, table: Name, row: Name, column: Name, times: u64) {
        *self.0.entry((table, row)).or_default().entry(column).or_default() += times;
    }

    /// Counts what a trace tells of.
    pub fn read(&mut self, trace: &[Timed]) {
        for (table, row) in trace.iter().filter_map(|timed| told(&timed.event)) {
            self.add(table, row, TIMES, 1);
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for ((table, row), columns) in &other.0 {
            columns.iter().for_each(|(column, times)| self.add(table, row, column, *times));
        }
    }

    /// How often.
    pub fn get(&self, table: Name, row: Name, column: Name) -> u64 {
        self.0.get(&(table, row)).and_then(|columns| columns.get(column)).copied().unwrap_or(0)
    }
}

fn told(event: &Event) -> Option<(Name, Name)> {
    Some(match event {
        Event::Booted { .. } => (MEMBERS, "booted"),
        Event::BootFailed { .. } => (MEMBERS, "did not boot"),
        Event::Leads { .. } => (MEMBERS, "began to lead"),
        Event::Answered { answer, .. } => (
            ANSWERS,
            match answer {
                Answer::Applied { .. } => "applied",
                Answer::Refused { .. } => "refused",
                Answer::NotAppended(_) => "not appended",
                Answer::Unknown => "unknown",
                Answer::Found { .. } => "found",
                Answer::Listed { .. } => "listed",
                Answer::Compacted { .. } => "compacted",
                Answer::Done => "done",
                Answer::Failed(_) => "failed",
            },
        ),
        Event::WatchOpened { after: 0, .. } => (WATCHES, "begun from nothing"),
        Event::WatchOpened { .. } => (WATCHES, "resumed"),
        Event::WatchRefused { .. } => (WATCHES, "refused: history is forgotten"),
        Event::WatchEnded { why, .. } => (WATCHES, why),
        _ => return None,
    })
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, columns) in TABLES {
            write!(formatter, "{table:<32}")?;
            columns.iter().try_for_each(|column| write!(formatter, "{column:>12}"))?;
            writeln!(formatter)?;
            for ((_, row), counts) in self.0.iter().filter(|((of, _), _)| of == table) {
                write!(formatter, "  {row:<30}")?;
                for column in *columns {
                    write!(formatter, "{:>12}", counts.get(column).copied().unwrap_or(0))?;
                }
                writeln!(formatter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up_and_are_shown_in_columns() {
        let mut one = Tally::default();
        one.add(FAULTS, "Cut", INSTALLED, 1);
        let mut all = one.clone();
        one.add(FAULTS, "Cut", SKIPPED, 2);
        all.merge(&one);
        assert_eq!((all.get(FAULTS, "Cut", INSTALLED), all.get(FAULTS, "Cut", SKIPPED)), (2, 2));
        assert_eq!(all.get(DISKS, "Cut", TIMES), 0);
        let shown = all.to_string();
        assert!(shown.lines().any(|line| line.split_whitespace().eq(["Cut", "2", "2"])), "{shown}");
    }
}
