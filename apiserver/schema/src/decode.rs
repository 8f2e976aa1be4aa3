//! From bytes to trees: JSON and YAML with Go's error texts, then conformity to a schema.
//!
//! A typical caller uses [`typed`], which does everything a request body needs. [`json`], [`yaml`] and [`conform`] are its
//! parts, for callers that change the tree in between or have no schema.

mod conform;
mod empties;
mod leaf;
mod order;
mod scan;
mod yaml;

use crate::Tree;
use crate::go::quote;
use crate::node::Schema;

pub use empties::Empties;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML 1.1 as upstream reads it.
    Yaml,
}

/// Why bytes did not become a tree. Displays what upstream says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON (`unexpected end of JSON input`) or not YAML (`yaml: line 2: …`).
    #[error("{0}")]
    Syntax(String),
    /// Well formed, but not of the schema's types.
    #[error(transparent)]
    Type(#[from] TypeError),
}

/// A value that Go's decoder refuses. Displays Go's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// A JSON value of another type than the field's.
    #[error("json: cannot unmarshal {value} into {} of type {go}", if place.is_empty() { "Go value".to_owned() } else { format!("Go struct field {place}") })]
    Mismatch {
        /// What stands there (`string`, `number 1.5`).
        value: String,
        /// Struct and fields (`DeploymentSpec.spec.replicas`); empty at the root.
        place: String,
        /// The Go type expected.
        go: String,
        /// Go's kinds of the untyped value and of the expected type (`map`, `slice`).
        kinds: (&'static str, &'static str),
    },
    /// A value with an encoding of its own (quantity, time, base64) that does not parse.
    #[error("{0}")]
    Value(String),
}

/// A body in form, and what strict validation has to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The tree after [`conform`].
    pub tree: Tree,
    /// Complaints of strict decoding in upstream's order and words: `unknown field "spec.foo"`,
    /// `duplicate field "data.a"`, or `yaml: unmarshal errors:…`.
    pub strict: Vec<String>,
}

/// Decodes a body against a schema, as a typed decoder would.
pub fn typed(schema: &Schema, syntax: Syntax, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let (mut tree, duplicates) = match syntax {
        Syntax::Json => json(bytes)?,
        Syntax::Yaml => yaml(bytes)?,
    };
    let mut conformer = conform::Conformer::default();
    conformer.value(schema, &mut tree, None);
    let clean = duplicates.is_empty() && conformer.error.is_none() && conformer.unknown.len() < 2;
    if syntax == Syntax::Json && !clean {
        // Go reports in document order, which a sorted tree no longer has: read the text once more.
        let strict = order::strict(schema, bytes)?;
        return Ok(Decoded { tree, strict });
    }
    if let Some(error) = conformer.error {
        return Err(error.into());
    }
    let unknown = conformer.unknown.into_iter().map(|path| unknown_field(&path));
    Ok(Decoded { tree, strict: duplicates.into_iter().chain(unknown).collect() })
}

/// Reads JSON. Beside the tree come the paths of duplicate fields (`data.a`), of which the last one counted.
pub fn json(bytes: &[u8]) -> Result<(Tree, Vec<String>), DecodeError> {
    scan::read(bytes).map_err(DecodeError::Syntax)
}

/// Reads the first document of a YAML text. Beside the tree comes at most one complaint about duplicate keys
/// (`yaml: unmarshal errors:\n  line 7: key "k" already set in map`), of which the last one counted.
pub fn yaml(bytes: &[u8]) -> Result<(Tree, Vec<String>), DecodeError> {
    yaml::read(bytes).map_err(DecodeError::Syntax)
}

/// Makes a tree what Go's typed round trip would print: unknown fields dropped, nulls gone, zero values kept or left out as
/// the field says, quantities, times and base64 in canonical form.
///
/// Returns the paths of unknown fields in ascending order (`spec.containers[0].foo`). One empty list stays: the root's
/// `metadata.managedFields: []`, which asks [`crate::fields::update_managers`] to end its bookkeeping.
pub fn conform(schema: &Schema, tree: &mut Tree) -> Result<Vec<String>, TypeError> {
    let mut conformer = conform::Conformer::default();
    conformer.value(schema, tree, None);
    match conformer.error {
        Some(error) => Err(error),
        None => Ok(conformer.unknown),
    }
}

/// What Go prints for a value of the type that nobody set anything in: the object before a create.
pub fn zero(schema: &Schema) -> Tree {
    conform::zero(schema)
}

/// `apiVersion` and `kind` of a body, empty when absent. The error is the text upstream prints after `json parse error: `.
pub fn type_meta(tree: &Tree) -> Result<(&str, &str), TypeError> {
    const GO: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let mismatch = |tree: &Tree, place: &str, go: &str| TypeError::Mismatch {
        value: json_type(tree).to_owned(),
        place: place.to_owned(),
        go: go.to_owned(),
        kinds: ("", ""),
    };
    let object = match tree {
        Tree::Null => return Ok(("", "")),
        Tree::Object(object) => object,
        other => return Err(mismatch(other, "", GO)),
    };
    let text = |name: &str| match object.get(name) {
        None | Some(Tree::Null) => Ok(""),
        Some(Tree::String(text)) => Ok(text.as_str()),
        Some(other) => Err(mismatch(other, &format!(".{name}"), "string")),
    };
    Ok((text("apiVersion")?, text("kind")?))
}

/// How Go's errors call a JSON value.
pub(crate) fn json_type(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "null",
        Tree::Bool(_) => "bool",
        Tree::Number(_) => "number",
        Tree::String(_) => "string",
        Tree::Array(_) => "array",
        Tree::Object(_) => "object",
    }
}

/// Go's kind of the untyped value that a tree decodes to.
pub(crate) fn go_kind(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "invalid",
        Tree::Bool(_) => "bool",
        Tree::Number(number) if number.is_f64() => "float64",
        Tree::Number(_) => "int64",
        Tree::String(_) => "string",
        Tree::Array(_) => "slice",
        Tree::Object(_) => "map",
    }
}

/// The strict complaint about a field that the schema does not have.
pub fn unknown_field(path: &str) -> String {
    format!("unknown field {}", quote(path))
}

/// The strict complaint about a field that stands twice.
pub fn duplicate_field(path: &str) -> String {
    format!("duplicate field {}", quote(path))
}

#[cfg(test)]
mod tests;
