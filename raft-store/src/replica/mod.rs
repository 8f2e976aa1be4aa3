//! Replication: openraft with our log, our state machine and our peers around it.
//!
//! Invariant: nothing outside this folder names openraft.

mod applier;
mod convert;
mod log_store;
mod member;
mod network;
mod snapshot;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use applier::Applier;
pub(crate) use log_store::LogStore;
pub(crate) use member::{Replica, follow_leadership, start};
pub(crate) use network::Peers;
pub(crate) use snapshot::Snapshots;
