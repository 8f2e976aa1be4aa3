//! Keeps a member running: when its disk fails, the engine is stopped, the medium opened again and the
//! engine started on it. Reads and watches go on meanwhile; writes are refused.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use mvcc::{Command, State, Term};
use openraft::errors::Fatal;
use proto::peer as wire;
use tokio::sync::watch;
use tokio::time::Instant;

use super::applier::Core;
use super::forward::{Arrivals, Forwarded, Forwarder, Walk};
use super::incoming::Incoming;
use super::member::{COMMIT_WAIT_MAX, Lasting, Member};
use super::membership::{CHANGE_MAX, HANDOVER_MAX, MemberInfo, MembershipError};
use super::network::{PeerClient, Peers};
use super::reads::{Keeper, ReadGate};
use super::soundness::Soundness;
use super::types::TypeConfig;
use crate::alarm::Alarm;
use crate::error::{OpenError, ProposeError, ReadError};
use crate::housekeeping::Limits;
use crate::machine::{Machine, Shared};
use crate::medium::Medium;
use crate::peers::{PeerReply, PeerRequest, Peering, Refused};
use crate::seams::Seams;
use crate::store::MemberId;

/// Opens a medium, each time anew.
pub(crate) type Opener = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Medium>> + Send + Sync>;

/// Between two attempts to open a failed medium again. A full disk is freed by hand or by a clean-up;
/// neither is faster.
const REOPEN_PAUSE: Duration = Duration::from_secs(2);

/// How long a proposal looks for a leader that takes it. An election takes a second or two.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(8);

/// Between two attempts to hand a proposal to a leader.
const FORWARD_PAUSE: Duration = Duration::from_millis(50);

/// After an election, how long the old leader's answer is still waited for: what it appended and the new leader has is
/// known by then.
const TAKEOVER_WAIT: Duration = Duration::from_millis(200);

/// Between two looks at whether a change of members was left half done. One that is under way takes milliseconds.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

/// A member whatever its disk does. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    running: Arc<ArcSwap<Member>>,
    start: Arc<Start>,
    forwarder: Forwarder,
    gate: ReadGate,
}

/// What a replica has to do besides answering; it ends with the last handle to the store.
pub(crate) struct Chores {
    walk: Walk,
    keeper: Keeper,
}

/// What an engine is started with.
struct Start {
    opener: Opener,
    id: MemberId,
    peering: Option<Arc<Peering>>,
    core: Arc<Mutex<Core>>,
    arrivals: Arc<Mutex<Arrivals>>,
    soundness: Arc<Soundness>,
    log_held_bytes_max: usize,
    alarm: Alarm,
    seams: Seams,
    /// Whether this member leads and finds its members half changed.
    half_changed: watch::Sender<bool>,
}

/// Why an engine has to be replaced.
enum Ended {
    Engine(Fatal<TypeConfig>),
    Wrong,
}

impl Replica {
    /// Starts a member; a sole voter's state can be read then.
    pub(crate) async fn start(
        opener: Opener,
        id: MemberId,
        peering: Option<Arc<Peering>>,
        log_held_bytes_max: usize,
        seams: &Seams,
        alarm: Alarm,
    ) -> Result<(Self, Chores, Arc<Shared>), OpenError> {
        let machine = Machine::new(State::default(), seams.hash_seed);
        let shared = machine.shared().clone();
        let soundness = Arc::new(Soundness::new(id.0));
        let (core, arrivals) = (Core::new(machine, soundness.clone()), Arc::default());
        let seams = seams.clone();
        let half_changed = watch::Sender::new(false);
        let start = Arc::new(Start {
            opener,
            id,
            peering,
            core,
            arrivals,
            soundness,
            log_held_bytes_max,
            alarm,
            seams,
            half_changed,
        });
        let running = Arc::new(ArcSwap::from_pointee(start.member().await?));
        let ((forwarder, walk), (gate, keeper)) =
            (Forwarder::new(start.seams.random.next()), ReadGate::new());
        Ok((Self { running, start, forwarder, gate }, Chores { walk, keeper }, shared))
    }

    /// Carries proposals to the leader and opens the gate for reads, for ever.
    pub(crate) async fn work(self, chores: Chores) {
        let Chores { walk, keeper } = chores;
        tokio::join!(walk.run(self.clone()), keeper.run(self.clone()), self.settle());
    }

