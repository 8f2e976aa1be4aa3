//! The contract of a [`LogBackend`], run by every implementation: after any sequence of commits, each
//! reopening finds what a list in memory would hold.
//!
//! The sequences are random; the list is written here and shares no code with any backend.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{DiskLog, FaultyBackend, FaultyDisk, LogBackend, MemBackend, Op, Record, Recovered};

/// A step of a sequence. Indexes are relative, so that every sequence is a valid one.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Truncate { back: u64 },
    Purge { ahead: u64 },
    Vote(u8),
    Committed(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let small = prop::collection::vec(0_usize..3000, 1..40);
    // Around and above the size of a small segment.
    let large = prop::collection::vec(prop_oneof![65_500_usize..65_560, 100_000_usize..300_000], 1..3);
    prop_oneof![
        4 => small.prop_map(Step::Append),
        1 => large.prop_map(Step::Append),
        2 => (0_u64..30).prop_map(|back| Step::Truncate { back }),
        2 => (0_u64..30).prop_map(|ahead| Step::Purge { ahead }),
        1 => any::<u8>().prop_map(Step::Vote),
        1 => any::<u8>().prop_map(Step::Committed),
        2 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    records: BTreeMap<u64, Bytes>,
    purged: Option<u64>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
}

impl Model {
    fn next_index(&self) -> u64 {
        let last = self.records.last_key_value().map(|(index, _)| *index).max(self.purged);
        last.map_or(0, |last| last + 1)
    }

    /// The operation a step stands for, after taking it into the model.
    fn take(&mut self, step: &Step) -> Option<Op> {
        match step {
            Step::Append(sizes) => {
                let first = self.next_index();
                let records: Vec<Record> =
                    (first..).zip(sizes).map(|(index, size)| record(index, *size)).collect();
                self.records.extend(records.iter().map(|record| (record.index, record.bytes.clone())));
                Some(Op::Append(records))
            }
            Step::Truncate { back } => {
                let lowest = self.purged.map_or(0, |purged| purged + 1);
                let from = self.next_index().saturating_sub(*back).max(lowest);
                self.records.split_off(&from);
                Some(Op::Truncate { from })
            }
            Step::Purge { ahead } => {
                let through = self.purged.map_or(*ahead, |purged| purged + ahead);
                self.records.retain(|index, _| *index > through);
                self.purged = Some(through);
                Some(Op::Purge { through, marker: marker(through) })
            }
            Step::Vote(vote) => {
                self.vote = Some(Bytes::from(vec![*vote]));
                self.vote.clone().map(Op::Vote)
            }
            Step::Committed(committed) => {
                self.committed = Some(Bytes::from(vec![*committed]));
                self.committed.clone().map(Op::Committed)
            }
            Step::Reopen => None,
        }
    }

    /// Around the newest half, which begins and ends in the middle of what was written together.
    fn some_range(&self) -> Range<u64> {
        let (next, length) = (self.next_index(), self.records.len() as u64);
        next - length.div_ceil(2)..next.saturating_sub(length / 5) + 1
    }

    fn range(&self, indexes: Range<u64>) -> Vec<Record> {
        if indexes.is_empty() {
            return Vec::new();
        }
        let records = self.records.range(indexes);
        records.map(|(index, bytes)| Record { index: *index, bytes: bytes.clone() }).collect()
    }

    fn expected(&self) -> Recovered {
        let records = self.records.iter();
        Recovered {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.map(marker),
            records: records.map(|(index, bytes)| Record { index: *index, bytes: bytes.clone() }).collect(),
        }
    }
}

fn record(index: u64, size: usize) -> Record {
    let seed = index.wrapping_mul(31).to_le_bytes();
    Record { index, bytes: seed.iter().copied().cycle().take(size).collect::<Vec<u8>>().into() }
}

fn marker(through: u64) -> Bytes {
    Bytes::from(format!("purged through {through}"))
}

/// Runs sequences; `open` is called again for each reopening, after the backend before is gone.
fn holds<Home>(
    cases: u32,
    home: impl Fn() -> Home,
    open: impl Fn(&mut Home, Option<Box<dyn LogBackend>>) -> Box<dyn LogBackend>,
) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..25), |steps| {
        let mut home = home();
        let mut model = Model::default();
        let mut backend = open(&mut home, None);
        prop_assert_eq!(backend.load()?, Recovered::default());
        for step in steps.iter().chain([&Step::Reopen]) {
            match model.take(step) {
                Some(op) => {
                    backend.commit(vec![op])?;
                    let range = model.some_range();
                    prop_assert_eq!(backend.read(range.clone())?, model.range(range));
                }
                None => {
                    backend = open(&mut home, Some(backend));
                    prop_assert_eq!(backend.load()?, model.expected());
                    prop_assert_eq!(backend.read(0..u64::MAX)?, model.expected().records);
                }
            }
        }
        prop_assert_eq!(backend.stats().stray_files, 0);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn memory_keeps_the_contract_while_it_lives() {
    holds(100, || (), |(), before| before.unwrap_or_else(|| Box::new(MemBackend::default())));
}

#[test]
fn a_faulty_disk_keeps_the_contract_across_power_cuts() {
    holds(100, FaultyDisk::default, |disk, before| {
        drop(before);
        disk.cut_power();
        Box::new(FaultyBackend::open(disk))
    });
}

#[test]
fn a_directory_keeps_the_contract_across_reopening() {
    let dir = || tempfile::tempdir().expect("a writable temporary directory");
    holds(24, dir, |dir, before| {
        drop(before);
        Box::new(DiskLog::open(dir.path()).expect("the directory is free and whole"))
    });
}

/// With segments so small that one is begun and others are given up all the time.
#[test]
fn a_directory_with_small_segments_keeps_the_contract_across_reopening() {
    let dir = || tempfile::tempdir().expect("a writable temporary directory");
    holds(24, dir, |dir, before| {
        drop(before);
        Box::new(DiskLog::open_with(dir.path(), 50_000).expect("the directory is free and whole"))
    });
}

/// What a crash of sled's own making leaves must not stop the next start.
#[test]
fn a_log_opens_over_an_unfinished_file_of_sleds() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let mut backend = DiskLog::open(dir.path()).expect("an empty directory");
    backend.load().expect("readable");
    backend.commit(vec![Op::Append(vec![record(0, 10)])]).expect("writable");
    drop(backend);
    std::fs::write(dir.path().join("snap.0000000000000FFF.generating"), b"half").expect("writable");

    let mut backend = DiskLog::open(dir.path()).expect("the unfinished file is removed");

    assert_eq!(backend.load().expect("readable").records, [record(0, 10)]);
}

