//! Services and cluster DNS on a node. An ordinary client of the Kubernetes API: it reads Services and EndpointSlices
//! and writes the kernel's tables.
//!
//! `model` says what each service wants of this node; `diff` says which services changed; `compile` says it in the
//! kernel's words; `kernel` is the only place that acts. `dns` answers names from the same model's inputs.
//!
//! What is absent: no rule is written per packet path but by `compile`, and neither `model` nor `diff` knows nftables.

pub mod compile;
pub mod diff;
pub mod dns;
pub mod kernel;
pub mod mode;
pub mod model;
pub mod plane;
mod run;

pub use mode::ProxyMode;
pub use run::{Options, run, usable};
