//! The Kubernetes API over the store.
//!
//! Serves HTTPS to everybody and the same API in memory to the parts of this
//! process. Decides who may do what, what a valid object is and what a client
//! sees. Knows nothing of controllers, nodes' containers or the kernel.
//!
//! Invariants: one chain ([`chain`]) for every request, one place that knows
//! HTTP codes ([`status`]), one path for every resource ([`registry`]).

mod admission;
mod audit;
mod bootstrap;
mod catalog;
mod chain;
mod chunks;
mod clock;
mod codec;
mod components;
mod config;
mod connect;
mod context;
mod discovery;
mod empties;
mod exact;
mod expiry;
mod files;
mod flow;
mod flow_objects;
mod forms;
mod frames;
mod identity;
mod kept;
mod lean;
mod local;
mod metrics;
mod negotiate;
mod objects;
mod options;
mod permissions;
mod presence;
mod protobuf;
mod query;
mod registry;
mod remote;
mod render;
mod repair;
mod reply;
mod request_info;
mod reviews;
mod seen;
mod server;
pub mod signing;
mod status;
mod turns;
pub mod untrusted;
mod yaml;

#[cfg(test)]
mod reads;

pub use audit::{Audit, AuditError, AuditLimits};
pub use bootstrap::Endpoints;
pub use chain::go_duration;
pub use config::{Advertised, Config, Kubelet, OWN_PAGES, OwnPages, Tls};
pub use context::Fence;
pub use files::{FileError, read_authentication, read_authorizers, read_token_file};
pub use identity::{Remotes, RemotesError, TokenWebhook};
pub use kinds::coordination::until_renewal;
pub use local::Local;
pub use server::{ApiServer, ServeError};
