//! Random numbers that follow from a seed and nothing else.
//!
//! Every task has a stream of its own, named after it: adding a client or a fault does not change what
//! the others draw.

use std::ops::RangeInclusive;

/// A stream of random numbers (SplitMix64: its whole state is one number).
#[derive(Debug, Clone)]
pub struct Stream(u64);

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream for a task, from this one's seed and the task's name. Draws nothing from this one.
    pub fn named(&self, name: &str, number: u64) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut stream = Self(self.0 ^ hash ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // The first output mixes the bits of seeds that lie side by side.
        Self(stream.draw())
    }

    /// Sixty-four random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in a range.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.draw() % (high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.draw() % from.len() as u64).expect("an index into memory")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeatable() {
        let drawn = |seed, name| Stream::new(seed).named(name, 0).draw();
        assert_eq!(drawn(1, "client"), drawn(1, "client"));
        assert_ne!(drawn(1, "client"), drawn(2, "client"));
        assert_ne!(drawn(1, "client"), drawn(1, "disk"));
    }

    #[test]
    fn a_range_includes_its_ends() {
        let mut stream = Stream::new(7);
        let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| stream.within(3..=5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
