//! Every check fires: a store with a bug put in on purpose does not get past it.

use chaos::bugs::Bug;
use chaos::sim;
use clap::ValueEnum as _;

/// The seed in which a bug was found, kept so that it is found again. After a change of the plan or the workload
/// `cargo run -p chaos -- sim --bug BUG --seeds 1..40` finds another one.
const fn seed(bug: Bug) -> u64 {
    match bug {
        Bug::UnknownRepeated | Bug::FollowerReadsStale | Bug::StatesNotCompared => 2,
        Bug::ReadsNeedDisk => 4,
        Bug::VisibleBeforeCommit => 17,
        Bug::SnapshotForgets => 22,
        _ => 1,
    }
}

/// Whether a check of a promise that the bug breaks fires.
fn is_found(bug: Bug) -> bool {
    let violations = sim::run(seed(bug), Some(bug)).violations;
    violations.iter().any(|violation| bug.breaks().contains(&violation.promise))
}

#[test]
fn every_bug_is_found_by_the_check_of_what_it_breaks() {
    let missed: Vec<&Bug> = Bug::value_variants().iter().filter(|bug| !is_found(**bug)).collect();
    assert!(missed.is_empty(), "{missed:?}: not found in their seeds");
}
