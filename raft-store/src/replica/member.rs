//! One running engine: starting it on what a medium holds, writing through it, asking whether it leads.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mvcc::{Command, Term};
use openraft::Config;
use openraft::ServerState;
use openraft::SnapshotPolicy;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader, RaftError};
use openraft::raft::ReadPolicy;
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::rt::{Instant as _, WatchReceiver as _};
use proto::store as stored;
use tokio::time::Instant;

use super::applier::Core;
use super::convert;
use super::forward::Arrivals;
use super::network::PeerClient;
use super::soundness::Soundness;
use super::types::{LogId, Peer, Proposal, Raft, Runtime, TypeConfig};
use super::{Applier, LogStore, Peers, Snapshots};
use crate::alarm::Alarm;
use crate::error::{OpenError, ProposeError, ReadError};
use crate::housekeeping::Limits;
use crate::log::LogBackend;
use crate::medium::Medium;
use crate::peers::{Begin, PeerReply, PeerRequest};
use crate::store::MemberId;
use proto::peer as wire;

/// How often a leader speaks, and how long it may be silent. The engine waits out the old leader's lease, which is the
/// longest election timeout, and then the timeout itself: nine to twelve lost heartbeats. With what voting takes, writes
/// stand still for a second to a second and a half.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MIN_MS: u64 = 300;
const ELECTION_MAX_MS: u64 = 600;

/// How long a member that was just elected may wait for its first quorum before it answers that it does
/// not lead.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a leader may take to find the quorum that a read needs, or to answer a follower that asks for it.
const READ_INDEX_MAX: Duration = Duration::from_secs(1);

pub(super) type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

type Metrics = openraft::type_config::alias::WatchReceiverOf<TypeConfig, openraft::RaftMetrics<TypeConfig>>;

/// How long a leader may take to commit what it has appended, before the outcome counts as unknown.
pub(super) const COMMIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a snapshot may take before another is asked for, and how often. What is asked for while one is being made
/// comes to nothing.
const SNAPSHOT_STEP_MAX: Duration = Duration::from_secs(60);
const SNAPSHOT_STEPS_MAX: usize = 5;

/// What outlives an engine: the state, and what is known of others.
pub(super) struct Lasting {
    pub(super) core: Arc<Mutex<Core>>,
    /// What followers have sent.
    pub(super) arrivals: Arc<Mutex<Arrivals>>,
    pub(super) soundness: Arc<Soundness>,
    /// Bytes of applied entries that its log keeps in memory.
    pub(super) log_held_bytes_max: usize,
    pub(super) alarm: Alarm,
}

/// A running engine.
pub(super) struct Member {
    raft: Raft,
    log: LogStore,
    snapshots: Snapshots,
    id: MemberId,
    peers: Peers,
    /// The only voter. No other member can acknowledge a write, so whatever is acknowledged is published
    /// here. Given up for good before this member, as the leader, proposes to change the members.
    is_sole: AtomicBool,
    /// When the leader was last heard of.
    heard: Mutex<Option<Instant>>,
    lasting: Lasting,
}

