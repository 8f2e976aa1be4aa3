//! Who may do what: certificates, tokens, authentication and role-based authorization.
//!
//! This crate decides who a request comes from ([`authn`]), whether it may do what it
//! asks for ([`rbac`], [`node`]) and what a fresh cluster allows ([`bootstrap`]). It makes the
//! certificates ([`pki`]), signs the tokens ([`tokens`]) and seals Secrets ([`seal`]).
//! It never reads the store and never answers a request: state comes in as pinned views
//! and traits, time and randomness as arguments.

pub mod authn;
mod authorization;
pub mod bootstrap;
mod chain;
pub mod go;
pub mod node;
pub mod pki;
mod private_file;
pub mod rbac;
pub mod seal;
pub mod tokens;
mod user;

pub use authorization::authorizers;
pub use chain::{Authorizer, Mode};
pub use user::{UserInfo, groups, users};

/// One Kubernetes object as a JSON tree.
pub type Tree = serde_json::Value;
