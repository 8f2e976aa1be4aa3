//! Clock, randomness and hash seeds come from outside, so that a run can be repeated from a seed.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time. Only the leader's housekeeping asks it; apply never does.
pub trait Clock: Send + Sync {
    /// Time since the Unix epoch.
    fn now(&self) -> Duration;
}

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// Sixty-four random bits.
    fn next(&self) -> u64;
}

/// Seeds the store's hash maps. None of them is iterated, so that order never depends on it; the seed
/// keeps a client from choosing names that collide.
#[derive(Debug, Clone, Copy, Default)]
pub struct HashSeed(pub u64);

impl BuildHasher for HashSeed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// Everything the store takes from the world besides its disk and its peers.
#[derive(Clone)]
pub struct Seams {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Proposal ids.
    pub random: Arc<dyn Random>,
    /// Hash maps.
    pub hash_seed: HashSeed,
}

impl Seams {
    /// The real clock and the operating system's randomness.
    pub fn system() -> Self {
        let seed = HashSeed(Random::next(&SystemRandom));
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), hash_seed: seed }
    }

    /// A clock that stands still and numbers that follow from a seed.
    pub fn seeded(seed: u64) -> Self {
        let random = SeededRandom { state: Mutex::new(seed) };
        Self { clock: Arc::new(FrozenClock), random: Arc::new(random), hash_seed: HashSeed(seed) }
    }
}

impl fmt::Debug for Seams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seams").finish_non_exhaustive()
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

struct SystemRandom;

/// Numbers a thread takes at once: asking for one costs the generator as much as asking for all of these.
const RANDOM_BATCH: usize = 64;

thread_local! {
    /// Numbers not given out yet, at the end of it.
    static RANDOM: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Random for SystemRandom {
    fn next(&self) -> u64 {
        RANDOM.with_borrow_mut(|numbers| {
            if numbers.is_empty() {
                let mut bytes = [0; 8 * RANDOM_BATCH];
                aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has randomness");
                let (chunks, _) = bytes.as_chunks();
                numbers.extend(chunks.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
            numbers.pop().expect("filled above")
        })
    }
}

struct FrozenClock;

impl Clock for FrozenClock {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// SplitMix64: equidistributed, and its whole state is one number.
struct SeededRandom {
    state: Mutex<u64>,
}

impl Random for SeededRandom {
    fn next(&self) -> u64 {
        let mut state = self.state.lock().expect("no panic while the lock is held");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