impl Member {
    /// Starts an engine. A sole voter's state can be read when it returns; others' reads wait for a leader.
    pub(super) async fn start(
        medium: Medium,
        id: MemberId,
        peers: Peers,
        lasting: Lasting,
        seed: u64,
    ) -> Result<Self, OpenError> {
        let Medium { backend, snapshots } = medium;
        let log = open_log(backend, &lasting).await?;
        let (core, alarm) = (lasting.core.clone(), lasting.alarm.clone());
        let applier = Applier::new(core, log.clone(), snapshots.clone(), alarm);
        if applier.last_applied() > log.last() {
            // Others committed what the failed disk did not take. The engine is about to cut the log behind what
            // is applied, and that has to be on disk then: else a power cut leaves neither.
            applier.save().await.map_err(OpenError::from)?;
        }
        let config = Arc::new(config().validate().expect("constants that fit each other"));
        let starting = Raft::new(id.0, config, peers.clone(), log.clone(), applier);
        let raft = DeterministicRng::<Runtime>::scope(seed, starting).await.map_err(refused)?;
        if peers.begin() == Begin::Found && !raft.is_initialized().await.map_err(refused)? {
            let address = peers.own_address().map(|address| address.to_string()).unwrap_or_default();
            raft.initialize(BTreeMap::from([(id.0, Peer { address })])).await.map_err(refused)?;
        }
        // Of the engine itself: its metrics may not have heard of a membership that was just made.
        let asking = raft.with_raft_state(|state| {
            let members = state.membership_state.effective();
            (members.voter_ids().collect(), members.nodes().count())
        });
        let (voters, members): (Vec<u64>, usize) = asking.await.map_err(refused)?;
        let is_sole = AtomicBool::new(voters == [id.0]);
        let heard = Mutex::default();
        let member = Self { raft, log, snapshots, id, peers, is_sole, heard, lasting };
        match member.recover(members > 1).await {
            Ok(()) => Ok(member),
            Err(error) => {
                member.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until every entry that may have been acknowledged is applied, if this member alone can tell.
    async fn recover(&self, is_heard: bool) -> Result<(), OpenError> {
        if !self.is_sole() {
            return Ok(());
        }
        // Nobody else can lead: there is no election timeout to wait for. Without somebody who listens there is nobody
        // to send heartbeats to either, and without ticks an idle store is idle.
        self.raft.runtime_config().tick(is_heard);
        self.raft.trigger().elect(false).await.map_err(refused)?;
        let mut metrics = self.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                now.running_state.clone().map_err(refused)?;
                let applied = now.last_applied.as_ref();
                // The first entry of its own term is the last in the log.
                if now.current_leader == Some(self.id.0)
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
        self.is_sole.load(Ordering::Acquire)
    }

    /// Reads ask for a quorum from now on, and there are elections again.
    pub(super) fn give_up_soleness(&self) {
        if self.is_sole.swap(false, Ordering::AcqRel) {
            self.raft.runtime_config().tick(true);
        }
    }

    pub(super) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Where the others reach this member, if it has others.
    pub(super) fn own_address(&self) -> Option<Arc<str>> {
        self.peers.own_address()
    }

    pub(super) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    pub(super) fn log(&self) -> &LogStore {
        &self.log
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(super) fn soundness(&self) -> &Soundness {
        &self.lasting.soundness
    }

    pub(super) fn id(&self) -> MemberId {
        self.id
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.raft.metrics()
    }

    pub(super) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.lasting.arrivals.lock().expect("no panic while the lock is held")
    }

    /// Notes that the leader was heard of.
    pub(super) fn hear(&self) {
        *self.heard.lock().expect("no panic while the lock is held") = Some(Instant::now());
    }

    /// Whether a leader's word, or a quorum's if it is this member, is not older than that.
    pub(super) fn in_contact(&self, within: Duration) -> bool {
        if self.is_sole() {
            return true;
        }
        let since = if self.leads().is_some() {
            let metrics = self.metrics();
            let acked = metrics.borrow_watched().last_quorum_acked;
            acked.map(|acked| acked.elapsed())
        } else {
            let heard = *self.heard.lock().expect("no panic while the lock is held");
            heard.map(|heard| heard.elapsed())
        };
        since.is_some_and(|since| since <= within)
    }

    /// Who leads, as far as this member knows.
    pub(super) fn leader_id(&self) -> Option<u64> {
        self.metrics().borrow_watched().current_leader
    }

    /// The way to the leader and the term it leads in, if it is somebody else.
    pub(super) fn leader(&self) -> Option<(PeerClient, u64)> {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        let leader = now.current_leader.filter(|leader| *leader != self.id.0)?;
        let address = now.membership_config.membership().get_node(&leader)?.address.clone();
        Some((self.peers.client(MemberId(leader), &address), now.vote.leader_id.term))
    }

    /// The term this member leads in, if it leads.
    pub(super) fn leads(&self) -> Option<Term> {
        let metrics = self.metrics();
        let now = metrics.borrow_watched();
        let leads = now.running_state.is_ok() && now.state == ServerState::Leader;
        leads.then_some(Term(now.current_term))
    }

    /// Returns when a leader of a later term is known, or this engine ends.
    pub(super) async fn led_after(&self, term: u64) {
        let mut metrics = self.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                if (now.current_term > term && now.current_leader.is_some()) || now.running_state.is_err() {
                    return;
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
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

    /// Writes a command, if this member leads, and returns once it is applied here.
    pub(super) async fn write(&self, command: Arc<Command>) -> Result<(), ProposeError> {
        let mut waited = Duration::ZERO;
        loop {
            if !self.runs() {
                return Err(ProposeError::Stopped);
            }
            let error = match self.raft.client_write(Proposal(command.clone())).await {
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
                // The engine says so only before it appends.
                RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                    let leader = forward.leader_id.map(MemberId);
                    return Err(ProposeError::NotLeader { leader });
                }
                // Superseded by another leader's log, which may hold it too.
                RaftError::APIError(_) | RaftError::Fatal(_) => return Err(ProposeError::Unknown),
            }
        }
    }

    /// Appends a follower's command and returns where it stands once it is applied here.
    pub(super) async fn append_command(&self, command: Command) -> Result<stored::LogPosition, WriteError> {
        let written = self.raft.client_write(Proposal(Arc::new(command))).await?;
        Ok(convert::position(&written.log_id))
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(super) async fn confirm(&self, deadline: Instant) -> Result<(), ReadError> {
        let index = match self.leader() {
            None => {
                let asking = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
                match tokio::time::timeout(READ_INDEX_MAX, asking).await {
                    Ok(Ok((read, _))) => read.index(),
                    Ok(Err(RaftError::Fatal(_))) => return Err(ReadError::Stopped),
                    Ok(Err(RaftError::APIError(_))) | Err(_) => return Err(ReadError::NoLeader),
                }
            }
            Some((leader, _)) => {
                let request = PeerRequest::ReadIndex(wire::ReadIndexRequest { envelope: leader.envelope() });
                match leader.call(request, READ_INDEX_MAX).await {
                    Ok(PeerReply::ReadIndex(wire::ReadIndexReply { position: Some(position) })) => {
                        position.index
                    }
                    Ok(_) | Err(_) => return Err(ReadError::NoLeader),
                }
            }
        };
        self.applied(index, deadline).await
    }

    /// Waits until an index is applied, and so published.
    async fn applied(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut metrics = self.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                if now.last_applied.is_some_and(|applied| applied.index() >= index) {
                    return Ok(());
                }
                if now.running_state.is_err() {
                    return Err(ReadError::Stopped);
                }
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ReadError::Stopped),
                Err(_) => return Err(ReadError::NoLeader),
            }
        }
    }

    /// Whether the log is worth a snapshot.
    pub(super) fn wants_snapshot(&self, limits: &Limits) -> bool {
        self.runs() && limits.wants_snapshot(self.log.bytes(), || self.snapshots.bytes())
    }

    /// Takes a snapshot of what is applied and shortens the log behind it.
    pub(super) async fn snapshot(&self, limits: &Limits) -> Result<(), ReadError> {
        let wanted = self.metrics().borrow_watched().last_applied;
        let taken = self.snapshot_of(wanted).await?;
        let keep_from = self.log.purge_point(limits.log_keep_bytes, limits.log_keep_entries);
        if let (Some(taken), Some(through)) = (taken, keep_from) {
            let through = through.min(taken.index());
            self.raft.trigger().purge_log(through).await.map_err(|_| ReadError::Stopped)?;
        }
        Ok(())
    }

    /// Returns when there is a snapshot at or behind a position, and where.
    pub(super) async fn snapshot_of(&self, wanted: Option<LogId>) -> Result<Option<LogId>, ReadError> {
        for _ in 0..SNAPSHOT_STEPS_MAX {
            let mut metrics = self.metrics();
            let before = metrics.borrow_watched().snapshot;
            self.raft.trigger().snapshot().await.map_err(|_| ReadError::Stopped)?;
            let newer = async {
                loop {
                    {
                        let now = metrics.borrow_watched();
                        if now.running_state.is_err() {
                            return Err(ReadError::Stopped);
                        }
                        if now.snapshot >= wanted || now.snapshot > before {
                            return Ok(now.snapshot);
                        }
                    }
                    metrics.changed().await.map_err(|_| ReadError::Stopped)?;
                }
            };
            match tokio::time::timeout(SNAPSHOT_STEP_MAX, newer).await {
                Ok(Ok(taken)) if taken < wanted => {}
                Ok(taken) => return taken,
                Err(_) => tracing::warn!("no snapshot was made in {SNAPSHOT_STEP_MAX:?}"),
            }
        }
        Err(ReadError::Stopped)
    }

    /// Stops the engine and closes its log.
    pub(super) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "replication ended badly");
        }
        self.log.close().await;
    }
}

async fn open_log(backend: Option<Box<dyn LogBackend>>, lasting: &Lasting) -> Result<LogStore, OpenError> {
    let Some(backend) = backend else { return Ok(LogStore::in_memory()) };
    let (held, alarm) = (lasting.log_held_bytes_max, lasting.alarm.clone());
    let opened = if backend.is_inline() {
        LogStore::open(backend, held, alarm)
    } else {
        let opening = tokio::task::spawn_blocking(move || LogStore::open(backend, held, alarm));
        opening.await.expect("loading does not panic and is not aborted")
    };
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            OpenError::Damaged { what: error.to_string() }
        }
        // A full disk, say: reading may have to write first. Nothing is wrong with what is there.
        _ => OpenError::Medium(error),
    })
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