    /// Ends changes of members that a leader began and the next one finds, for ever.
    async fn settle(self) {
        if !self.has_peers() {
            return;
        }
        let (mut half_changed, mut found) = (self.start.half_changed.subscribe(), None);
        loop {
            let _ = half_changed.wait_for(|is_half| *is_half).await;
            tokio::time::sleep(SETTLE_INTERVAL).await;
            let member = self.member();
            let half =
                (member.leads().is_some() && !member.is_settled()).then(|| member.membership_position());
            // Whoever began it may be about to end it.
            if half.is_some()
                && half == found
                && let Some(Err(error)) = unhurried(async move { member.settle().await }).await
            {
                tracing::warn!(%error, "the members are half changed");
            }
            found = half;
        }
    }

    #[cfg(test)]
    pub(crate) async fn half_change(&self, voters: Vec<std::collections::BTreeSet<u64>>) {
        self.member().half_change(voters).await;
    }

    /// Whether the members are not being changed, as far as this member knows.
    pub(crate) fn is_settled(&self) -> bool {
        self.member().is_settled()
    }

    fn member(&self) -> Arc<Member> {
        self.running.load_full()
    }

    /// The term this member leads in, if it leads.
    pub(crate) fn leads(&self) -> Option<Term> {
        self.running.load().leads()
    }

    /// The way to the leader and the term it leads in, if it is another member.
    pub(super) fn leader(&self) -> Option<(PeerClient, u64)> {
        self.running.load().leader()
    }

    /// Returns when another leader is known than that of `term`, and has had time to tell what it took over.
    pub(super) async fn leads_no_more(&self, term: u64) {
        self.member().led_after(term).await;
        tokio::time::sleep(TAKEOVER_WAIT).await;
    }

    /// Whether there is anybody to ask besides this member.
    pub(crate) fn has_peers(&self) -> bool {
        self.start.peering.is_some()
    }

