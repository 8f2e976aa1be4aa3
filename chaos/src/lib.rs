//! The simulator: the store under faults, on one thread, from one seed, and checkers of what it promises.
//!
//! A run is a pure function of its seed. The seed makes a [`plan`]; each [`computer`] of a [`cluster`] runs
//! the real store on a faulty [`disk`] and reaches the others through a faulty [`network`]; clients and
//! watchers use any of them through [`api`] while the [`nemesis`] breaks things; everything they see goes
//! into the [`trace`]; and [`check`] judges the trace alone. The [`tally`] tells how often what happened.
//!
//! Invariants: the checkers share no code with the store; nothing here asks a clock, the operating
//! system's randomness or a second thread.

pub mod api;
pub mod bugs;
pub mod check;
pub mod client;
pub mod cluster;
pub mod computer;
pub mod disk;
pub mod forgery;
pub mod nemesis;
pub mod network;
pub mod plan;
pub mod seed;
pub mod sim;
pub mod tally;
pub mod trace;
pub mod translate;
pub mod watcher;
pub mod words;
pub mod workload;