/// However much went through it, a log takes what it holds and some files to be used again.
#[test]
fn a_log_gives_space_back_when_it_is_purged() {
    let home = tempfile::tempdir().expect("a writable temporary directory");
    let dir = home.path().join("raft");
    let mut backend = DiskLog::open(&dir).expect("an empty directory");
    backend.load().expect("readable");
    for first in (0..640).step_by(64) {
        let records = (first..first + 64).map(|index| record(index, 60_000)).collect();
        backend.commit(vec![Op::Append(records)]).expect("writable");
    }
    let before = backend.stats().disk_bytes;
    assert!(before > 32 << 20, "{before}");
    backend.commit(vec![Op::Purge { through: 637, marker: marker(637) }]).expect("writable");
    let after = backend.stats().disk_bytes;
    assert!(after < before / 2, "{after} of {before}");
    assert_eq!(backend.stats().stray_files, 0);
}

/// Each row is what a crash in the middle of a swap left, and whose records must be found.
#[test]
fn an_interrupted_swap_is_brought_to_its_end() {
    for (left, found) in [
        (&["raft", "raft.new"][..], "raft"),
        (&["raft.old", "raft.new"], "raft.new"),
        (&["raft.old"], "raft.old"),
        (&["raft.old", "raft"], "raft"),
    ] {
        let home = tempfile::tempdir().expect("a writable temporary directory");
        for name in left {
            let dir = home.path().join(name);
            std::fs::create_dir(&dir).expect("writable");
            std::fs::write(dir.join("is"), name).expect("writable");
        }

        super::rebuild::finish(&home.path().join("raft")).expect("writable");

        let kept = std::fs::read_to_string(home.path().join("raft/is")).expect("there is a log");
        assert_eq!(kept, found, "after {left:?}");
        assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 1, "after {left:?}");
    }
}
