//! openraft's own suite for log storage and state machines, on every backend.

use openraft::StorageError;
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::testing::log::{StoreBuilder, Suite};

use super::applier::Core;
use super::types::{Runtime, TypeConfig};
use super::{Applier, LogStore, Snapshots};
use crate::log::{DiskLog, FaultyBackend, FaultyDisk, LogBackend, MemBackend, SledBackend};
use crate::machine::Machine;
use crate::seams::HashSeed;

/// Builds a fresh backend with a guard that outlives it.
struct Fresh<G>(fn() -> (G, Box<dyn LogBackend>));

impl<G: Send + Sync + 'static> StoreBuilder<TypeConfig, LogStore, Applier, G> for Fresh<G> {
    async fn build(&self) -> Result<(G, LogStore, Applier), StorageError<TypeConfig>> {
        let (guard, backend) = (self.0)();
        let log = LogStore::open(backend).expect("a fresh log is readable");
        let machine = Machine::new(mvcc::State::default(), HashSeed(0));
        Ok((guard, log, Applier::new(Core::new(machine), Snapshots::nowhere())))
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
async fn on_sled() {
    passes(|| {
        let dir = tempfile::tempdir().expect("a writable temporary directory");
        let backend = SledBackend::open(dir.path()).expect("an empty directory");
        (dir, Box::new(backend) as Box<dyn LogBackend>)
    })
    .await;
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
