//! One schema engine over JSON trees: decode, default, patch, field ownership, selectors, quantities.
//!
//! An object stays one JSON tree from decode to encode. A [`Schema`] says what the tree may look like, for built-in kinds
//! from the tables of the `k8s` crate and for custom kinds from their own declaration; everything else here is a function
//! over (schema, tree). Nothing in this crate reads a clock, draws a random number or does I/O.

mod builtin;
pub mod decode;
pub mod default;
mod equality;
pub mod fields;
pub mod go;
pub mod intstr;
mod node;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod selectors;
pub mod time;

pub use builtin::{definition, kind};
pub use equality::semantic_equal;
pub use node::{Child, Field, List, ListKind, Map, PatchStrategy, Schema, Shape, Struct};

/// An object, or any part of one.
pub type Tree = serde_json::Value;

/// An object's fields.
pub type Object = serde_json::Map<String, Tree>;