    /// Writes a command here or through the leader, and returns once it is applied there.
    pub(crate) async fn write(&self, command: Command) -> Result<(), ProposeError> {
        let command = Arc::new(command);
        let deadline = Instant::now() + LEADER_WAIT_MAX;
        loop {
            let member = self.member();
            let writing = unhurried_write(member.clone(), command.clone());
            let written = tokio::time::timeout(COMMIT_WAIT_MAX, writing).await;
            let refused = match written.unwrap_or(Err(ProposeError::Unknown)) {
                Err(refused @ ProposeError::NotLeader { .. }) if self.has_peers() => refused,
                result => return result,
            };
            if member.leader().is_some() {
                match self.forwarder.forward(command.clone()).await {
                    Forwarded::Appended => return Ok(()),
                    Forwarded::Unknown => return Err(ProposeError::Unknown),
                    Forwarded::NotAppended => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(refused);
            }
            tokio::time::sleep(FORWARD_PAUSE).await;
        }
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(crate) async fn confirm(&self) -> Result<(), ReadError> {
        if !self.is_sound() {
            return Err(ReadError::Wrong);
        }
        if self.running.load().is_sole() {
            // What a sole voter acknowledged it has published, whether it still runs or not.
            return Ok(());
        }
        self.gate.pass().await
    }

    /// One attempt at [`Replica::confirm`].
    pub(super) async fn confirm_once(&self, deadline: Instant) -> Result<(), ReadError> {
        let member = self.member();
        unhurried(async move { member.confirm(deadline).await }).await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Whether a leader was heard of within that time.
    pub(crate) fn in_contact(&self, within: Duration) -> bool {
        self.is_sound() && self.running.load().in_contact(within)
    }

    /// Whether nobody has found this member's state to be wrong.
    pub(crate) fn is_sound(&self) -> bool {
        self.start.soundness.is_sound()
    }

    /// Whether the engine runs.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> bool {
        self.running.load().runs()
    }

    /// Changes the state behind the log's back, as broken memory would.
    #[cfg(test)]
    pub(crate) fn spoil(&self, spoil: impl FnOnce(&mut Machine)) {
        spoil(self.start.core.lock().expect("no panic while the lock is held").machine());
    }

    /// Who leads, as far as this member knows.
    pub(crate) fn leader_id(&self) -> Option<MemberId> {
        self.running.load().leader_id().map(MemberId)
    }

    /// Answers another member.
    pub(crate) async fn answer(&self, request: PeerRequest) -> Result<PeerReply, Refused> {
        let Some(peering) = &self.start.peering else { return Err(Refused::Stopped) };
        let envelope = request.envelope();
        let envelope = envelope.ok_or_else(|| Refused::Malformed { what: "no envelope".into() })?;
        if *envelope.cluster != *peering.cluster {
            let (theirs, ours) = (envelope.cluster.clone(), peering.cluster.to_string());
            return Err(Refused::Cluster { theirs, ours });
        }
        // A newcomer does not know yet whom it asks.
        if envelope.to != self.start.id.0 && !matches!(request, PeerRequest::Admit(_)) {
            return Err(Refused::Member { meant: envelope.to, ours: self.start.id.0 });
        }
        let member = self.member();
        if !member.runs() {
            return Err(Refused::Stopped);
        }
        unhurried(async move { member.answer(request).await }).await.unwrap_or(Err(Refused::Stopped))
    }

    /// A place for a snapshot that comes from another member.
    pub(crate) fn incoming(&self) -> io::Result<Incoming> {
        Incoming::new(self.running.load().snapshots())
    }

    /// The members.
    pub(crate) fn members(&self) -> Vec<MemberInfo> {
        self.running.load().members()
    }

    /// This member itself.
    pub(crate) fn own_member(&self) -> Option<MemberInfo> {
        let address = self.start.peering.as_ref()?.address.to_string();
        let id = self.start.id;
        let is_voter = self.members().iter().any(|member| member.id == id && member.is_voter);
        Some(MemberInfo { id, address, is_voter })
    }

    /// Makes somebody a voter.
    pub(crate) async fn admit(&self, id: MemberId, address: String) -> Result<(), MembershipError> {
        let member = self.member();
        let admitting = unhurried(async move { member.admit(id, &address).await });
        admitting.await.unwrap_or_else(|| Err(MembershipError::Unknown { reason: "stopped".into() }))
    }

    /// Removes a member, here or through the leader. A leader that is to go hands over first.
    pub(crate) async fn remove(&self, id: MemberId) -> Result<(), MembershipError> {
        if id == self.start.id {
            self.hand_over().await;
        }
        let member = self.member();
        let Some((leader, _)) = member.leader() else {
            let removing = unhurried(async move { member.remove(id).await });
            return removing.await.unwrap_or_else(|| Err(unknown("stopped")));
        };
        let request = wire::RemoveRequest { envelope: leader.envelope(), id: id.0 };
        match leader.call(PeerRequest::Remove(request), 2 * CHANGE_MAX).await {
            Ok(PeerReply::Remove(wire::RemoveReply { reply: Some(reply) })) => match reply {
                wire::remove_reply::Reply::Removed(_) => Ok(()),
                wire::remove_reply::Reply::NotLeader(_) => Err(MembershipError::NotLeader { leader: None }),
                wire::remove_reply::Reply::Refused(reason) => Err(MembershipError::Refused { reason }),
                wire::remove_reply::Reply::Unknown(reason) => Err(MembershipError::Unknown { reason }),
            },
            Ok(_) => Err(unknown("a reply to another question")),
            Err(error) => Err(unknown(&error.to_string())),
        }
    }

    /// The other members and how long ago each answered this one, if it leads.
    pub(crate) fn answered(&self) -> Vec<(MemberId, Option<Duration>)> {
        self.running.load().answered()
    }

    /// Lets another voter lead; whether one does.
    pub(crate) async fn hand_over(&self) -> bool {
        let member = self.member();
        if member.is_sole() || !self.has_peers() || member.leads().is_none() {
            return false;
        }
        unhurried(async move { member.hand_over(HANDOVER_MAX).await }).await.unwrap_or(false)
    }

    /// Whether the log is worth a snapshot.
    pub(crate) fn wants_snapshot(&self, limits: &Limits) -> bool {
        self.running.load().wants_snapshot(limits)
    }

    /// Takes a snapshot of what is applied and shortens the log behind it.
    pub(crate) async fn snapshot(&self, limits: &Limits) -> Result<(), ReadError> {
        let (member, limits) = (self.member(), *limits);
        unhurried(async move { member.snapshot(&limits).await }).await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Stops the member and closes its log.
    pub(crate) async fn stop(&self) {
        let member = self.member();
        unhurried(async move { member.stop().await }).await;
    }

    /// Publishes when this member begins and ceases to lead, and replaces an engine whose disk failed.
    /// Returns when it was stopped, or failed for another reason.
    pub(crate) async fn supervise(
        self,
        leadership: Arc<watch::Sender<Option<Term>>>,
        membership: Arc<watch::Sender<Vec<MemberInfo>>>,
    ) {
        loop {
            let member = self.member();
            let mut seen = None;
            let changed = || {
                publish(&leadership, member.leads());
                publish(&self.start.half_changed, member.leads().is_some() && !member.is_settled());
                let position = member.membership_position();
                if seen.replace(position) != Some(position) {
                    publish(&membership, member.members());
                }
            };
            let ended = tokio::select! {
                biased;
                ended = member.follow(changed) => Ended::Engine(ended),
                () = self.start.soundness.found_wrong() => Ended::Wrong,
            };
            publish(&leadership, None);
            match &ended {
                Ended::Engine(Fatal::Stopped) => return,
                Ended::Engine(Fatal::Panicked) => return self.start.alarm.raise("replication"),
                Ended::Engine(Fatal::StorageError(error)) => {
                    tracing::error!(%error, "the disk failed, writes are refused");
                }
                Ended::Wrong => self.start.core().disown(),
            }
            member.stop().await;
            if let Ended::Wrong = ended {
                self.start.reinstall(&member).await;
            }
            drop(member);
            self.running.store(Arc::new(self.start.again().await));
            match ended {
                Ended::Engine(_) => tracing::info!("the disk is back, writes go on"),
                Ended::Wrong => {
                    self.start.soundness.restored();
                    tracing::info!("the state is the leader's, reads and writes go on");
                }
            }
        }
    }
}

impl Start {
    async fn member(&self) -> Result<Member, OpenError> {
        let medium = (self.opener)().await.map_err(OpenError::from)?;
        let seed = self.seams.random.next();
        let peers = Peers::new(self.id, self.peering.clone(), self.soundness.clone());
        let lasting = Lasting {
            core: self.core.clone(),
            arrivals: self.arrivals.clone(),
            soundness: self.soundness.clone(),
            log_held_bytes_max: self.log_held_bytes_max,
            alarm: self.alarm.clone(),
        };
        Member::start(medium, self.id, peers, lasting, seed).await
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("no panic while the lock is held")
    }

    /// Puts the leader's state in the place of this member's, whose engine has stopped. Tries until it works: without a
    /// leader there is nobody to learn the right state from. The log stays, for others may count on what it holds.
    async fn reinstall(&self, member: &Member) {
        loop {
            match member.fetch_state().await {
                Ok(contents) => return self.core().restore(contents),
                Err(why) => tracing::warn!(%why, "no state to replace this member's"),
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    /// Tries until it works.
    async fn again(&self) -> Member {
        loop {
            tokio::time::sleep(REOPEN_PAUSE).await;
            match self.member().await {
                Ok(member) => return member,
                Err(error) => tracing::warn!(%error, "the disk is not back yet"),
            }
        }
    }
}

/// The engine is asked in a task of its own, as below; what was appended stays so whoever leaves.
async fn unhurried_write(member: Arc<Member>, command: Arc<Command>) -> Result<(), ProposeError> {
    if member.is_sole() {
        // Runs in the store's own task already, and nobody leaves it.
        return member.write(command).await;
    }
    unhurried(async move { member.write(command).await }).await.unwrap_or(Err(ProposeError::Unknown))
}

/// Carries out what may meet an engine that ends, in a task of its own. The engine is not made for a
/// caller that leaves while it waits for that end: whoever asks next would panic.
async fn unhurried<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work).await.ok()
}

fn unknown(reason: &str) -> MembershipError {
    MembershipError::Unknown { reason: reason.to_owned() }
}

fn publish<T: PartialEq>(to: &watch::Sender<T>, now: T) {
    to.send_if_modified(|published| {
        let changed = *published != now;
        *published = now;
        changed
    });
}
