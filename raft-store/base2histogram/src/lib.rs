//! Counts how large numbers were, in powers of two.
//!
//! openraft keeps statistics of its batches in histograms of a crate of this name, which nothing here reads and no
//! feature leaves out. That crate fills tables for every width a histogram could have, 27 MB that stay for ever. This
//! one has the part of its interface that openraft calls and one counter for each power of two, so the workspace puts
//! it in the other's place.

use std::fmt;
use std::marker::PhantomData;

/// Powers of two in 64 bits, and zero.
const BUCKETS: usize = 65;

/// How many numbers of each size were recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// The number of zeros, then of those with so many significant bits.
    counts: [u64; BUCKETS],
    /// What the other crate labels slots with.
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Without a number.
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], slots: PhantomData }
    }

    /// Takes a number.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Takes the same number several times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let count = &mut self.counts[(u64::BITS - value.leading_zeros()) as usize];
        *count = count.saturating_add(times);
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The size of the smallest number that so large a part of all does not exceed: exact to a factor of two.
    pub fn percentile(&self, part: f64) -> u64 {
        let rank = (self.total() as f64 * part).ceil().max(1.0);
        let mut below = 0.0;
        for (bits, count) in self.counts.iter().enumerate() {
            below += *count as f64;
            if below >= rank {
                return if bits == 0 { 0 } else { 1 << (bits - 1) };
            }
        }
        0
    }

    /// The percentiles that are looked at.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percentile_stats().fmt(formatter)
    }
}

/// Sizes that parts of the numbers do not exceed, each named after its part in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its own name")]
pub struct PercentileStats {
    /// How many numbers there were.
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p1, p50, p99, .. } = self;
        write!(formatter, "{samples} samples, 1% {p1}, 50% {p50}, 99% {p99}")
    }
}

/// Several histograms below each other, a line each.
#[derive(Debug, Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// Without a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.lines.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, stats)| writeln!(formatter, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn a_percentile_is_exact_to_a_factor_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.5), 0);
        (0..1000).for_each(|value| histogram.record(value));
        assert_eq!(histogram.total(), 1000);
        for (part, exact) in [(0.001, 0.0), (0.1, 100.0), (0.5, 500.0), (0.99, 990.0)] {
            let found = histogram.percentile(part) as f64;
            assert!(found <= exact && exact < (2.0 * found).max(1.0), "{part}: {found} for {exact}");
        }
        histogram.record_n(u64::MAX, 1_000_000);
        assert_eq!(histogram.percentile(0.5), 1 << 63);
    }
}
