//! The store as clients reach it: calls in the simulator's words, cut off when the power goes.
//!
//! Most bugs put in on purpose live here, as lies between store and client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raft_store::{
    Compacted, MemberId, MemberInfo, MembershipError, Outcome, ProposeError, ReadError, Revision, Store,
    View, WatchEnd, Watcher,
};
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::translate;
use crate::words::{Action, Answer, Place, Scope, Seen, Version, Write};

/// A running store. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Api {
    store: Store,
    power: CancellationToken,
    /// Starts of its computer before this one.
    starts: u64,
    /// Writes it has acknowledged.
    acknowledged: Arc<AtomicU64>,
    bug: Option<Bug>,
}

impl Api {
    /// A store that runs while `power` is not cancelled.
    pub fn new(store: Store, power: CancellationToken, starts: u64, bug: Option<Bug>) -> Self {
        Self { store, power, starts, acknowledged: Arc::default(), bug }
    }

    /// What it has come to: its newest revision, the oldest it remembers, the hash of its state.
    pub fn state(&self) -> (u64, u64, String) {
        let hash = self.store.hash().to_string();
        (self.store.view().revision().0, self.store.oldest().0, hash[..16].to_owned())
    }

    /// The members it knows.
    pub fn members(&self) -> Vec<MemberInfo> {
        self.store.members()
    }

    /// Whether no change of them is half done, as far as it knows.
    pub fn is_settled(&self) -> bool {
        self.store.members_are_settled()
    }

    /// Makes somebody a voter.
    pub async fn admit(&self, member: u64, address: String) -> &'static str {
        self.changed(self.store.admit(MemberId(member), address)).await
    }

    /// Removes a member.
    pub async fn remove(&self, member: u64) -> &'static str {
        self.changed(self.store.remove(MemberId(member))).await
    }

    /// What came of a change of members, in words that are the same for the same seed.
    async fn changed(&self, change: impl Future<Output = Result<(), MembershipError>>) -> &'static str {
        match self.power.run_until_cancelled(change).await {
            None => "power",
            Some(Ok(())) => "done",
            Some(Err(MembershipError::NotLeader { .. })) => "not the leader",
            Some(Err(MembershipError::Behind { .. })) => "behind",
            Some(Err(MembershipError::Taken { .. })) => "taken",
            Some(Err(MembershipError::Last { .. })) => "the last",
            Some(Err(MembershipError::Unsafe { .. })) => "unsafe",
            Some(Err(MembershipError::Refused { .. })) => "refused",
            Some(Err(MembershipError::Unknown { .. })) => "unknown",
        }
    }

    /// Lets another member lead.
    pub async fn hand_over(&self) -> bool {
        self.power.run_until_cancelled(self.store.hand_over()).await.unwrap_or(false)
    }

    /// Cancelled when the power goes.
    pub fn power(&self) -> &CancellationToken {
        &self.power
    }

    /// The term it leads in.
    pub fn term(&self) -> Option<u64> {
        self.store.term().map(|term| term.0)
    }

    /// Calls, until an answer, the deadline or the end of power.
    pub async fn call(&self, call: u32, action: &Action, deadline: Duration) -> Answer {
        let unanswered = |why| match action {
            Action::Write(_) => Answer::Unknown,
            _ => Answer::Failed(why),
        };
        let answer = tokio::select! {
            biased;
            () = self.power.cancelled() => unanswered("power"),
            answer = tokio::time::timeout(deadline, self.answer(call, action)) => {
                answer.unwrap_or_else(|_| unanswered("deadline"))
            }
        };
        match (answer, action, self.bug) {
            (Answer::Unknown, _, Some(Bug::UnknownDenied)) => Answer::NotAppended("stopped"),
            (Answer::Unknown, Action::Write(write), Some(Bug::UnknownRepeated)) => {
                self.repeat(translate::transaction(call, write));
                Answer::Unknown
            }
            (answer, ..) => answer,
        }
    }

    async fn answer(&self, call: u32, action: &Action) -> Answer {
        match action {
            Action::Write(write) => self.write(call, write).await,
            Action::Read(place) => match self.newest().await {
                Ok(view) => found(&view, place),
                Err(why) => Answer::Failed(why),
            },
            Action::List(resource) => match self.newest().await {
                Ok(view) => self.halved(listed(&view, resource)),
                Err(why) => Answer::Failed(why),
            },
            Action::ListAt(resource, at) => self.list_at(resource, Revision(*at)).await,
            Action::Compact(at) => match self.store.compact(Revision(*at)).await {
                Ok(()) => Answer::Done,
                Err(_) => Answer::Failed("compaction"),
            },
            Action::Snapshot => match self.store.snapshot().await {
                Ok(()) => Answer::Done,
                Err(_) => Answer::Failed("snapshot"),
            },
        }
    }

    /// Somebody has seen the revision, so this member will.
    async fn list_at(&self, resource: &str, at: Revision) -> Answer {
        if self.store.at_least(at).await.is_err() {
            return Answer::Failed("stopped");
        }
        match self.store.view_at(at) {
            Ok(view) => self.halved(listed(&view, resource)),
            Err(Compacted { oldest }) => Answer::Compacted { oldest: oldest.0 },
        }
    }

    async fn write(&self, call: u32, write: &Write) -> Answer {
        let mut transaction = translate::transaction(call, write);
        match self.bug {
            Some(Bug::GuardsIgnored) => transaction.preconditions.clear(),
            Some(Bug::FenceIgnored) => transaction.fence = None,
            Some(Bug::RefusesWrongly) if call.is_multiple_of(50) && !write.guards.is_empty() => {
                return Answer::Refused { guard: 0 };
            }
            _ => {}
        }
        match self.store.propose(transaction).await {
            Ok(Outcome::Applied { first, last, entries }) => {
                let is_first = self.acknowledged.fetch_add(1, Ordering::Relaxed) == 0;
                let reuses = self.bug == Some(Bug::RevisionReused) && self.starts > 0;
                let lag = u64::from(reuses && is_first && first.0 > 1);
                let mut versions: Vec<Version> =
                    entries.iter().map(|entry| translate::version(entry)).collect();
                versions.iter_mut().for_each(|version| version.revision -= lag);
                Answer::Applied { first: first.0 - lag, last: last.0 - lag, versions }
            }
            Ok(Outcome::Refused { precondition, .. }) => Answer::Refused { guard: precondition },
            Err(ProposeError::Unknown) => Answer::Unknown,
            Err(ProposeError::NotLeader { .. }) => Answer::NotAppended("not the leader"),
            Err(ProposeError::TooLarge { .. }) => Answer::NotAppended("too large"),
            Err(ProposeError::Stopped) => Answer::NotAppended("stopped"),
        }
    }

    /// What a client must not do: propose again, and again, while nobody knows what became of the first.
    fn repeat(&self, transaction: raft_store::Transaction) {
        let store = self.store.clone();
        let again = async move {
            let mut answers = 0;
            while answers < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                // The outcome is nobody's: that is the bug.
                answers += u32::from(store.propose(transaction.clone()).await.is_ok());
            }
        };
        tokio::spawn(self.power.clone().run_until_cancelled_owned(again));
    }

    async fn newest(&self) -> Result<View, &'static str> {
        if self.bug == Some(Bug::ReadsNeedDisk) && self.store.term().is_none() {
            return Err("the disk has failed");
        }
        if self.bug == Some(Bug::FollowerReadsStale) && self.store.term().is_none() {
            return Ok(self.store.view());
        }
        let view = self.store.linearizable().await.map_err(|error| match error {
            ReadError::NoLeader => "no leader",
            ReadError::Wrong => "wrong",
            ReadError::Stopped => "stopped",
        })?;
        if self.bug == Some(Bug::ReadsStale) {
            let before = Revision(view.revision().0.saturating_sub(1));
            return Ok(self.store.view_at(before).unwrap_or(view));
        }
        Ok(view)
    }

    /// Hides the last step of a transaction that the list would show.
    fn halved(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Listed { at, mut items } if self.bug == Some(Bug::ListsHalf) => {
                let step = |items: &[(Place, Version)], revision| {
                    items.iter().position(|(_, version)| version.revision == revision)
                };
                let (last, before) = (step(&items, at), step(&items, at.saturating_sub(1)));
                match (last, before) {
                    (Some(last), Some(before)) if items[last].1.id.call == items[before].1.id.call => {
                        items.remove(last);
                        Answer::Listed { at: at - 1, items }
                    }
                    _ => Answer::Listed { at, items },
                }
            }
            other => other,
        }
    }

    /// Watches.
    pub fn watch(&self, scope: &Scope, after: u64) -> Result<Watch, u64> {
        if self.bug == Some(Bug::HistoryDenied) && after > 0 && after.is_multiple_of(5) {
            return Err(after + 1);
        }
        let begins = match self.bug {
            Some(Bug::WatchRepeats) => after.saturating_sub(1),
            _ => after,
        };
        let watch = self.store.watch(translate::interest(scope), Revision(begins));
        let watcher = watch.map_err(|compacted| compacted.oldest.0)?;
        let skips = self.bug == Some(Bug::WatchSkips) && after > 0;
        Ok(Watch { watcher, power: self.power.clone(), bug: self.bug, skips })
    }
}

