//! What a seed means: how long, how many, how small, and which faults when. Pure.

use std::time::Duration;

use raft_store::Limits;

use crate::seed::Stream;

/// What the nemesis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Cuts the power. Of what is written and not synced, so many operations survive.
    Cut {
        /// Operations that survive.
        torn: usize,
    },
    /// Cuts the power in the middle of the next commit.
    CutInCommit {
        /// Operations of it that survive.
        torn: usize,
    },
    /// Fills the disk.
    Fill {
        /// For so long.
        for_ms: u64,
    },
    /// Fails a commit between its write and its sync.
    InputOutput,
    /// Makes commits slow.
    Slow {
        /// Each takes so long.
        pause_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Stops the store and starts it again.
    Restart,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Clients that read and write.
    pub clients: u64,
    /// Longest pause of a client between two calls.
    pub think_ms: u64,
    /// Watchers besides the one for each resource.
    pub watchers: u64,
    /// How long faults go on.
    pub storm_ms: u64,
    /// How fast the disk is when nothing slows it.
    pub disk_ms: u64,
    /// Bounds so small that they matter.
    pub limits: Limits,
    /// When what happens, in order of time.
    pub faults: Vec<(u64, Fault)>,
}

impl Plan {
    /// The run of a seed.
    pub fn of(seed: &Stream) -> Self {
        let mut draw = seed.named("plan", 0);
        // Eager clients meet more often in less time; idle ones see more of what takes long.
        let (think_ms, storm_ms) = draw.pick(&[(20, 1_500), (60, 2_500), (150, 5_000)]);
        let storm_ms = storm_ms + draw.within(0..=1_500);
        let mut faults: Vec<(u64, Fault)> =
            (0..draw.within(1..=5)).map(|_| (draw.within(50..=storm_ms), fault(&mut draw))).collect();
        faults.sort_by_key(|(at_ms, _)| *at_ms);
        Self {
            clients: draw.within(2..=4),
            think_ms,
            watchers: draw.within(1..=4),
            storm_ms,
            disk_ms: draw.pick(&[0, 0, 1, 4]),
            limits: limits(&mut draw),
            faults,
        }
    }
}

fn fault(draw: &mut Stream) -> Fault {
    match draw.within(0..=11) {
        0 | 1 => Fault::Cut { torn: index(draw.within(0..=3)) },
        2..=4 => Fault::CutInCommit { torn: index(draw.within(0..=6)) },
        5 | 6 => Fault::Fill { for_ms: draw.within(1..=3_000) },
        7 | 8 => Fault::InputOutput,
        9 | 10 => Fault::Slow { pause_ms: draw.within(5..=400), for_ms: draw.within(100..=2_000) },
        _ => Fault::Restart,
    }
}

fn limits(draw: &mut Stream) -> Limits {
    Limits {
        history_bytes_max: 1 << 20,
        history_changes_max: index(draw.pick(&[30, 100, 1_000, 10_000])),
        history_age_max: Duration::from_secs(draw.pick(&[60, 600])),
        log_bytes_max: index(draw.pick(&[2_000, 20_000, 1_000_000])),
        log_keep_bytes: 1 << 20,
        log_keep_entries: index(draw.pick(&[0, 5, 2_000])),
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("drawn from a small range")
}
