//! Every check fires: a store with a bug put in on purpose does not get past it.

use chaos::bugs::Bug;
use chaos::sim;
use clap::ValueEnum as _;

/// Seeds a bug may take to be found.
const SEEDS_MAX: u64 = 60;

/// Returns the seed in which a check of a promise that the bug breaks fires.
fn found(bug: Bug) -> Option<u64> {
    (1..=SEEDS_MAX).find(|seed| {
        let violations = sim::run(*seed, Some(bug)).violations;
        violations.iter().any(|violation| bug.breaks().contains(&violation.promise))
    })
}

#[test]
fn every_bug_is_found_by_the_check_of_what_it_breaks() {
    let missed: Vec<&Bug> = Bug::value_variants().iter().filter(|bug| found(**bug).is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}: not found in {SEEDS_MAX} seeds");
}
