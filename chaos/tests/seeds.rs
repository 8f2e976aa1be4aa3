//! Seeds that must pass, and the same seed twice.

use chaos::{sim, trace};

/// Enough to meet every fault in every state now and then; CI runs more with the program.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

#[test]
fn the_store_keeps_its_promises() {
    let mut failed = Vec::new();
    let mut events = 0;
    sim::run_all(SEEDS, None, |run| {
        events += run.trace.len();
        if !run.passed() {
            failed.push(format!("seed {}: {}", run.seed, run.violations[0]));
        }
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(events > 50_000, "{events} events: the runs have become empty");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1 << 40] {
        let (first, second) = (sim::run(seed, None), sim::run(seed, None));
        assert_eq!(trace::render(&first.trace), trace::render(&second.trace), "seed {seed}");
    }
    assert_ne!(sim::run(1, None).trace, sim::run(2, None).trace);
}
