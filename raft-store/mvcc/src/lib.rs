//! The pure state machine of the store: versions, preconditions, indexes, history.
//!
//! This crate decides what a committed command does to the state and what a reader sees at a revision.
//! It is total, deterministic and synchronous: no clock, no randomness, no I/O, no iteration in hash
//! order, and it never parses the bytes of an object. It knows nothing of Raft but the term a command
//! was committed in.
//!
//! ```text
//! apply  put a, put b        ->  revisions 1..=2, visible at 2
//! apply  put a, delete b     ->  revisions 3..=4, visible at 4
//! watch  after 3             ->  delete b @4     (a resume point may lie inside a transaction)
//! view_at 3                  ->  read as 4       (a reader never sees half a transaction)
//! view_at 1                  ->  read as 2: a@1 b@2, undone backwards through the history
//! compact 2, view_at 1       ->  compacted: oldest is 2
//! ```

mod hash;
mod history;
mod order;
mod precondition;
pub mod records;
mod state;
mod types;
mod view;
pub mod wire;

pub use hash::StateHash;
pub use history::{Compacted, History};
pub use state::{Applied, Command, CommandBody, ProposalId, State};
pub use types::{
    Change, ChangeKind, Entry, Interest, Key, Object, Operation, Outcome, Precondition, REFUSED_BY_FENCE,
    Revision, Term, Transaction,
};
pub use view::View;
