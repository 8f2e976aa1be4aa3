//! How long ago a revision was superseded. A page's token lives five minutes after its list was the newest: by rule, so
//! that clients meet the end of a token whatever the store still remembers.

use crate::server::Inner;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a superseded list can be paged through.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Between two marks.
const MARK_INTERVAL: Duration = Duration::from_secs(30);

/// Which revision was the newest, at some times of the last minutes.
#[derive(Default)]
pub(crate) struct Ages {
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    /// Younger than a token's life, oldest first.
    young: VecDeque<(Duration, u64)>,
    /// Newest when the life of tokens given out then ended.
    ended: u64,
}

impl Marks {
    fn mark(&mut self, now: Duration, newest: u64) {
        self.young.push_back((now, newest));
        while self.young.front().is_some_and(|(at, _)| *at + TOKEN_LIFE <= now) {
            if let Some((_, revision)) = self.young.pop_front() {
                self.ended = revision;
            }
        }
    }
}

impl Ages {
    /// Whether another revision has been the newest for longer than a token lives.
    pub(super) fn is_over(&self, revision: u64) -> bool {
        revision < self.marks.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    fn mark(&self, now: Duration, newest: u64) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).mark(now, newest);
    }
}

/// Keeps the marks until the server stops.
pub(crate) async fn keep(server: Arc<Inner>) {
    let mut ticks = tokio::time::interval(MARK_INTERVAL);
    loop {
        tokio::select! {
            () = server.stopping.cancelled() => return,
            _ = ticks.tick() => server.ages.mark(server.seams.clock.now(), server.store.view().revision().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_five_minutes_after_its_list_was_the_newest() {
        let ages = Ages::default();
        let at = Duration::from_secs;
        ages.mark(at(0), 7);
        ages.mark(at(60), 9);
        ages.mark(at(299), 9);
        assert!(!ages.is_over(6));
        ages.mark(at(300), 9);
        assert!(ages.is_over(6), "it was superseded before the first mark");
        assert!(!ages.is_over(7), "it was the newest five minutes ago");
        ages.mark(at(360), 12);
        assert!(ages.is_over(8));
        assert!(!ages.is_over(9));
    }
}
