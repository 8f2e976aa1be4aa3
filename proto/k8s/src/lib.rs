//! Kubernetes types and tables of facts, of one minor version (1.36).
//!
//! Decides nothing: the types are `k8s-openapi`'s, read-only views on an object, and [`tables`] holds the facts that the
//! types leave out (list and map semantics, protobuf numbers, what an empty value looks like on the wire, served resources).
//! A leaf of the workspace: it depends on no other room and does no I/O.

pub use k8s_openapi;

pub mod tables;
