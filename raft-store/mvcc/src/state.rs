//! The state machine: one committed command in, one outcome out.

use std::sync::Arc;

use crate::hash::StateHash;
use crate::history::{Compacted, History};
use crate::precondition;
use crate::types::{Change, ChangeKind, Entry, Object, Operation, Outcome, Revision, Term, Transaction};
use crate::view::View;

/// Names a proposal, so that whoever made it finds its outcome in the local apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProposalId(pub u128);

/// What the log carries: everything apply needs, computed by the proposer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Drawn by the proposer.
    pub proposal: ProposalId,
    /// The feature level the proposer assumed.
    pub feature_level: u32,
    /// What to do.
    pub body: CommandBody,
}

/// The kinds of command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandBody {
    /// Writes objects.
    Transact(Transaction),
    /// Forgets history at or below a revision.
    Compact(Revision),
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// For the proposer.
    pub outcome: Outcome,
    /// For the watchers, in order of revision.
    pub changes: Vec<Arc<Change>>,
}

/// Objects, history and indexes. A clone is a frozen copy that costs a few reference counts.
#[derive(Debug, Clone, Default)]
pub struct State {
    view: View,
    history: History,
}

impl State {
    /// Rebuilds a state from the records of a snapshot. The indexes are not among them: they follow from
    /// the objects.
    pub fn restored(
        revision: Revision,
        compacted: Revision,
        entries: impl IntoIterator<Item = Arc<Entry>>,
        changes: impl IntoIterator<Item = Arc<Change>>,
    ) -> Self {
        let view = View::restored(revision, entries);
        let history = History::restored(compacted, changes);
        Self { view, history }
    }

    /// The state at its newest revision.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Recent changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// The order-independent hash of every object.
    pub fn hash(&self) -> StateHash {
        self.view.hash()
    }

    /// The state at an earlier revision.
    pub fn view_at(&self, revision: Revision) -> Result<View, Compacted> {
        self.view.rewound(&self.history, revision)
    }

    /// Applies one committed command. Total and deterministic: a command the store refuses is an
    /// [`Outcome`], never an `Err` and never a panic.
    pub fn apply(&mut self, command: &Command, term: Term) -> Applied {
        let before = self.revision();
        let applied = match &command.body {
            CommandBody::Transact(transaction) => self.transact(transaction, term),
            CommandBody::Compact(at) => self.compact(*at),
        };

        // One revision per changed object, without gaps.
        assert_eq!(self.revision().0, before.0 + applied.changes.len() as u64);
        assert_eq!(self.history.newest(), self.revision());
        applied
    }

    fn transact(&mut self, transaction: &Transaction, term: Term) -> Applied {
        if let Err(refusal) = precondition::check(&self.view, &self.history, transaction, term) {
            let outcome = Outcome::Refused { precondition: refusal.precondition, current: refusal.current };
            return Applied { outcome, changes: Vec::new() };
        }
        let first = self.revision().next();
        let last = Revision(self.revision().0 + transaction.operations.len() as u64);
        let mut revision = self.revision();
        let mut changes = Vec::with_capacity(transaction.operations.len());
        for operation in &transaction.operations {
            revision = revision.next();
            let change = Arc::new(self.change(operation, revision, last));
            self.view.redo(&change);
            self.history.push(change.clone());
            changes.push(change);
        }
        self.view.advance(last);
        let entries = changes.iter().map(|change| change.entry.clone()).collect();
        Applied { outcome: Outcome::Applied { first, last, entries }, changes }
    }

    fn change(&self, operation: &Operation, revision: Revision, visible: Revision) -> Change {
        let previous = self.view.get(operation.key());
        match operation {
            Operation::Put(object) => put(object, previous, revision, visible),
            Operation::Delete(_) => {
                let entry = previous.expect("the preconditions found the object to delete");
                Change { revision, visible, kind: ChangeKind::Deleted, previous: Some(entry.clone()), entry }
            }
        }
    }

    fn compact(&mut self, at: Revision) -> Applied {
        self.history.compact(at);
        let (first, last) = (self.revision().next(), self.revision());
        Applied { outcome: Outcome::Applied { first, last, entries: Vec::new() }, changes: Vec::new() }
    }
}

fn put(object: &Object, previous: Option<Arc<Entry>>, revision: Revision, visible: Revision) -> Change {
    let kind = if previous.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
    let created = previous.as_ref().map_or(revision, |previous| previous.created);
    let entry = Arc::new(Entry::new(object.clone(), revision, created));
    Change { revision, visible, kind, entry, previous }
}
