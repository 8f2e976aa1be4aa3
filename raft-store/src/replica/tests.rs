//! openraft's own suite for log storage and state machines, on every backend.

use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId as _;
use openraft::{EntryPayload, RaftLogReader as _, StorageError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::applier::Core;
use super::shelf::Shelf;
use super::snapshot::Contents;
use super::soundness::Soundness;
use super::types::{Entry, LogId, Runtime, StoredMembership, TypeConfig};
use super::{Applier, LogStore, Snapshots};
use crate::alarm::Alarm;
use crate::log::{DiskLog, FaultyBackend, FaultyDisk, LogBackend, MemBackend};
use crate::machine::Machine;
use crate::seams::HashSeed;

/// What a log lives through. Numbers are relative, so that every sequence is a valid one.
#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Apply { ahead: u64 },
    Truncate { back: u64 },
    Purge { ahead: u64 },
    Read { from: u64, length: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..9).prop_map(Step::Append),
        3 => (0_u64..9).prop_map(|ahead| Step::Apply { ahead }),
        1 => (0_u64..9).prop_map(|back| Step::Truncate { back }),
        1 => (0_u64..9).prop_map(|ahead| Step::Purge { ahead }),
        3 => (0_u64..60, 0_u64..30).prop_map(|(from, length)| Step::Read { from, length }),
    ]
}

/// Whatever stays in memory, a log says the same.
async fn says_the_same(mut log: LogStore, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut whole = LogStore::in_memory();
    let (mut next, mut applied, mut purged) = (0_u64, 0_u64, 0_u64);
    for step in steps {
        match step {
            Step::Append(count) => {
                let entries: Vec<Entry> = (next..next + count)
                    .map(|index| Entry::new(log_id(index), EntryPayload::Blank))
                    .collect();
                log.append(entries.clone(), IOFlushed::noop()).await?;
                whole.append(entries, IOFlushed::noop()).await?;
                next += count;
            }
            Step::Apply { ahead } if next > 0 => {
                applied = (applied + ahead).min(next - 1);
                log.applied(applied);
            }
            Step::Truncate { back } if next > applied + 1 => {
                next = next.saturating_sub(*back).max(applied + 1);
                log.truncate_after(Some(log_id(next - 1))).await?;
                whole.truncate_after(Some(log_id(next - 1))).await?;
            }
            Step::Purge { ahead } if next > 0 => {
                purged = (purged + ahead).min(applied);
                log.purge(log_id(purged)).await?;
                whole.purge(log_id(purged)).await?;
            }
            Step::Read { from, length } => {
                let range = *from..from + length;
                let (read, expected) =
                    (log.try_get_log_entries(range.clone()).await?, whole.try_get_log_entries(range).await?);
                prop_assert_eq!(read, expected);
            }
            Step::Apply { .. } | Step::Truncate { .. } | Step::Purge { .. } => {}
        }
        prop_assert_eq!(
            (log.last(), log.purged(), log.bytes()),
            (whole.last(), whole.purged(), whole.bytes())
        );
        prop_assert_eq!(log.purge_point(500, 5), whole.purge_point(500, 5));
    }
    Ok(())
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId::new(1, 0).to_committed(), index)
}

#[test]
fn a_log_says_the_same_whatever_stays_in_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a thread");
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let sequences = (prop::collection::vec(step(), 1..60), prop::sample::select(vec![0, 300, 1000]));
    let outcome = runner.run(&sequences, |(steps, held)| {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let backends: [Box<dyn LogBackend>; 2] = [
            Box::new(FaultyBackend::open(&FaultyDisk::default())),
            Box::new(DiskLog::open(dir.path()).expect("an empty directory")),
        ];
        for backend in backends {
            let log = LogStore::open(backend, held, Alarm::default()).expect("a fresh log is readable");
            runtime.block_on(says_the_same(log, &steps))?;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;

/// Builds a fresh backend with a guard that outlives it.
struct Fresh<G>(fn() -> (G, Box<dyn LogBackend>));

impl<G: Send + Sync + 'static> StoreBuilder<TypeConfig, LogStore, Applier, G> for Fresh<G> {
    async fn build(&self) -> Result<(G, LogStore, Applier), StorageError<TypeConfig>> {
        let (guard, backend) = (self.0)();
        let log = LogStore::open(backend, 0, Alarm::default()).expect("a fresh log is readable");
        let machine = Machine::new(mvcc::State::default(), HashSeed(0));
        let core = Core::new(machine, Arc::new(Soundness::new(1)));
        let applier = Applier::new(core, log.clone(), Snapshots::nowhere(), Alarm::default());
        Ok((guard, log, applier))
    }
}

async fn passes<G: Send + Sync + 'static>(fresh: fn() -> (G, Box<dyn LogBackend>)) {
    let suite = Suite::test_all(Fresh(fresh));
    DeterministicRng::<Runtime>::scope(1, suite).await.expect("the suite passes");
}

#[tokio::test(start_paused = true)]
async fn in_memory() {
    passes(|| ((), Box::new(MemBackend::default()))).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_faulty_disk_without_faults() {
    passes(|| ((), Box::new(FaultyBackend::open(&FaultyDisk::default())))).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_directory() {
    passes(|| {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let backend = DiskLog::open(dir.path()).expect("an empty directory");
        (dir, Box::new(backend) as Box<dyn LogBackend>)
    })
    .await;
}

/// A member's own snapshot may be finished after a newer one has come from the leader. When it replaced that one, the
/// log was cut behind a snapshot that was gone, and the member never started again.
#[test]
fn an_older_snapshot_that_comes_late_replaces_nothing() {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let places = [
        Snapshots::nowhere(),
        Snapshots::Memory(Shelf::default()),
        Snapshots::in_dir(dir.path()).expect("a writable directory"),
    ];
    for snapshots in places {
        let at = |index| Contents {
            state: mvcc::State::default(),
            last_applied: Some(LogId::new(LeaderId::new(1, 0).to_committed(), index)),
            membership: StoredMembership::default(),
        };
        for (index, newest) in [(80, 80), (92, 92), (85, 92), (93, 93)] {
            snapshots.save(&at(index)).expect("the place takes it");
            let current = snapshots.current().expect("it is readable").expect("there is one");
            assert_eq!(current.meta.last_log_id.map(|id| id.index()), Some(newest), "{snapshots:?}");
        }
    }
}
