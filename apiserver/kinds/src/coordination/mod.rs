//! Kinds of the coordination.k8s.io group, one file each.

mod lease;

use std::time::Duration;

use jiff::Timestamp;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&lease::Leases]
}

/// A renewal so soon after another would say nothing new: a clock that is slewed makes a timer end a little early.
const APART_MIN: Duration = Duration::from_secs(1);

/// How long from `now`, when a Lease was renewed, until it is again: at full multiples of `every`, so that the Leases of one
/// server share a sync of the log, and wake what follows them once.
pub fn until_renewal(now: Timestamp, every: Duration) -> Duration {
    let since = now.as_nanosecond().rem_euclid(every.as_nanos() as i128);
    let left = every - Duration::from_nanos(u64::try_from(since).unwrap_or(0));
    if left < APART_MIN { left + every } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_renewed_together() {
        let at = |text: &str| until_renewal(text.parse().expect("a time"), Duration::from_secs(10));
        assert_eq!(at("2026-01-01T00:00:00Z"), Duration::from_secs(10));
        assert_eq!(at("2026-01-01T00:00:00.000000001Z"), Duration::from_nanos(9_999_999_999));
        assert_eq!(at("2026-01-01T00:00:12.75Z"), Duration::from_millis(7_250));
        assert_eq!(at("2026-01-01T00:00:19.75Z"), Duration::from_millis(10_250));
        assert_eq!(at("1969-12-31T23:59:59Z"), Duration::from_secs(1));
    }
}
