//! The store as its users see it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mvcc::{
    Command, CommandBody, Compacted, Interest, Outcome, ProposalId, Revision, State, Term, Transaction, View,
};
use tokio::sync::watch;

use crate::error::{OpenError, ProposeError, ReadError};
use crate::machine::{Machine, Shared};
use crate::seams::Seams;
use crate::watcher::Watcher;

/// Identity of a member of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl std::fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a store is opened with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where log and snapshots live; `None` keeps the log in memory.
    pub data_dir: Option<PathBuf>,
}

impl Options {
    /// A store that is gone with its process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// A store that survives its process, in a directory of its own.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: Some(data_dir.into()) }
    }
}

/// A handle to the store. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    machine: Mutex<Machine>,
    seams: Seams,
    leadership: watch::Sender<Option<Term>>,
}

impl Store {
    /// Opens the store and returns when it can be read.
    pub async fn open(_options: Options, seams: Seams) -> Result<Self, OpenError> {
        let machine = Machine::new(State::default(), seams.hash_seed);
        let shared = machine.shared().clone();
        let leadership = watch::Sender::new(Some(Term(1)));
        Ok(Self { inner: Arc::new(Inner { shared, machine: Mutex::new(machine), seams, leadership }) })
    }

    /// The newest state this member has published. Never waits, may be behind the leader.
    pub fn view(&self) -> View {
        self.inner.shared.state().view().clone()
    }

    /// A state that holds every write acknowledged before the call.
    pub async fn linearizable(&self) -> Result<View, ReadError> {
        Ok(self.view())
    }

    /// Waits until a revision is visible here. The caller sets the deadline.
    pub async fn at_least(&self, revision: Revision) -> Result<View, ReadError> {
        let mut applied = self.inner.shared.applied();
        applied.wait_for(|applied| *applied >= revision).await.map_err(|_| ReadError::Stopped)?;
        Ok(self.view())
    }

    /// The state at an earlier revision. A revision inside a transaction is read as its last.
    pub fn view_at(&self, revision: Revision) -> Result<View, Compacted> {
        self.inner.shared.view_at(revision)
    }

    /// Proposes a transaction and waits for its outcome. Dropping the future never takes the proposal
    /// back.
    pub async fn propose(&self, transaction: Transaction) -> Result<Outcome, ProposeError> {
        let proposal = ProposalId(
            u128::from(self.inner.seams.random.next()) << 64 | u128::from(self.inner.seams.random.next()),
        );
        let command = Command { proposal, feature_level: 0, body: CommandBody::Transact(transaction) };
        let outcome = self.inner.shared.expect_outcome(proposal);
        {
            let mut machine = self.inner.machine.lock().expect("no panic while the lock is held");
            machine.apply(&command, Term(1));
            machine.publish();
        }
        outcome.await.map_err(|_| ProposeError::Unknown)
    }

    /// Watches an interest from the first change after a revision, which may lie inside a transaction.
    pub fn watch(&self, interest: Interest, after: Revision) -> Result<Watcher, Compacted> {
        Watcher::new(self.inner.shared.clone(), interest, after)
    }

    /// The term this member leads in, if it leads.
    pub fn term(&self) -> Option<Term> {
        *self.inner.leadership.borrow()
    }

    /// Follows [`Store::term`].
    pub fn leadership(&self) -> watch::Receiver<Option<Term>> {
        self.inner.leadership.subscribe()
    }

    /// Stops replication and ends every watch. What was acknowledged stays.
    pub async fn shutdown(&self) {
        self.inner.leadership.send_replace(None);
        self.inner.shared.hub.stop();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}
