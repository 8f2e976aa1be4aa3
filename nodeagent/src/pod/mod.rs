//! One pod on this node.
//!
//! [`plan`] decides the next steps from what is wanted and what is observed, [`status`] and [`phase`] what to
//! report; they are pure. [`worker`] owns one pod each: it looks, asks the pure files, and acts through
//! [`execute`].

pub mod admission;
pub mod backoff;
pub mod conditions;
pub mod execute;
pub mod look;
pub mod memory;
pub mod observed;
pub mod phase;
pub mod plan;
pub mod report;
pub mod resources;
pub mod spec;
pub mod start;
pub mod status;
pub mod stop;
pub mod supervisor;
pub mod worker;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod status_tests;
