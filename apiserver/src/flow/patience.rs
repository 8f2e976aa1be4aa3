//! For how long a client that was refused is asked to stay away: `Retry-After` grows while a level goes on refusing and
//! shrinks when it does not. Pure; seconds come in.

use std::collections::VecDeque;

/// Longest wait a client is asked for.
const SECONDS_MAX: u64 = 32;

/// What is known of a level's refusals.
pub(super) struct Patience {
    /// Refusals of past seconds, oldest first.
    past: VecDeque<(u64, u64)>,
    second: u64,
    count: u64,
    retry_after: u64,
    grown_at: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { past: VecDeque::new(), second: 0, count: 0, retry_after: 1, grown_at: 0 }
    }
}

impl Patience {
    /// A request is refused in this second; gives the seconds to wait.
    pub(super) fn refuse(&mut self, second: u64) -> u64 {
        if second == self.second {
            self.count += 1;
            return self.retry_after;
        }
        self.past.push_back((self.second, self.count));
        let kept = (2 * self.retry_after).min(SECONDS_MAX);
        while self.past.front().is_some_and(|(past, _)| self.second.saturating_sub(*past) > kept) {
            self.past.pop_front();
        }
        (self.second, self.count) = (second, 1);
        self.adjust();
        self.retry_after
    }

    /// Refusals of the last `retry_after` seconds decide: three for each of them double it, fewer than one for each make it a
    /// second less.
    fn adjust(&mut self) {
        let (now, wait) = (self.second, self.retry_after);
        let recent = self.past.iter().filter(|(past, _)| now.saturating_sub(*past) <= wait);
        let refused: u64 = recent.map(|(_, count)| count).sum();
        if now.saturating_sub(self.grown_at) >= wait && refused >= 3 * wait {
            self.retry_after = (2 * wait).min(SECONDS_MAX);
            self.grown_at = now;
        } else if refused < wait && wait > 1 {
            self.retry_after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses `count` requests in each of the seconds and gives what clients were told last.
    fn refuse(patience: &mut Patience, seconds: std::ops::Range<u64>, count: usize) -> Vec<u64> {
        seconds
            .map(|second| (0..count).map(|_| patience.refuse(second)).last().expect("at least one"))
            .collect()
    }

    #[test]
    fn who_goes_on_refusing_asks_for_more_time() {
        let mut patience = Patience::default();
        assert_eq!(refuse(&mut patience, 100..101, 5), [1]);
        assert_eq!(refuse(&mut patience, 101..110, 5), [2, 2, 4, 4, 4, 4, 8, 8, 8]);
        assert_eq!(refuse(&mut patience, 110..500, 50).last(), Some(&SECONDS_MAX));
        assert_eq!(refuse(&mut patience, 600..603, 1), [31, 30, 29]);
        assert!(patience.past.len() <= 64);
    }

    #[test]
    fn a_refusal_now_and_then_changes_nothing() {
        let mut patience = Patience::default();
        assert_eq!(refuse(&mut patience, 100..200, 1), [1; 100]);
    }
}
