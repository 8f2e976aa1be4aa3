//! The store as its users see it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use mvcc::{
    Command, CommandBody, Compacted, Interest, Outcome, ProposalId, Revision, StateHash, Term, Transaction,
    View,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::alarm::{Alarm, Failed, Guard};
use crate::error::{OpenError, ProposeError, ReadError};
use crate::housekeeping::{Limits, MARK_INTERVAL, Retention};
use crate::machine::Shared;
use crate::medium::Medium;
use crate::peers::{PeerReply, PeerRequest, Peering, Refused, SnapshotReceiver};
use crate::proposal::{TRANSACTION_BYTES_MAX, transaction_cost};
use crate::replica::{MemberInfo, MembershipError, Opener, Replica};
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
#[derive(Debug, Clone)]
pub struct Options {
    /// Log and snapshots live in `raft/` and `snapshots/` under it; `None` keeps them in memory.
    pub data_dir: Option<PathBuf>,
    /// Who this member is. Stays the same for the life of its data.
    pub member: MemberId,
    /// What makes it one of several; `None` for a store that is always alone.
    pub peering: Option<Peering>,
    /// Bounds on what is kept.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { data_dir: None, member: MemberId(1), peering: None, limits: Limits::default() }
    }
}

impl Options {
    /// A store that is gone with its process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// A store that survives its process, in a directory of its own.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: Some(data_dir.into()), ..Self::default() }
    }
}

/// Bytes of proposals between their caller and their apply. Bounds every queue on the way: the engine's,
/// the log thread's and the apply task's. Four of the largest transactions.
const IN_FLIGHT_BYTES_MAX: usize = 4 * TRANSACTION_BYTES_MAX;

/// The unit in which proposals in flight are counted.
const IN_FLIGHT_UNIT: usize = 1024;

