//! The trace of a run: what clients called and heard, what watchers saw, what was done to the computer.
//!
//! It is the only thing the checkers look at, and the same bytes for the same seed.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::words::{Action, Answer, Scope, Seen};

/// Something that happened, as one outside of the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The computer is on and the store can be read.
    Booted {
        /// The newest revision.
        revision: u64,
    },
    /// The store did not open; it will be tried again.
    BootFailed(String),
    /// This member leads in a term.
    Leads {
        /// The term.
        term: u64,
    },
    /// This member leads no more.
    LeadsNot,
    /// The nemesis acted.
    Fault {
        /// What it did.
        fault: String,
        /// Whether it took effect.
        effect: Effect,
    },
    /// The computer is without power: nothing is heard of calls under way.
    PowerLost,
    /// Faults are over.
    Calm,
    /// A client calls.
    Called {
        /// The number of the call.
        call: u32,
        /// Who calls.
        client: u64,
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
        /// What.
        scope: Scope,
        /// From where.
        after: u64,
    },
    /// A watch cannot begin.
    WatchRefused {
        /// Who wanted to watch.
        watcher: u64,
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

/// Writes the trace. Clones write the same one.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    events: Arc<Mutex<Vec<Timed>>>,
}

impl Recorder {
    /// An empty trace that begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), events: Arc::default() }
    }

    /// Adds an event.
    pub fn record(&self, event: Event) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).expect("a run is short");
        self.events.lock().expect("no panic while the lock is held").push(Timed { at_ms, event });
    }

    /// The trace so far.
    pub fn events(&self) -> Vec<Timed> {
        self.events.lock().expect("no panic while the lock is held").clone()
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
            Self::Booted { revision } => write!(formatter, "computer  booted at {revision}"),
            Self::BootFailed(why) => write!(formatter, "computer  boot failed: {why}"),
            Self::Leads { term } => write!(formatter, "computer  leads in term {term}"),
            Self::LeadsNot => write!(formatter, "computer  leads no more"),
            Self::Fault { fault, effect } => write!(formatter, "nemesis   {fault}: {effect:?}"),
            Self::PowerLost => write!(formatter, "computer  power lost"),
            Self::Calm => write!(formatter, "nemesis   calm"),
            Self::Called { call, client, action } => write!(formatter, "client {client}  #{call} {action}"),
            Self::Answered { call, answer } => write!(formatter, "          #{call} {answer}"),
            Self::WatchOpened { watch, watcher, scope, after } => {
                write!(formatter, "watcher {watcher} ~{watch} {scope} after {after}")
            }
            Self::WatchRefused { watcher, after, oldest } => {
                write!(formatter, "watcher {watcher} refused after {after}, oldest is {oldest}")
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
