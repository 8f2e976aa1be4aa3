//! The trace of a run: what clients called and heard, what watchers saw, what was done to the computer.
//!
//! It is the only thing the checkers look at, and the same bytes for the same seed.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::tally::Tally;
use crate::words::{Action, Answer, Scope, Seen};

/// Something that happened, as one outside of the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The computer is on and the store can be read.
    Booted {
        /// Which.
        computer: usize,
        /// The member on it.
        member: u64,
        /// The newest revision.
        revision: u64,
    },
    /// The store did not open; it will be tried again.
    BootFailed {
        /// Whose.
        computer: usize,
        /// Why.
        why: String,
    },
    /// A member leads in a term.
    Leads {
        /// Whose.
        computer: usize,
        /// The term.
        term: u64,
    },
    /// A member leads no more.
    LeadsNot {
        /// Whose.
        computer: usize,
    },
    /// What a member has come to.
    State {
        /// Whose.
        computer: usize,
        /// Its newest revision.
        revision: u64,
        /// The oldest it remembers.
        oldest: u64,
        /// The hash of its state.
        hash: String,
    },
    /// Others should be the members from now on.
    Wanted {
        /// Who.
        members: Vec<u64>,
    },
    /// The operator changes the members, or hears what came of it.
    Operator(String),
    /// The nemesis acted.
    Fault {
        /// What it did.
        fault: String,
        /// Whether it took effect.
        effect: Effect,
    },
    /// A computer is without power: nothing is heard of calls under way.
    PowerLost {
        /// Which.
        computer: usize,
    },
    /// Faults are over.
    Calm,
    /// A client calls.
    Called {
        /// The number of the call.
        call: u32,
        /// Who calls.
        client: u64,
        /// Whom.
        computer: usize,
        /// For what.
        action: Action,
    },
    /// A client hears, or gives up.
    Answered {
        /// The number of the call.
        call: u32,
        /// What it hears.
        answer: Answer,
    },
    /// A watch begins.
    WatchOpened {
        /// The number of the watch: a watcher that resumes begins another.
        watch: u32,
        /// Who watches.
        watcher: u64,
        /// Where.
        computer: usize,
        /// What.
        scope: Scope,
        /// From where.
        after: u64,
    },
    /// A watch cannot begin.
    WatchRefused {
        /// Who wanted to watch.
        watcher: u64,
        /// Where.
        computer: usize,
        /// From where.
        after: u64,
        /// The oldest revision that would have been possible.
        oldest: u64,
    },
    /// A watch delivers.
    Delivered {
        /// The number of the watch.
        watch: u32,
        /// In this order.
        changes: Vec<Seen>,
    },
    /// A watch says how far it is.
    Progress {
        /// The number of the watch.
        watch: u32,
        /// Everything at or below has been delivered.
        revision: u64,
    },
    /// A watch ends.
    WatchEnded {
        /// The number of the watch.
        watch: u32,
        /// Why.
        why: &'static str,
    },
    /// Something waited for in calm did not come in time.
    Overdue(String),
    /// The run is over.
    Over,
}

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It holds.
    Installed,
    /// There was nothing to do it to.
    Skipped,
}

/// An event and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Virtual milliseconds since the run began.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
}

/// Writes the trace and counts. Clones write the same one.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    events: Arc<Mutex<Vec<Timed>>>,
    tally: Arc<Mutex<Tally>>,
}

impl Recorder {
    /// An empty trace that begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), events: Arc::default(), tally: Arc::default() }
    }

    /// Adds an event.
    pub fn record(&self, event: Event) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).expect("a run is short");
        self.events.lock().expect("no panic while the lock is held").push(Timed { at_ms, event });
    }

    /// Counts something, see [`crate::tally`].
    pub fn count(&self, table: &'static str, row: &'static str, column: &'static str) {
        self.tally.lock().expect("no panic while the lock is held").add(table, row, column, 1);
    }

    /// The trace so far, and the counts. What is recorded from now on is not kept.
    pub fn take(&self) -> (Vec<Timed>, Tally) {
        let events = std::mem::take(&mut *self.events.lock().expect("no panic while the lock is held"));
        let tally = std::mem::take(&mut *self.tally.lock().expect("no panic while the lock is held"));
        (events, tally)
    }
}

/// The trace as text, one event a line.
pub fn render(trace: &[Timed]) -> String {
    trace.iter().map(|timed| format!("{timed}\n")).collect()
}

impl fmt::Display for Timed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>7} {}", self.at_ms, self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { computer, member, revision } => {
                write!(formatter, "computer {computer} booted as member {member} at {revision}")
            }
            Self::BootFailed { computer, why } => write!(formatter, "computer {computer} boot failed: {why}"),
            Self::Leads { computer, term } => write!(formatter, "computer {computer} leads in term {term}"),
            Self::LeadsNot { computer } => write!(formatter, "computer {computer} leads no more"),
            Self::State { computer, revision, oldest, hash } => {
                write!(formatter, "computer {computer} is at {revision}, oldest {oldest}, hash {hash}")
            }
            Self::Wanted { members } => write!(formatter, "nemesis   members should be {members:?}"),
            Self::Operator(what) => write!(formatter, "operator  {what}"),
            Self::Fault { fault, effect } => write!(formatter, "nemesis   {fault}: {effect:?}"),
            Self::PowerLost { computer } => write!(formatter, "computer {computer} power lost"),
            Self::Calm => write!(formatter, "nemesis   calm"),
            Self::Called { call, client, computer, action } => {
                write!(formatter, "client {client}  #{call} at {computer}: {action}")
            }
            Self::Answered { call, answer } => write!(formatter, "          #{call} {answer}"),
            Self::WatchOpened { watch, watcher, computer, scope, after } => {
                write!(formatter, "watcher {watcher} ~{watch} at {computer}: {scope} after {after}")
            }
            Self::WatchRefused { watcher, computer, after, oldest } => {
                write!(formatter, "watcher {watcher} refused at {computer} after {after}, oldest is {oldest}")
            }
            Self::Delivered { watch, changes } => {
                write!(formatter, "          ~{watch}")?;
                changes.iter().try_for_each(|seen| write!(formatter, " [{seen}]"))
            }
            Self::Progress { watch, revision } => write!(formatter, "          ~{watch} progress {revision}"),
            Self::WatchEnded { watch, why } => write!(formatter, "          ~{watch} ended: {why}"),
            Self::Overdue(what) => write!(formatter, "overdue   {what}"),
            Self::Over => write!(formatter, "over"),
        }
    }
}
