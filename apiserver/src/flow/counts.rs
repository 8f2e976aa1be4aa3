//! What is counted of a schema's requests. Adding costs no lock.

use super::queues::Refusal;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

const REFUSALS: [Refusal; 3] = [Refusal::ConcurrencyLimit, Refusal::QueueFull, Refusal::TimeOut];
/// Upper bounds of durations in nanoseconds, as upstream's.
const NANOS: [u64; 13] = [
    0,
    5_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    15_000_000_000,
    30_000_000_000,
];
/// Upper bounds of seats a request needs.
const SEATS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 100];
/// Upper bounds of watches that a write concerns.
const WATCHES: [u64; 6] = [0, 1, 10, 100, 1000, 10_000];
/// Upper bounds of a queue's length.
const LENGTHS: [u64; 8] = [0, 10, 25, 50, 100, 250, 500, 1000];

/// Observations by the bucket they fall into; the last is above every bound.
pub(crate) struct Histogram {
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn observe_time(&self, took: Duration) {
        self.observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Each bound with the observations up to it.
    pub(crate) fn below(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Ordering::Relaxed);
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// The counts of one schema.
pub(crate) struct Counts {
    pub(crate) dispatched: AtomicU64,
    pub(crate) executing: AtomicI64,
    pub(crate) executing_seats: AtomicI64,
    pub(crate) waiting: AtomicI64,
    pub(crate) waiting_seats: AtomicI64,
    /// By [`REFUSALS`].
    rejected: [AtomicU64; 3],
    /// How long those waited that were served, and those that were not.
    pub(crate) waited: Histogram,
    pub(crate) waited_in_vain: Histogram,
    /// How long seats were held by ordinary requests, and by watches that began.
    pub(crate) executed: Histogram,
    pub(crate) began_watching: Histogram,
    pub(crate) seats: Histogram,
    pub(crate) watches: Histogram,
    pub(crate) lengths: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            dispatched: AtomicU64::new(0),
            executing: AtomicI64::new(0),
            executing_seats: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            waiting_seats: AtomicI64::new(0),
            rejected: Default::default(),
            waited: Histogram::new(&NANOS),
            waited_in_vain: Histogram::new(&NANOS),
            executed: Histogram::new(&NANOS),
            began_watching: Histogram::new(&NANOS),
            seats: Histogram::new(&SEATS),
            watches: Histogram::new(&WATCHES),
            lengths: Histogram::new(&LENGTHS),
        }
    }
}

impl Counts {
    /// So many requests more are being answered, on so many seats.
    pub(super) fn execute(&self, requests: i64, seats: i64) {
        self.executing.fetch_add(requests, Ordering::Relaxed);
        self.executing_seats.fetch_add(seats, Ordering::Relaxed);
    }

    /// So many requests more wait, for so many seats.
    pub(super) fn wait(&self, requests: i64, seats: i64) {
        self.waiting.fetch_add(requests, Ordering::Relaxed);
        self.waiting_seats.fetch_add(seats, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.rejected[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Refusals by their words.
    pub(crate) fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = REFUSALS.iter().zip(&self.rejected);
        counted.map(|(refusal, count)| (refusal.reason(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_below_every_bound_that_is_not_smaller() {
        let histogram = Histogram::new(&SEATS);
        [1, 2, 3, 100, 101].into_iter().for_each(|value| histogram.observe(value));
        let below: Vec<u64> = histogram.below().map(|(_, count)| count).collect();
        assert_eq!(below, [1, 2, 3, 3, 3, 3, 3, 4]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 207));
    }
}
