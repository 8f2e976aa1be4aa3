//! The tables of facts, as text in the binary, and typed readers for them.
//!
//! Nothing is parsed at start. A table is sorted by its first columns, so the rows of one definition are found by binary
//! search over the text itself; only the rows asked for are ever split into columns. The two small indexes that a search
//! cannot answer (resources, and definition by group/version/kind) are built on first use.

mod definitions;
mod descriptions;
mod protobuf;
mod resources;
mod text;

pub use definitions::{FieldRow, definition, definition_names, definition_of_kind, go_type, static_name};
pub use descriptions::Descriptions;
pub use protobuf::{MessageRow, Omission, embedded_in, message, message_name};
pub use resources::{Resource, Scope, Subresource, resource, resources};