/// How long a member may take to apply what the leader has applied.
const OUTCOME_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the outcome of a proposal is waited for whose way was lost.
const UNKNOWN_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often housekeeping looks.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// A handle to the store. Clones share it; it runs until [`Store::shutdown`] or until the last clone is
/// dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    replica: Replica,
    seams: Seams,
    in_flight: Arc<Semaphore>,
    leadership: Arc<watch::Sender<Option<Term>>>,
    membership: Arc<watch::Sender<Vec<MemberInfo>>>,
    stopped: AtomicBool,
    alarm: Alarm,
    tasks: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Store {
    /// Opens the store. A sole voter can be read and written then; with several members the first read or write waits
    /// for a leader.
    pub async fn open(options: Options, seams: Seams) -> Result<Self, OpenError> {
        match options.data_dir.clone() {
            None => Self::open_on(|| Ok(Medium::in_memory()), options, seams).await,
            Some(dir) => Self::start(Arc::new(move || opened_aside(dir.clone())), options, seams).await,
        }
    }

    /// Opens the store on a medium of the caller's. It is called again after the medium has failed, in
    /// the caller's runtime and not beside it, so that a simulation stays on its one thread.
    pub async fn open_on(
        medium: impl Fn() -> io::Result<Medium> + Send + Sync + 'static,
        options: Options,
        seams: Seams,
    ) -> Result<Self, OpenError> {
        Self::start(Arc::new(move || std::future::ready(medium()).boxed()), options, seams).await
    }

    async fn start(opener: Opener, options: Options, seams: Seams) -> Result<Self, OpenError> {
        let peering = options.peering.map(Arc::new);
        let alarm = Alarm::default();
        let held = options.limits.log_held_bytes_max;
        let starting = Replica::start(opener, options.member, peering, held, &seams, alarm.clone());
        let (replica, chores, shared) = starting.await?;
        let tasks = CancellationToken::new();
        let guarded = |part, work| tokio::spawn(guarded(tasks.clone(), alarm.guard(part), work));
        guarded("the way to the leader", replica.clone().work(chores).boxed());
        let leadership = Arc::new(watch::Sender::new(replica.leads()));
        let membership = Arc::new(watch::Sender::new(replica.members()));
        let supervised = replica.clone().supervise(leadership.clone(), membership.clone());
        guarded("the supervisor", supervised.boxed());
        let house = keep_house(replica.clone(), shared.clone(), seams.clone(), options.limits);
        guarded("housekeeping", house.boxed());
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX / IN_FLIGHT_UNIT));
        let stopped = AtomicBool::new(false);
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                replica,
                seams,
                in_flight,
                leadership,
                membership,
                stopped,
                alarm,
                tasks,
            }),
        })
    }

    /// The newest state this member has published. Never waits, may be behind the leader.
    pub fn view(&self) -> View {
        self.inner.shared.state().view().clone()
    }

    /// The revision of [`Store::view`].
    pub fn revision(&self) -> Revision {
        self.inner.shared.state().revision()
    }

    /// A state that holds every write acknowledged before the call.
    pub async fn linearizable(&self) -> Result<View, ReadError> {
        if self.inner.stopped.load(Ordering::Acquire) {
            return Err(ReadError::Stopped);
        }
        self.inner.replica.confirm().await?;
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

    /// The order-independent hash of the published state.
    pub fn hash(&self) -> StateHash {
        self.inner.shared.state().hash()
    }

    /// The oldest revision that can be read at or watched from.
    pub fn oldest(&self) -> Revision {
        self.inner.shared.state().history().oldest()
    }

    /// Proposes a transaction and waits for its outcome. Dropping the future never takes a submitted
    /// proposal back.
    pub async fn propose(&self, transaction: Transaction) -> Result<Outcome, ProposeError> {
        let bytes = transaction_cost(&transaction);
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, bytes_max: TRANSACTION_BYTES_MAX });
        }
        self.submit(CommandBody::Transact(transaction), bytes).await
    }

    /// Forgets history at or below a revision. Housekeeping does it by itself within its limits.
    pub async fn compact(&self, at: Revision) -> Result<(), ProposeError> {
        self.submit(CommandBody::Compact(at), 0).await.map(drop)
    }

    async fn submit(&self, body: CommandBody, bytes: usize) -> Result<Outcome, ProposeError> {
        let units = u32::try_from(bytes.div_ceil(IN_FLIGHT_UNIT).max(1)).expect("bounded above");
        let permit = self.inner.in_flight.clone().acquire_many_owned(units).await;
        let permit = permit.map_err(|_| ProposeError::Stopped)?;
        let proposal = proposal_id(&self.inner.seams);
        let outcome = self.inner.shared.expect_outcome(proposal);
        let command = Command { proposal, feature_level: 0, body };
        let replica = self.inner.replica.clone();
        // A task of its own: a caller that goes away does not take the proposal with it.
        let written = tokio::spawn(async move {
            let written = replica.write(command).await;
            drop(permit);
            written
        });
        let wait_max = match written.await.unwrap_or(Err(ProposeError::Unknown)) {
            Ok(()) => OUTCOME_WAIT_MAX,
            // It may still be applied, and then its outcome is known after all.
            Err(ProposeError::Unknown) if self.inner.replica.has_peers() => UNKNOWN_WAIT_MAX,
            Err(error) => {
                self.inner.shared.forget_outcome(proposal);
                return Err(error);
            }
        };
        let outcome = tokio::time::timeout(wait_max, outcome).await;
        self.inner.shared.forget_outcome(proposal);
        outcome.ok().and_then(Result::ok).ok_or(ProposeError::Unknown)
    }

    /// Answers a request of another member.
    ///
    /// # Errors
    /// It is not for this member, or this member does not take part now.
    pub async fn answer(&self, request: PeerRequest) -> Result<PeerReply, Refused> {
        if self.inner.stopped.load(Ordering::Acquire) {
            return Err(Refused::Stopped);
        }
        self.inner.replica.answer(request).await
    }

    /// A place for the bytes of a snapshot that another member sends.
    ///
    /// # Errors
    /// The disk takes nothing.
    pub fn receive_snapshot(&self) -> io::Result<SnapshotReceiver> {
        Ok(SnapshotReceiver(self.inner.replica.incoming()?))
    }

    /// Whether no change of the members is half done, as far as this one knows.
    pub fn members_are_settled(&self) -> bool {
        self.inner.replica.is_settled()
    }

    /// Writes the first of the two entries of a change of voters, and no more.
    #[cfg(test)]
    pub(crate) async fn half_change(&self, voters: Vec<std::collections::BTreeSet<u64>>) {
        self.inner.replica.half_change(voters).await;
    }

    /// The members, as far as this one knows.
    pub fn members(&self) -> Vec<MemberInfo> {
        self.inner.replica.members()
    }

    /// This member and where it is reached, whether it is a voter yet or not; `None` without peers.
    pub fn own_member(&self) -> Option<MemberInfo> {
        self.inner.replica.own_member()
    }

    /// Follows [`Store::members`].
    pub fn membership(&self) -> watch::Receiver<Vec<MemberInfo>> {
        self.inner.membership.subscribe()
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<MemberId> {
        self.inner.replica.leader_id()
    }

    /// Whether a leader, or a quorum if it leads itself, was heard of within that time. A sole voter needs nobody.
    pub fn in_contact(&self, within: Duration) -> bool {
        self.inner.replica.in_contact(within)
    }

    /// Makes a member a voter: first it listens, and when it has caught up its vote counts. Only the leader can.
    ///
    /// # Errors
    /// This member does not lead, the newcomer does not catch up, or the outcome is not known.
    pub async fn admit(&self, id: MemberId, address: impl Into<String>) -> Result<(), MembershipError> {
        self.inner.replica.admit(id, address.into()).await
    }

    /// The other members and how long ago each answered this one; `None` for one that has not yet. Only a leader is
    /// answered.
    pub fn answered(&self) -> Vec<(MemberId, Option<Duration>)> {
        self.inner.replica.answered()
    }

    /// Takes a member's vote and place. Any member may be asked, also the one that goes.
    ///
    /// # Errors
    /// No leader is known, it is the last voter, those that are left would be no quorum, or the outcome is not known.
    pub async fn remove(&self, id: MemberId) -> Result<(), MembershipError> {
        self.inner.replica.remove(id).await
    }

    /// Lets another voter lead; whether one does now.
    pub async fn hand_over(&self) -> bool {
        self.inner.replica.hand_over().await
    }

    /// Whether nobody has found this member's state to be wrong. What a wrong one shows is not to be relied on, not even
    /// by those who take what is old.
    pub fn is_sound(&self) -> bool {
        self.inner.replica.is_sound()
    }

    /// Returns when a part of the store has panicked. It answers for nothing any more, and the process should end.
    pub async fn failed(&self) -> Failed {
        let alarm = self.inner.alarm.clone();
        alarm.raised().await
    }

    /// Whether the engine runs.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> bool {
        self.inner.replica.runs()
    }

    /// Changes the state behind the log's back, as broken memory would.
    #[cfg(test)]
    pub(crate) fn spoil(&self, spoil: impl FnOnce(&mut crate::machine::Machine)) {
        self.inner.replica.spoil(spoil);
    }

    /// Watches an interest from the first change after a revision, which may lie inside a transaction.
    pub fn watch(&self, interest: Interest, after: Revision) -> Result<Watcher, Compacted> {
        Watcher::new(self.inner.shared.clone(), interest, after)
    }

    /// The term this member leads in, if it leads.
    pub fn term(&self) -> Option<Term> {
        self.inner.replica.leads()
    }

    /// Follows [`Store::term`].
    pub fn leadership(&self) -> watch::Receiver<Option<Term>> {
        self.inner.leadership.subscribe()
    }

    /// Takes a snapshot now and shortens the log behind it.
    pub async fn snapshot(&self) -> Result<(), ReadError> {
        self.inner.replica.snapshot(&Limits { log_keep_entries: 0, ..Limits::default() }).await
    }

    /// Hands leadership over, stops replication, ends every watch and closes the log. What was acknowledged stays.
    pub async fn shutdown(&self) {
        self.inner.replica.hand_over().await;
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.in_flight.close();
        // First, so that nothing starts an engine again.
        self.inner.tasks.cancel();
        self.inner.replica.stop().await;
        self.inner.leadership.send_replace(None);
        self.inner.shared.hub.stop();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("revision", &self.view().revision()).finish_non_exhaustive()
    }
}

