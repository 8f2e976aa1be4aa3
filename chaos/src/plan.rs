//! What a seed means: how long, how many, how small, and which faults when. Pure.

use std::time::Duration;

use raft_store::Limits;

use crate::seed::Stream;

/// Members of a cluster that is more than one.
pub const MEMBERS: usize = 3;

/// Of a hundred seeds, those that have a sole member.
const SOLE_PERCENT: u64 = 15;

/// Whom a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The computer of this number, from 0.
    One(usize),
    /// Whichever leads at that time.
    Leader,
    /// Every computer.
    All,
}

/// Who does not hear whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One hears nobody and is heard by nobody.
    Alone(Target),
    /// One hears nobody.
    Deaf(Target),
    /// One is heard by nobody.
    Mute(Target),
    /// All but this one hear each other no more.
    Bridge(Target),
    /// One does not hear one other.
    OneWay {
        /// The speaker.
        from: usize,
        /// The one that does not hear it.
        to: usize,
    },
    /// Nobody hears anybody.
    Islands,
}

/// What the nemesis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Cuts the power. Of what is written and not synced, so many operations survive.
    Cut {
        /// Whose.
        of: Target,
        /// Operations that survive.
        torn: usize,
    },
    /// Cuts the power in the middle of the next commit.
    CutInCommit {
        /// Whose.
        of: Target,
        /// Operations of it that survive.
        torn: usize,
    },
    /// Fills the disk.
    Fill {
        /// Whose.
        of: Target,
        /// For so long.
        for_ms: u64,
    },
    /// Fails a commit between its write and its sync.
    InputOutput {
        /// Whose.
        of: Target,
    },
    /// Makes commits slow.
    Slow {
        /// Whose.
        of: Target,
        /// Each takes so long.
        pause_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Stops the store and starts it again.
    Restart {
        /// Whose.
        of: Target,
    },
    /// Sets the clock.
    ClockJump {
        /// Whose.
        of: Target,
        /// By so much, also back.
        by_ms: i64,
    },
    /// Cuts wires.
    Partition {
        /// Which.
        shape: Shape,
        /// Whether the sender is not even told.
        is_silent: bool,
        /// For so long.
        for_ms: u64,
    },
    /// Loses messages.
    Lose {
        /// So many of a hundred.
        percent: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Delivers messages twice.
    Double {
        /// So many of a hundred.
        percent: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Makes one computer's messages slow, in both directions.
    SlowLink {
        /// Whose.
        of: Target,
        /// Up to so much.
        delay_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Lets another member lead.
    Transfer,
    /// Ends a member with its disk for good and puts a new one in its place.
    Replace {
        /// Whose.
        of: Target,
        /// Whether the old one goes before the new one comes.
        is_removed_first: bool,
    },
    /// Removes a member and takes it back, with the disk it has.
    Retire {
        /// Whose.
        of: Target,
        /// For so long.
        for_ms: u64,
    },
}

impl Fault {
    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut { of: Target::All, .. } => "power of all",
            Self::Cut { .. } => "power",
            Self::CutInCommit { .. } => "power, in a commit",
            Self::Fill { .. } => "disk full",
            Self::InputOutput { .. } => "disk error",
            Self::Slow { .. } => "disk slow",
            Self::Restart { .. } => "restart",
            Self::ClockJump { by_ms, .. } if *by_ms < 0 => "clock set back",
            Self::ClockJump { .. } => "clock set forward",
            Self::Partition { shape, .. } => match shape {
                Shape::Alone(_) => "partition: one alone",
                Shape::Deaf(_) => "partition: one deaf",
                Shape::Mute(_) => "partition: one mute",
                Shape::Bridge(_) => "partition: a bridge",
                Shape::OneWay { .. } => "partition: one way",
                Shape::Islands => "partition: islands",
            },
            Self::Lose { .. } => "messages lost",
            Self::Double { .. } => "messages twice",
            Self::SlowLink { .. } => "messages slow",
            Self::Transfer => "leadership handed over",
            Self::Replace { is_removed_first: true, .. } => "disk lost, old member first",
            Self::Replace { .. } => "disk lost, new member first",
            Self::Retire { .. } => "member retired",
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Computers, each with one member.
    pub members: usize,
    /// Clients that read and write.
    pub clients: u64,
    /// Longest pause of a client between two calls.
    pub think_ms: u64,
    /// Watchers besides the one for each resource.
    pub watchers: u64,
    /// How long faults go on.
    pub storm_ms: u64,
    /// How fast the disks are when nothing slows them.
    pub disk_ms: u64,
    /// Longest way of a message that nothing slows.
    pub network_ms: u64,
    /// Bounds so small that they matter.
    pub limits: Limits,
    /// When what happens, in order of time.
    pub faults: Vec<(u64, Fault)>,
}

impl Plan {
    /// The run of a seed.
    pub fn of(seed: &Stream) -> Self {
        let mut draw = seed.named("plan", 0);
        let members = if draw.percent(SOLE_PERCENT) { 1 } else { MEMBERS };
        // Eager clients meet more often in less time; idle ones see more of what takes long.
        let (think_ms, storm_ms) = draw.pick(&[(20, 1_500), (60, 2_500), (150, 5_000)]);
        // An election takes a second: faults have to last longer than it to be more than one event.
        let longer_ms = if members == 1 { 0 } else { 1_500 };
        let storm_ms = storm_ms + longer_ms + draw.within(0..=1_500);
        let many = draw.within(1..=if members == 1 { 5 } else { 7 });
        let mut faults: Vec<(u64, Fault)> =
            (0..many).map(|_| (draw.within(50..=storm_ms), fault(&mut draw, members))).collect();
        faults.sort_by_key(|(at_ms, _)| *at_ms);
        Self {
            members,
            clients: draw.within(2..=4),
            think_ms,
            watchers: draw.within(1..=4),
            storm_ms,
            disk_ms: draw.pick(&[0, 0, 1, 4]),
            network_ms: draw.pick(&[1, 1, 3, 20]),
            limits: limits(&mut draw),
            faults,
        }
    }
}

fn fault(draw: &mut Stream, members: usize) -> Fault {
    if members > 1 && draw.percent(55) {
        return fault_between(draw, members);
    }
    let of = target(draw, members);
    match draw.within(0..=12) {
        0 | 1 => {
            let of = if draw.percent(25) { Target::All } else { of };
            Fault::Cut { of, torn: index(draw.within(0..=3)) }
        }
        2..=4 => Fault::CutInCommit { of, torn: index(draw.within(0..=6)) },
        5 | 6 => Fault::Fill { of, for_ms: draw.within(1..=3_000) },
        7 | 8 => Fault::InputOutput { of },
        9 | 10 => Fault::Slow { of, pause_ms: draw.within(5..=400), for_ms: draw.within(100..=2_000) },
        11 => Fault::Restart { of },
        _ => {
            let by_ms = i64::try_from(draw.within(0..=3_600_000)).expect("an hour");
            Fault::ClockJump { of, by_ms: if draw.percent(50) { by_ms } else { -by_ms } }
        }
    }
}

/// What only a cluster can suffer.
fn fault_between(draw: &mut Stream, members: usize) -> Fault {
    let of = target(draw, members);
    let for_ms = draw.within(50..=4_000);
    match draw.within(0..=15) {
        0..=5 => Fault::Partition { shape: shape(draw, members), is_silent: draw.percent(50), for_ms },
        6 | 7 => Fault::Lose { percent: draw.within(5..=60), for_ms },
        8 => Fault::Double { percent: draw.within(10..=80), for_ms },
        9 => Fault::SlowLink { of, delay_ms: draw.within(10..=800), for_ms },
        10 | 11 => Fault::Transfer,
        12 | 13 => Fault::Replace { of, is_removed_first: draw.percent(50) },
        _ => Fault::Retire { of, for_ms },
    }
}

fn shape(draw: &mut Stream, members: usize) -> Shape {
    let of = target(draw, members);
    match draw.within(0..=7) {
        0..=2 => Shape::Alone(of),
        3 => Shape::Deaf(of),
        4 => Shape::Mute(of),
        5 => Shape::Bridge(of),
        6 => {
            let (from, step) = (one(draw, members), index(draw.within(1..=members as u64 - 1)));
            Shape::OneWay { from, to: (from + step) % members }
        }
        _ => Shape::Islands,
    }
}

fn target(draw: &mut Stream, members: usize) -> Target {
    if members > 1 && draw.percent(40) { Target::Leader } else { Target::One(one(draw, members)) }
}

fn one(draw: &mut Stream, members: usize) -> usize {
    index(draw.within(0..=members as u64 - 1))
}

fn limits(draw: &mut Stream) -> Limits {
    Limits {
        history_bytes_max: 1 << 20,
        history_changes_max: index(draw.pick(&[30, 100, 1_000, 10_000])),
        history_age_max: Duration::from_secs(draw.pick(&[60, 600])),
        log_bytes_max: index(draw.pick(&[2_000, 20_000, 1_000_000])),
        log_keep_bytes: 1 << 20,
        log_keep_entries: index(draw.pick(&[0, 5, 2_000])),
        log_held_bytes_max: index(draw.pick(&[0, 0, 4_000, 1 << 20])),
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("drawn from a small range")
}
