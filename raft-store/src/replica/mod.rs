//! Replication: openraft with our log, our state machine and our peers around it.
//!
//! Invariant: nothing outside this folder names openraft.

mod answer;
mod applier;
mod convert;
mod forward;
mod incoming;
mod ledger;
mod log_store;
mod member;
mod membership;
mod network;
mod reads;
mod reinstall;
mod shelf;
mod snapshot;
mod soundness;
mod supervisor;
mod tail;
#[cfg(test)]
mod tests;
mod types;
pub mod untrusted;
mod verifier;

use applier::Applier;
pub(crate) use incoming::Incoming;
use log_store::LogStore;
pub use membership::{MemberInfo, MembershipError};
use network::Peers;
pub(crate) use shelf::Shelf;
pub(crate) use snapshot::{Image, Snapshots};
pub(crate) use supervisor::{Opener, Replica};