/// Opening a directory waits for its disk.
fn opened_aside(dir: PathBuf) -> BoxFuture<'static, io::Result<Medium>> {
    let opening = tokio::task::spawn_blocking(move || Medium::in_dir(&dir));
    async { opening.await.expect("opening does not panic and is not aborted") }.boxed()
}

fn proposal_id(seams: &Seams) -> ProposalId {
    let (high, low) = (seams.random.next(), seams.random.next());
    ProposalId(u128::from(high) << 64 | u128::from(low))
}

/// Work that goes on until the store stops, and is not silently gone when it panics.
async fn guarded(tasks: CancellationToken, guard: Guard, work: BoxFuture<'static, ()>) {
    let _guard = guard;
    tasks.run_until_cancelled(work).await;
}

/// Compacts, snapshots and purges when they are due: looks a moment after a write, and else now and then.
async fn keep_house(replica: Replica, shared: Arc<Shared>, seams: Seams, limits: Limits) {
    let mut retention = Retention::default();
    let mut applied = shared.applied();
    loop {
        // Where nothing is written nothing grows, and what is there only gets older.
        let _ = tokio::time::timeout(MARK_INTERVAL, applied.changed()).await;
        tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
        let due = retention.plan(seams.clock.now(), shared.state().history(), &limits);
        if let Some(at) = due.filter(|_| replica.leads().is_some()) {
            let command =
                Command { proposal: proposal_id(&seams), feature_level: 0, body: CommandBody::Compact(at) };
            if let Err(error) = replica.write(command).await {
                tracing::warn!(%error, %at, "history was not compacted");
            }
        }
        if replica.wants_snapshot(&limits)
            && let Err(error) = replica.snapshot(&limits).await
        {
            tracing::warn!(%error, "no snapshot was taken");
        }
    }
}
