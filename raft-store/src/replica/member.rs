//! One running engine: starting it on what a medium holds, writing through it, asking whether it leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mvcc::{Command, Term};
use openraft::Config;
use openraft::ServerState;
use openraft::SnapshotPolicy;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader, RaftError};
use openraft::raft::ReadPolicy;
use openraft::rt::WatchReceiver as _;
use openraft::rt::deterministic_rng::DeterministicRng;

use super::applier::Core;
use super::types::{Peer, Proposal, Raft, Runtime, TypeConfig};
use super::{Applier, LogStore, Peers, Snapshots};
use crate::error::{OpenError, ProposeError, ReadError};
use crate::housekeeping::Limits;
use crate::log::LogBackend;
use crate::medium::Medium;
use crate::store::MemberId;

/// How long a leader is expected to be silent at most. An election takes half a second to a second.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MIN_MS: u64 = 500;
const ELECTION_MAX_MS: u64 = 1000;

/// How long a member that was just elected may wait for its first quorum before it answers that it does
/// not lead.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a member with peers waits at start for a leader to tell it how far to catch up.
const RECOVERY_WAIT_MAX: Duration = Duration::from_secs(10);

type Metrics = openraft::type_config::alias::WatchReceiverOf<TypeConfig, openraft::RaftMetrics<TypeConfig>>;

/// A running engine.
pub(super) struct Member {
    raft: Raft,
    log: LogStore,
    snapshots: Snapshots,
    id: u64,
    /// The only voter. No other member can acknowledge a write, so whatever is acknowledged is published
    /// here. Fixed at start: nothing changes the membership yet.
    is_sole: bool,
}

impl Member {
    /// Starts an engine and returns when the state can be read.
    pub(super) async fn start(
        medium: Medium,
        id: MemberId,
        core: Arc<Mutex<Core>>,
        seed: u64,
    ) -> Result<Self, OpenError> {
        let Medium { backend, snapshots } = medium;
        let log = open_log(backend).await?;
        let applier = Applier::new(core, snapshots.clone());
        let config = Arc::new(config().validate().expect("constants that fit each other"));
        let starting = Raft::new(id.0, config, Peers, log.clone(), applier);
        let raft = DeterministicRng::<Runtime>::scope(seed, starting).await.map_err(refused)?;
        if !raft.is_initialized().await.map_err(refused)? {
            let members = BTreeMap::from([(id.0, Peer::default())]);
            raft.initialize(members).await.map_err(refused)?;
        }
        // Of the engine itself: its metrics may not have heard of a membership that was just made.
        let voters = raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect());
        let voters: Vec<u64> = voters.await.map_err(refused)?;
        let is_sole = voters == [id.0];
        let member = Self { raft, log, snapshots, id: id.0, is_sole };
        match member.recover().await {
            Ok(()) => Ok(member),
            Err(error) => {
                member.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until every entry that may have been acknowledged is applied.
    async fn recover(&self) -> Result<(), OpenError> {
        if !self.is_sole {
            self.raft.wait_for_recovery(Some(RECOVERY_WAIT_MAX)).await.map_err(refused)?;
            return Ok(());
        }
        // Nobody else can lead: there is no election timeout to wait for, nor anybody to send heartbeats
        // to. Without ticks an idle store is idle.
        self.raft.runtime_config().tick(false);
        self.raft.trigger().elect(false).await.map_err(refused)?;
        let mut metrics = self.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                now.running_state.clone().map_err(refused)?;
                let applied = now.last_applied.as_ref();
                // The first entry of its own term is the last in the log.
                if now.current_leader == Some(self.id)
                    && applied.is_some_and(|applied| applied.committed_leader_id().term == now.current_term)
                {
                    return Ok(());
                }
            }
            metrics.changed().await.map_err(refused)?;
        }
    }

    /// Whether it is the only voter.
    pub(super) fn is_sole(&self) -> bool {
        self.is_sole
    }

    fn metrics(&self) -> Metrics {
        self.raft.metrics()
    }

    /// The term this member leads in, if it leads.
    pub(super) fn leads(&self) -> Option<Term> {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        let leads = now.running_state.is_ok() && now.state == ServerState::Leader;
        leads.then_some(Term(now.current_term))
    }

