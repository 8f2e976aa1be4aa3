//! The audit log: what is recorded of which request ([`policy`]), as which line ([`event`]), into which file ([`log`]).
//! Decides nothing about requests.

mod event;
mod log;
mod policy;

pub(crate) use event::{Arrival, Draft, Outcome, Sources};
pub use log::AuditLimits;
pub(crate) use policy::{Level, Stage};

use jiff::Timestamp;
use log::Log;
use policy::Policy;
use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a thread keeps to write its events in; those of level Metadata are a fifth of it.
const LINE_BYTES_KEPT: usize = 4096;

thread_local! {
    /// Where this thread writes an event before it goes into the log.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why the audit log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The policy is none, or says what cannot be.
    #[error("the audit policy is unusable: {why}")]
    Policy {
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be written.
    #[error("the audit log cannot be opened")]
    Log(#[from] std::io::Error),
}

/// An audit log with its policy.
pub struct Audit {
    policy: Policy,
    log: Log,
    made: AtomicU64,
}

impl Audit {
    /// Opens a log under a policy; without one, the metadata of everything but probes is recorded.
    ///
    /// # Errors
    /// The policy or the file is unusable.
    pub fn open(policy: Option<&str>, path: &Path, limits: AuditLimits) -> Result<Self, AuditError> {
        let policy = match policy {
            Some(text) => Policy::parse(text).map_err(|why| AuditError::Policy { why })?,
            None => Policy::usual(),
        };
        Ok(Self { policy, log: Log::open(path, limits)?, made: AtomicU64::new(0) })
    }

    /// Begins the record of a request, if it has one.
    pub(crate) fn begin(&self, arrival: Arrival) -> Option<Draft> {
        let decision = *self.policy.decide(&arrival.user, &arrival.info);
        if decision.level == Level::None {
            return None;
        }
        let draft = Draft::new(arrival, decision);
        self.record(&draft, Stage::RequestReceived, None, draft.received());
        Some(draft)
    }

    /// Writes the event of a stage, unless the policy omits it.
    pub(crate) fn record(&self, draft: &Draft, stage: Stage, outcome: Option<&Outcome<'_>>, now: Timestamp) {
        if !draft.decision.records(stage) {
            return;
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        LINE.with_borrow_mut(|line| {
            draft.write(stage, outcome, now, line);
            self.log.add(line);
            line.clear();
            // What an event with a large body took is not kept.
            line.shrink_to(LINE_BYTES_KEPT);
        });
    }

    /// Events made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Events lost because the disk was slower than the requests.
    pub(crate) fn lost(&self) -> u64 {
        self.log.lost()
    }

    /// Waits until what was recorded is in the file. Blocks its thread.
    pub fn flush(&self) {
        self.log.flush();
    }
}
