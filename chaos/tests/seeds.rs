//! Seeds that must pass, what happens in them, and the same seed twice.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use chaos::tally::{self, Tally};
use chaos::{check, sim, trace};

/// Enough to meet every fault in every state now and then; CI runs more with the program.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

#[test]
fn the_store_keeps_its_promises() {
    let mut failed = Vec::new();
    let (mut events, mut tally) = (0, Tally::default());
    sim::run_all(SEEDS, None, None, |run| {
        events += run.trace.len();
        tally.merge(&run.tally);
        if !run.passed() {
            failed.push(format!("seed {}: {}", run.seed, run.violations[0]));
        }
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(events > 50_000, "{events} events: the runs have become empty");
    let missing = missing(&tally);
    assert!(missing.is_empty(), "never happened: {missing:?} in\n{tally}");
}

/// What a simulation must have met, by the name it is counted as.
fn missing(tally: &Tally) -> Vec<(&'static str, &'static str, &'static str)> {
    let faults = [
        "power of all",
        "power",
        "power, in a commit",
        "disk full",
        "disk error",
        "disk slow",
        "restart",
        "clock set back",
        "clock set forward",
        "partition: one alone",
        "partition: one deaf",
        "partition: one mute",
        "partition: a bridge",
        "partition: one way",
        "partition: islands",
        "messages lost",
        "messages twice",
        "messages slow",
        "leadership handed over",
        "disk lost, old member first",
        "disk lost, new member first",
        "member retired",
    ];
    let disks = ["committed", "no space", "sync failed", "cut by the power, torn", "log read"];
    let members = ["booted", "began to lead", "admitted", "removed"];
    let watches = ["resumed", "refused: history is forgotten", "power"];
    // One that is rare may not be doubled in so few runs.
    let messages = ["append", "heartbeat", "vote", "snapshot", "read index", "propose"];
    let troubles = [tally::ANSWERED, tally::LOST, tally::TWICE, tally::CUT_OFF];
    let messages = messages.iter().flat_map(|kind| troubles.map(|trouble| (tally::MESSAGES, *kind, trouble)));
    let reset = ["append", "heartbeat", "propose"].map(|kind| (tally::MESSAGES, kind, tally::RESET));
    let rare = ["transfer", "admit", "pre-vote"].map(|kind| (tally::MESSAGES, kind, tally::ANSWERED));
    let cells = messages.chain(reset).chain(rare);
    let cells = cells.chain(faults.map(|fault| (tally::FAULTS, fault, tally::INSTALLED)));
    let cells = cells.chain(disks.map(|what| (tally::DISKS, what, tally::TIMES)));
    let cells = cells.chain(members.map(|what| (tally::MEMBERS, what, tally::TIMES)));
    let cells = cells.chain(watches.map(|what| (tally::WATCHES, what, tally::TIMES)));
    let cells = cells.chain(check::promises().map(|promise| (tally::CHECKS, promise, tally::LOOKED_AT)));
    cells.filter(|(table, row, column)| tally.get(table, row, column) == 0).collect()
}

#[test]
fn how_many_run_at_a_time_changes_nothing() {
    let traces = |jobs| {
        let mut traces = BTreeMap::new();
        let take = |run: sim::Run| drop(traces.insert(run.seed, trace::render(&run.trace)));
        sim::run_all(1..=12, None, NonZeroUsize::new(jobs), take);
        traces
    };
    assert_eq!(traces(1), traces(5));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1 << 40] {
        let (first, second) = (sim::run(seed, None), sim::run(seed, None));
        assert_eq!(trace::render(&first.trace), trace::render(&second.trace), "seed {seed}");
    }
    assert_ne!(sim::run(1, None).trace, sim::run(2, None).trace);
}
