//! Turns: writers that got in each other's way wait in line instead of running against each other again.
//!
//! A turn promises nothing about the data; preconditions do that. It only saves the tries that would be in vain, of writers
//! on this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Lines that are forgotten when nobody stands in them any more, from this many on.
const SWEEP_AT: usize = 64;

/// The lines, one for each name.
#[derive(Default)]
pub(crate) struct Turns {
    lines: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

/// A turn, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits for a turn in the line of this name.
    pub(crate) async fn take(&self, name: &str) -> Turn {
        self.line(name).lock_owned().await
    }

    fn line(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut lines = self.lines.lock().expect("no panic while the lock is held");
        if let Some(line) = lines.get(name).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= SWEEP_AT {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(AsyncMutex::new(()));
        lines.insert(name.to_owned(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_in_each_line() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let _other = turns.take("b").await;
        let mut waiting = Box::pin(turns.take("a"));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        waiting.await;
    }

    #[tokio::test]
    async fn lines_nobody_stands_in_are_forgotten() {
        let turns = Turns::default();
        for name in 0..SWEEP_AT * 3 {
            drop(turns.take(&name.to_string()).await);
        }
        assert!(turns.lines.lock().expect("no panic").len() <= SWEEP_AT);
    }
}