    /// Whether it still runs.
    pub(super) fn runs(&self) -> bool {
        self.metrics().borrow_watched().running_state.is_ok()
    }

    /// Calls back on every change of what it does, and returns why it stopped.
    pub(super) async fn follow(&self, mut changed: impl FnMut()) -> Fatal<TypeConfig> {
        let mut metrics = self.metrics();
        loop {
            changed();
            let failed = metrics.borrow_watched().running_state.clone().err();
            if let Some(error) = failed {
                return error;
            }
            if metrics.changed().await.is_err() {
                return Fatal::Stopped;
            }
        }
    }

    /// Writes a command and returns once it is applied here.
    pub(super) async fn write(&self, command: Command) -> Result<(), ProposeError> {
        let proposal = Proposal(Arc::new(command));
        let mut waited = Duration::ZERO;
        loop {
            if !self.runs() {
                return Err(ProposeError::Stopped);
            }
            let error = match self.raft.client_write(proposal.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            match error {
                // Just elected, and no quorum has answered yet. Nothing was appended.
                RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader {
                    leader_id: None,
                    ..
                })) if waited < LEASE_WAIT_MAX && self.leads().is_some() => {
                    let pause = (waited / 2).max(Duration::from_millis(1));
                    tokio::time::sleep(pause).await;
                    waited += pause;
                }
                RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                    let leader = forward.leader_id.map(MemberId);
                    return Err(ProposeError::NotLeader { leader });
                }
                // Superseded by another leader's log, which may hold it too.
                RaftError::APIError(_) | RaftError::Fatal(_) => return Err(ProposeError::Unknown),
            }
        }
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(super) async fn confirm(&self) -> Result<(), ReadError> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        let linearizer = linearizer.map_err(|_| ReadError::NoLeader)?;
        linearizer.await_ready(&self.raft).await.map_err(|_| ReadError::Stopped)?;
        Ok(())
    }

    /// Whether the log is worth a snapshot.
    pub(super) fn wants_snapshot(&self, limits: &Limits) -> bool {
        self.runs() && limits.wants_snapshot(self.log.bytes(), self.snapshots.bytes())
    }

    /// Takes a snapshot of what is applied and shortens the log behind it.
    pub(super) async fn snapshot(&self, limits: &Limits) -> Result<(), ReadError> {
        let mut metrics = self.metrics();
        let wanted = metrics.borrow_watched().last_applied;
        self.raft.trigger().snapshot().await.map_err(|_| ReadError::Stopped)?;
        let taken = loop {
            {
                let now = metrics.borrow_watched();
                if now.running_state.is_err() {
                    return Err(ReadError::Stopped);
                }
                if now.snapshot >= wanted {
                    break now.snapshot;
                }
            }
            metrics.changed().await.map_err(|_| ReadError::Stopped)?;
        };
        let keep_from = self.log.purge_point(limits.log_keep_bytes, limits.log_keep_entries);
        if let (Some(taken), Some(through)) = (taken, keep_from) {
            let through = through.min(taken.index());
            self.raft.trigger().purge_log(through).await.map_err(|_| ReadError::Stopped)?;
        }
        Ok(())
    }

    /// Stops the engine and closes its log.
    pub(super) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "replication ended badly");
        }
        self.log.close().await;
    }
}

async fn open_log(backend: Option<Box<dyn LogBackend>>) -> Result<LogStore, OpenError> {
    let Some(backend) = backend else { return Ok(LogStore::in_memory()) };
    let opened = if backend.is_inline() {
        LogStore::open(backend)
    } else {
        let opening = tokio::task::spawn_blocking(move || LogStore::open(backend));
        opening.await.expect("loading does not panic and is not aborted")
    };
    opened.map_err(|error| OpenError::Damaged { what: error.to_string() })
}

fn config() -> Config {
    Config {
        cluster_name: "kontiki".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MIN_MS,
        election_timeout_max: ELECTION_MAX_MS,
        enable_pre_vote: Some(true),
        // Each start is a new term, so that a write fenced by the term before is refused.
        enable_leader_restore: Some(false),
        // Both go by bytes, which only the store knows: an entry has between 100 bytes and 17 MiB.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}

fn refused(error: impl std::fmt::Display) -> OpenError {
    OpenError::Replication { reason: error.to_string() }
}
