//! openraft's state machine over the [`Machine`]: committed entries in, one published batch out.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::{Stream, StreamExt as _};
use mvcc::Term;
use openraft::entry::RaftPayload as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder as _};

use super::ledger::Mark;
use super::log_store::LogStore;
use super::snapshot::{Builder, Contents, Image, Snapshot, Snapshots};
use super::soundness::Soundness;
use super::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::alarm::Alarm;
use crate::machine::Machine;

/// Entries published together. A batch is visible at its end, so an endless stream must be cut.
const BATCH_MAX: usize = 4096;

/// The state with its place in the log. It outlives the engine that applies to it: after a failed disk
/// the next engine goes on from here.
pub(crate) struct Core {
    machine: Machine,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    /// Made in the batch under way.
    marks: Vec<Mark>,
    soundness: Arc<Soundness>,
}

/// Applies to the state. The lock is free but while an engine that has failed is being replaced.
pub(crate) struct Applier {
    core: Arc<Mutex<Core>>,
    /// Told what it no longer has to keep at hand.
    log: LogStore,
    snapshots: Snapshots,
    alarm: Alarm,
}

impl Core {
    pub(crate) fn new(machine: Machine, soundness: Arc<Soundness>) -> Arc<Mutex<Self>> {
        let (last_applied, membership, marks) = (None, StoredMembership::default(), Vec::new());
        Arc::new(Mutex::new(Self { machine, last_applied, membership, marks, soundness }))
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(proposal) => {
                let term = Term(entry.log_id.committed_leader_id().term);
                self.machine.apply(&proposal.0, term);
            }
            EntryPayload::Membership(_) => {
                let membership = entry.payload.get_membership().expect("matched above");
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                self.soundness.ledger().elect(self.membership.membership().voter_ids().collect());
            }
        }
        self.last_applied = Some(entry.log_id);
        if Mark::is_due(entry.log_id.index()) {
            self.marks.push(Mark::of(self.machine.state(), entry.log_id.index()));
        }
    }

    fn publish(&mut self) {
        self.machine.publish();
        if let Some(last) = self.last_applied {
            let newest = Mark::of(self.machine.state(), last.index());
            self.soundness.ledger().note(&self.marks, newest);
        }
        self.marks.clear();
    }

    fn contents(&self) -> Contents {
        Contents {
            state: self.machine.state().clone(),
            last_applied: self.last_applied,
            membership: self.membership.clone(),
        }
    }

    fn replace(&mut self, contents: Contents) {
        self.machine.replace(contents.state);
        self.last_applied = contents.last_applied;
        self.membership = contents.membership;
        self.marks.clear();
        let mut ledger = self.soundness.ledger();
        ledger.begin_again();
        ledger.elect(self.membership.membership().voter_ids().collect());
    }

    /// Ends every watch of a state that is wrong.
    pub(super) fn disown(&mut self) {
        self.machine.disown();
    }

    /// Puts another state in the place of one that is wrong. Whoever began to watch it meanwhile has to begin again.
    pub(super) fn restore(&mut self, contents: Contents) {
        self.disown();
        self.replace(contents);
    }

    /// The state, for tests that spoil it.
    #[cfg(test)]
    pub(super) fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }
}

impl Applier {
    pub(crate) fn new(core: Arc<Mutex<Core>>, log: LogStore, snapshots: Snapshots, alarm: Alarm) -> Self {
        Self { core, log, snapshots, alarm }
    }

    /// The last entry in the state.
    pub(super) fn last_applied(&self) -> Option<LogId> {
        self.core().last_applied
    }

    /// Saves the state as it is.
    pub(super) async fn save(&self) -> io::Result<()> {
        let contents = self.core().contents();
        Builder { snapshots: self.snapshots.clone(), contents, alarm: self.alarm.clone() }
            .build_snapshot()
            .await
            .map(drop)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("no panic while the lock is held")
    }
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let core = self.core();
        Ok((core.last_applied, core.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let _guard = self.alarm.guard("apply");
        let mut batches = entries.ready_chunks(BATCH_MAX);
        while let Some(batch) = batches.next().await {
            let mut responders = Vec::with_capacity(batch.len());
            let applied = {
                let mut core = self.core();
                for item in batch {
                    let (entry, responder) = item?;
                    core.apply(&entry);
                    responders.extend(responder);
                }
                core.publish();
                core.last_applied
            };
            if let Some(applied) = applied {
                self.log.applied(applied.index());
            }
            responders.into_iter().for_each(|responder| responder.send(()));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (snapshots, contents) = (self.snapshots.clone(), self.core().contents());
        Builder { snapshots, contents, alarm: self.alarm.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        let _guard = self.alarm.guard("the installation of a snapshot");
        let snapshots = self.snapshots.clone();
        let install = move || {
            let contents = image.load()?;
            snapshots.adopt(&image, &contents)?;
            Ok::<_, io::Error>(contents)
        };
        let contents = if self.snapshots.waits() {
            tokio::task::spawn_blocking(install).await.map_err(io::Error::other)??
        } else {
            install()?
        };
        self.core().replace(contents);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.current()
    }
}
