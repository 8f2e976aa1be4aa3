//! openraft's own suite for log storage and state machines, on every backend.

use std::sync::Arc;

use openraft::StorageError;
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId as _;

use super::applier::Core;
use super::snapshot::Contents;
use super::soundness::Soundness;
use super::types::{LogId, Runtime, StoredMembership, TypeConfig};
use super::{Applier, LogStore, Snapshots};
use crate::alarm::Alarm;
use crate::log::{DiskLog, FaultyBackend, FaultyDisk, LogBackend, MemBackend};
use crate::machine::Machine;
use crate::seams::HashSeed;

type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;

/// Builds a fresh backend with a guard that outlives it.
struct Fresh<G>(fn() -> (G, Box<dyn LogBackend>));

impl<G: Send + Sync + 'static> StoreBuilder<TypeConfig, LogStore, Applier, G> for Fresh<G> {
    async fn build(&self) -> Result<(G, LogStore, Applier), StorageError<TypeConfig>> {
        let (guard, backend) = (self.0)();
        let log = LogStore::open(backend, Alarm::default()).expect("a fresh log is readable");
        let machine = Machine::new(mvcc::State::default(), HashSeed(0));
        let core = Core::new(machine, Arc::new(Soundness::new(1)));
        Ok((guard, log, Applier::new(core, Snapshots::nowhere(), Alarm::default())))
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
        Snapshots::Memory(Arc::default()),
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
