//! The apply side: one owner of the state, and what it publishes to readers and watchers.
//!
//! Only the apply task holds a [`Machine`]. Everybody else sees the [`Shared`] half, which changes once
//! per batch and only after the batch is committed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use mvcc::{Change, Command, Compacted, Outcome, ProposalId, Revision, State, Term, View};
use tokio::sync::{oneshot, watch};

use crate::hub::Hub;
use crate::seams::HashSeed;

/// Old views kept for readers that page through a list. Each costs the tree nodes that changed since;
/// sixteen cover the pages of as many lists at a time.
const OLD_VIEWS_MAX: usize = 16;

/// Changes between two views that are kept whether somebody asks or not. Undoing costs some ten
/// microseconds a change, so no old view is further away than a tenth of a second; a full history has
/// eight of them.
const CHECKPOINT_INTERVAL: u64 = 8192;

/// What readers, watchers and proposers share with the apply task.
pub(crate) struct Shared {
    state: ArcSwap<State>,
    applied: watch::Sender<Revision>,
    pub(crate) hub: Hub,
    proposals: Mutex<HashMap<ProposalId, oneshot::Sender<Outcome>, HashSeed>>,
    old_views: Mutex<OldViews>,
}

/// Views at earlier revisions, from which others are undone.
#[derive(Default)]
struct OldViews {
    /// At regular distances.
    checkpoints: VecDeque<View>,
    /// Of the last readers.
    asked: VecDeque<View>,
}

impl OldViews {
    /// The nearest one from which a revision can be reached backwards.
    fn nearest(&self, wanted: Revision) -> Option<View> {
        let views = self.checkpoints.iter().chain(&self.asked);
        views.filter(|view| view.revision() >= wanted).min_by_key(|view| view.revision()).cloned()
    }

    fn keep(&mut self, view: View) {
        if self.asked.len() == OLD_VIEWS_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(view);
    }

    /// Drops what no reader can ask for any more.
    fn expire(&mut self, oldest: Revision) {
        self.checkpoints.retain(|view| view.revision() >= oldest);
        self.asked.retain(|view| view.revision() >= oldest);
    }

    fn checkpoint(&mut self, view: &View) {
        let last = self.checkpoints.back().map_or(Revision::ZERO, View::revision);
        if view.revision().0 >= last.0 + CHECKPOINT_INTERVAL {
            self.checkpoints.push_back(view.clone());
        }
    }
}

impl Shared {
    pub(crate) fn new(state: State, seed: HashSeed) -> Arc<Self> {
        let revision = state.revision();
        Arc::new(Self {
            state: ArcSwap::from_pointee(state),
            applied: watch::Sender::new(revision),
            hub: Hub::new(seed, revision),
            proposals: Mutex::new(HashMap::with_hasher(seed)),
            old_views: Mutex::default(),
        })
    }

    /// The published state.
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Follows the published revision.
    pub(crate) fn applied(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Registers a proposal before it is submitted: its apply may come first.
    pub(crate) fn expect_outcome(&self, proposal: ProposalId) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.proposals.lock().expect("no panic while the lock is held").insert(proposal, sender);
        receiver
    }

    /// Forgets a proposal that will not be applied here.
    pub(crate) fn forget_outcome(&self, proposal: ProposalId) {
        self.proposals.lock().expect("no panic while the lock is held").remove(&proposal);
    }

    /// A snapshot stands in the place of applies: what they came to is in it and cannot be told any more.
    fn abandon_outcomes(&self) {
        self.proposals.lock().expect("no panic while the lock is held").clear();
    }

    fn resolve(&self, outcomes: Vec<(ProposalId, Outcome)>) {
        let mut proposals = self.proposals.lock().expect("no panic while the lock is held");
        for (proposal, outcome) in outcomes {
            if let Some(waiting) = proposals.remove(&proposal) {
                // The caller may have gone; the write stands all the same.
                let _ = waiting.send(outcome);
            }
        }
    }

    /// The view at a revision, from the nearest one at hand.
    pub(crate) fn view_at(&self, at: Revision) -> Result<View, Compacted> {
        let state = self.state.load_full();
        let wanted = state.history().visible(at)?;
        if wanted == state.revision() {
            return Ok(state.view().clone());
        }
        let nearest = self.old_views().nearest(wanted);
        let view = nearest.as_ref().unwrap_or(state.view()).rewound(state.history(), wanted)?;
        if nearest.is_none_or(|nearest| nearest.revision() != wanted) {
            self.old_views().keep(view.clone());
        }
        Ok(view)
    }

    fn old_views(&self) -> MutexGuard<'_, OldViews> {
        self.old_views.lock().expect("no panic while the lock is held")
    }
}

/// The owner of the state.
pub(crate) struct Machine {
    state: State,
    shared: Arc<Shared>,
    /// Of the batch under way.
    changes: Vec<Arc<Change>>,
    outcomes: Vec<(ProposalId, Outcome)>,
}

impl Machine {
    pub(crate) fn new(state: State, seed: HashSeed) -> Self {
        let shared = Shared::new(state.clone(), seed);
        Self { state, shared, changes: Vec::new(), outcomes: Vec::new() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Takes the state of a snapshot. Watchers go on if its history covers what they have not seen,
    /// else they are told that they missed something.
    pub(crate) fn replace(&mut self, state: State) {
        let seen = self.shared.hub.dispatched();
        let missed: Option<Vec<_>> =
            state.history().after(seen).ok().map(|changes| changes.cloned().collect());
        self.state = state;
        self.changes.clear();
        let (revision, oldest) = (self.state.revision(), self.state.history().oldest());
        *self.shared.old_views() = OldViews::default();
        self.shared.state.store(Arc::new(self.state.clone()));
        self.shared.applied.send_replace(revision);
        self.shared.abandon_outcomes();
        match missed {
            Some(changes) => self.shared.hub.dispatch(changes.iter(), revision),
            None => self.shared.hub.lose_history(oldest, revision),
        }
    }

    /// A state of the test's making.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, spoil: impl FnOnce(&mut State)) {
        spoil(&mut self.state);
        self.publish_state();
    }

    /// Ends every watch: what they were told is not to be relied on.
    pub(crate) fn disown(&mut self) {
        let revision = self.state.revision();
        self.shared.hub.lose_history(revision, revision);
    }

    /// Applies a committed command. Nobody sees it before [`Machine::publish`].
    pub(crate) fn apply(&mut self, command: &Command, term: Term) {
        let applied = self.state.apply(command, term);
        self.changes.extend(applied.changes);
        self.outcomes.push((command.proposal, applied.outcome));
    }

    /// Makes everything applied so far visible: first to readers, then to watchers, then to proposers,
    /// so that whoever hears of a write can read it.
    pub(crate) fn publish(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let revision = self.state.revision();
        let oldest = self.state.history().oldest();
        {
            let mut old_views = self.shared.old_views();
            old_views.checkpoint(self.state.view());
            if oldest != self.shared.state().history().oldest() {
                old_views.expire(oldest);
            }
        }
        self.publish_state();
        self.shared.hub.dispatch(self.changes.iter(), revision);
        self.shared.resolve(std::mem::take(&mut self.outcomes));
        self.changes.clear();
    }

    fn publish_state(&self) {
        self.shared.state.store(Arc::new(self.state.clone()));
        self.shared.applied.send_replace(self.state.revision());
    }
}
