//! Keeps a member running: when its disk fails, the engine is stopped, the medium opened again and the
//! engine started on it. Reads and watches go on meanwhile; writes are refused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use mvcc::{Command, State, Term};
use openraft::errors::Fatal;
use tokio::sync::watch;

use super::applier::Core;
use super::member::Member;
use crate::error::{OpenError, ProposeError, ReadError};
use crate::housekeeping::Limits;
use crate::machine::{Machine, Shared};
use crate::medium::Medium;
use crate::seams::Seams;
use crate::store::MemberId;

/// Opens a medium, each time anew.
pub(crate) type Opener = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Medium>> + Send + Sync>;

/// Between two attempts to open a failed medium again. A full disk is freed by hand or by a clean-up;
/// neither is faster.
const REOPEN_PAUSE: Duration = Duration::from_secs(2);

/// A member whatever its disk does. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    running: Arc<ArcSwap<Member>>,
    start: Arc<Start>,
}

/// What an engine is started with.
struct Start {
    opener: Opener,
    id: MemberId,
    core: Arc<std::sync::Mutex<Core>>,
    seams: Seams,
}

impl Replica {
    /// Starts a member and returns when it can be read.
    pub(crate) async fn start(
        opener: Opener,
        id: MemberId,
        seams: &Seams,
    ) -> Result<(Self, Arc<Shared>), OpenError> {
        let machine = Machine::new(State::default(), seams.hash_seed);
        let shared = machine.shared().clone();
        let start = Arc::new(Start { opener, id, core: Core::new(machine), seams: seams.clone() });
        let member = start.member().await?;
        Ok((Self { running: Arc::new(ArcSwap::from_pointee(member)), start }, shared))
    }

    fn member(&self) -> Arc<Member> {
        self.running.load_full()
    }

    /// The term this member leads in, if it leads.
    pub(crate) fn leads(&self) -> Option<Term> {
        self.running.load().leads()
    }

    /// Writes a command and returns once it is applied here.
    pub(crate) async fn write(&self, command: Command) -> Result<(), ProposeError> {
        self.member().write(command).await
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(crate) async fn confirm(&self) -> Result<(), ReadError> {
        let member = self.member();
        if member.is_sole() {
            // What a sole voter acknowledged it has published, whether it still runs or not.
            return Ok(());
        }
        unhurried(async move { member.confirm().await }).await.unwrap_or(Err(ReadError::Stopped))
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
    pub(crate) async fn supervise(self, leadership: Arc<watch::Sender<Option<Term>>>) {
        loop {
            let member = self.member();
            let ended = member.follow(|| publish(&leadership, member.leads())).await;
            publish(&leadership, None);
            match ended {
                Fatal::Stopped => return,
                Fatal::Panicked => return tracing::error!("replication has panicked"),
                Fatal::StorageError(error) => tracing::error!(%error, "the disk failed, writes are refused"),
            }
            member.stop().await;
            drop(member);
            self.running.store(Arc::new(self.start.again().await));
            tracing::info!("the disk is back, writes go on");
        }
    }
}

impl Start {
    async fn member(&self) -> Result<Member, OpenError> {
        let medium = (self.opener)().await.map_err(OpenError::from)?;
        Member::start(medium, self.id, self.core.clone(), self.seams.random.next()).await
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

/// Carries out what may meet an engine that ends, in a task of its own. The engine is not made for a
/// caller that leaves while it waits for that end: whoever asks next would panic.
async fn unhurried<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work).await.ok()
}

fn publish(leadership: &watch::Sender<Option<Term>>, now: Option<Term>) {
    leadership.send_if_modified(|published| std::mem::replace(published, now) != now);
}
