//! Why a store cannot go on in this process: one of its parts has panicked, and what it held is neither here nor there.
//!
//! A panic ends a task and is easily missed: the rest would answer for ever what needs that task for ever. So each part
//! is guarded, and whoever runs the store is told and ends the process. What was acknowledged is on disk.

use std::thread;

use tokio::sync::watch;

/// A part of the store has panicked. The store answers nothing that can be relied on any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} has panicked")]
pub struct Failed {
    /// Which part.
    pub part: &'static str,
}

/// Raised once, by the first part that panics. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<Failed>>);

impl Default for Alarm {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Alarm {
    pub(crate) fn raise(&self, part: &'static str) {
        self.0.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                *failed = Some(Failed { part });
            }
            is_first
        });
    }

    /// Raises the alarm if it is dropped by a panic.
    pub(crate) fn guard(&self, part: &'static str) -> Guard {
        Guard { alarm: self.clone(), part }
    }

    /// Returns once it is raised.
    pub(crate) async fn raised(&self) -> Failed {
        let mut receiver = self.0.subscribe();
        let failed = receiver.wait_for(Option::is_some).await.map(|failed| *failed);
        failed.ok().flatten().expect("the sender is held here")
    }
}

/// Watches over a part while it is held.
pub(crate) struct Guard {
    alarm: Alarm,
    part: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.alarm.raise(self.part);
        }
    }
}
