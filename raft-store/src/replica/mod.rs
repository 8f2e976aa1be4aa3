//! Replication: openraft with our log, our state machine and our peers around it.
//!
//! Invariant: nothing outside this folder names openraft.

mod answer;
mod applier;
mod convert;
mod forward;
mod log_store;
mod member;
mod membership;
mod network;
mod reads;
mod snapshot;
mod supervisor;
#[cfg(test)]
mod tests;
mod types;
pub mod untrusted;

use applier::Applier;
use log_store::LogStore;
pub use membership::{MemberInfo, MembershipError};
use network::Peers;
pub(crate) use snapshot::{Image, Incoming, Snapshots};
pub(crate) use supervisor::{Opener, Replica};
