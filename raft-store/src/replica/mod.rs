//! Replication: openraft with our log, our state machine and our peers around it.
//!
//! Invariant: nothing outside this folder names openraft.

mod applier;
mod convert;
mod log_store;
mod member;
mod network;
mod snapshot;
mod supervisor;
#[cfg(test)]
mod tests;
mod types;

use applier::Applier;
use log_store::LogStore;
use network::Peers;
pub(crate) use snapshot::Snapshots;
pub(crate) use supervisor::{Opener, Replica};
