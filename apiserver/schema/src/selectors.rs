//! Label and field selectors: parsing with upstream's error texts, and matching.
//!
//! Selectors know nothing of objects: a match asks for values by name.

pub mod fields;
pub mod labels;
mod lexer;
pub mod names;

/// Why a text is no selector. Displays upstream's text, as the message of a 400 shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
