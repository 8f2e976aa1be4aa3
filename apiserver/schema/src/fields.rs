//! Field ownership: path sets, what changed between two trees, and the managers of an object.
//!
//! ```text
//! {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}
//! ```
//!
//! A [`Set`] is that trie. [`compare`] says which paths a write added, changed or removed, and [`update_managers`] books a
//! plain write (create, update, patch) on the writer's name. [`apply`] is server-side apply.

pub mod apply;
mod compare;
mod element;
mod extract;
mod managers;
mod set;
mod shape;

pub use compare::{Comparison, compare};
pub use extract::of;
pub use managers::{Manager, Operation, Version, Write, decode_managers, encode_managers, update_managers};
pub use set::{FieldsError, Set};