/// A watch. Ends when the power goes.
#[derive(Debug)]
pub struct Watch {
    watcher: Watcher,
    power: CancellationToken,
    bug: Option<Bug>,
    skips: bool,
}

impl Watch {
    /// The next changes, or why there are none. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Vec<Seen>, &'static str> {
        let delivered = tokio::select! {
            biased;
            () = self.power.cancelled() => return Err("power"),
            delivered = self.watcher.next() => delivered,
        };
        let changes = delivered.map_err(|end| match end {
            WatchEnd::Lagged { .. } => "lagged",
            WatchEnd::Gone { .. } => "gone",
            WatchEnd::Stopped => "stopped",
        })?;
        let mut changes: Vec<Seen> = changes.iter().map(|change| translate::seen(change)).collect();
        if std::mem::take(&mut self.skips) {
            changes.remove(0);
        }
        if self.bug == Some(Bug::WatchReorders) && changes.len() > 1 {
            changes.swap(0, 1);
        }
        Ok(changes)
    }

    /// How far it is.
    pub fn progress(&self) -> u64 {
        self.watcher.progress().0 + if self.bug == Some(Bug::ProgressAhead) { 2 } else { 0 }
    }
}

fn found(view: &View, place: &Place) -> Answer {
    let entry: Option<Arc<_>> = view.get(&translate::store_key(place));
    Answer::Found { at: view.revision().0, version: entry.as_deref().map(translate::version) }
}

fn listed(view: &View, resource: &str) -> Answer {
    let items = view.list(resource, None, None);
    let items = items.map(|entry| (translate::place(&entry.object.key), translate::version(entry))).collect();
    Answer::Listed { at: view.revision().0, items }
}
