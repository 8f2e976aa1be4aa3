//! How long to wait before the next try of something that keeps failing.
//!
//! The delay doubles with every try, from ten seconds to five minutes, and is forgotten when things went
//! well for twice the longest delay.

use jiff::{SignedDuration, Timestamp};

/// The first delay.
pub const FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// The state of one retried thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// What to wait after the next failure.
    pub delay: SignedDuration,
    /// When a try was last allowed.
    pub updated: Timestamp,
}

impl Backoff {
    /// When the next try may start, if the last one failed at `failed` and that is not yet past.
    pub fn until(this: Option<Self>, failed: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let backoff = this.filter(|backoff| !backoff.is_stale(failed))?;
        let until = failed.saturating_add(backoff.delay).ok()?;
        (now < until).then_some(until)
    }

    /// The state after a try was allowed at `now`, the previous one having failed at `failed`.
    pub fn next(this: Option<Self>, failed: Timestamp, now: Timestamp) -> Self {
        match this.filter(|backoff| !backoff.is_stale(failed)) {
            Some(backoff) => Backoff { delay: (backoff.delay * 2).min(LONGEST), updated: now },
            None => Backoff { delay: FIRST, updated: now },
        }
    }

    /// It ran well for so long that its history no longer counts.
    fn is_stale(&self, failed: Timestamp) -> bool {
        failed.duration_since(self.updated) > LONGEST * 2
    }
}

/// A duration as Go prints whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container that dies one second after each start: delays printed as they come.
    #[test]
    fn delays_double_up_to_five_minutes() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut backoff = None;
        let mut delays = Vec::new();
        for _ in 0..7 {
            let failed = now + SignedDuration::from_secs(1);
            now = Backoff::until(backoff, failed, failed).unwrap_or(failed);
            backoff = Some(Backoff::next(backoff, failed, now));
            delays.push(go_seconds(backoff.expect("set above").delay));
        }
        assert_eq!(delays, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
    }

    #[test]
    fn ten_good_minutes_reset_it() {
        let start = Timestamp::UNIX_EPOCH;
        let backoff = Some(Backoff { delay: LONGEST, updated: start });
        let failed = start + SignedDuration::from_secs(601);
        assert_eq!(Backoff::until(backoff, failed, failed), None);
        assert_eq!(Backoff::next(backoff, failed, failed).delay, FIRST);
    }
}
