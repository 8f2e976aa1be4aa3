//! Patches: JSON patch, merge patch and strategic merge patch, each with what upstream does where the standards are silent.
//!
//! A patch turns one tree into another. Whether the result fits the schema is asked afterwards: by
//! [`crate::decode::conform`] for the first two, by [`restore`] for the strategic one, which upstream converts in another way
//! and with other texts.

mod directives;
mod go_text;
mod json;
mod merge;
mod order;
mod strategic;

pub use go_text::go_text;
pub use json::{OPERATIONS_MAX, json, operations_schema};
pub use merge::merge;
pub use strategic::strategic;

use crate::Tree;
use crate::decode::{TypeError, conform};
use crate::node::Schema;

/// Why a patch did not apply; the variants are split by what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed: 400 with this text.
    #[error("{0}")]
    Malformed(String),
    /// An operation of a JSON patch does not apply: 422 with upstream's general text.
    #[error("the server rejected our request due to an error in our request")]
    Refused,
    /// A list of lists cannot be merged: 422 with this text.
    #[error("{0}")]
    Unprocessable(String),
    /// Upstream has no status for it: 500 without a reason, with this text.
    #[error("{0}")]
    Broken(String),
}

/// Puts the result of a strategic merge patch in form. Errors are those of upstream's converter (`cannot restore slice from
/// map`), unknown fields as from [`conform`].
pub fn restore(schema: &Schema, tree: &mut Tree) -> Result<Vec<String>, String> {
    conform(schema, tree).map_err(|error| match error {
        TypeError::Mismatch { kinds, go, .. } => not_restored(kinds, &go),
        TypeError::Value(text) => text,
    })
}

fn not_restored((from, to): (&str, &str), go: &str) -> String {
    match (from, to) {
        (_, "struct") => format!("cannot restore struct from: {from}"),
        (_, "map" | "slice") => format!("cannot restore {to} from {from}"),
        ("int64", "string") | ("float64", "int32" | "int64") => format!("cannot convert {from} to {go}"),
        (_, "encoded") => format!("json: cannot unmarshal {} into Go value of type {go}", json_word(from)),
        _ => format!("unrecognized type: {to}"),
    }
}

fn json_word(kind: &str) -> &str {
    match kind {
        "int64" | "float64" => "number",
        "map" => "object",
        "slice" => "array",
        other => other,
    }
}
