//! Reflectors, views and the plan shell that controllers stand on.
//!
//! What this crate decides: when a key is due, how often a failure is retried,
//! and what a view of the cluster is. It never decides what a controller does
//! with it, and it knows the API only through the client it is given.

pub mod cache;
pub mod client;
pub mod events;
mod exact;
pub mod expectations;
pub mod failure;
pub mod metadata;
pub mod queue;
pub mod resource;
pub mod selector;
pub mod shell;
pub mod time;

mod reflector;

#[cfg(test)]
mod tests;
pub use exact::exact;
pub use reflector::Source;

pub use cache::{Cache, Change, View};
pub use client::{Client, DeleteOptions, PatchKind};
pub use events::{Recorder, Regarding, Severity};
pub use expectations::Expectations;
pub use metadata::{Key, Metadata, OwnerReference};
pub use queue::Queue;
pub use resource::Resource;
pub use selector::{LabelSelector, Requirement};
pub use shell::{Next, Reconcile};
