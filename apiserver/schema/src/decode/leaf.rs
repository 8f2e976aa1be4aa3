//! Single values: what Go accepts for a type, what it answers otherwise, and the canonical form.

use base64::Engine as _;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::TypeError;
use super::conform::Position;
use crate::node::{Schema, Shape};
use crate::quantity::Quantity;
use crate::{Tree, time};

/// Go's decoder does not look at the bits that the last character leaves over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Puts a scalar in its canonical form. Containers where a scalar belongs, and the other way round, are mismatches.
pub(super) fn conform(schema: &Schema, tree: &mut Tree, at: Option<&Position<'_>>) -> Result<(), TypeError> {
    match (&schema.shape, &*tree) {
        (Shape::String, Tree::String(_)) | (Shape::Boolean, Tree::Bool(_)) => Ok(()),
        (Shape::Integer { bits }, Tree::Number(number)) => match number.as_i64() {
            Some(value) if *bits == 64 || i32::try_from(value).is_ok() => Ok(()),
            _ => Err(mismatch(schema, &schema.go, tree, at)),
        },
        (Shape::Number, Tree::Number(_)) => Ok(()),
        (Shape::Bytes, Tree::String(text)) => {
            if let Some(canonical) = canonical_base64(text)? {
                *tree = Tree::String(canonical);
            }
            Ok(())
        }
        (Shape::IntOrString, Tree::String(_)) => Ok(()),
        (Shape::IntOrString, Tree::Number(number))
            if number.as_i64().is_some_and(|value| i32::try_from(value).is_ok()) =>
        {
            Ok(())
        }
        (Shape::IntOrString, _) => Err(mismatch(schema, "int32", tree, at)),
        (Shape::Quantity, _) => quantity(tree),
        (Shape::Time | Shape::MicroTime, Tree::String(text)) => {
            let micro = matches!(schema.shape, Shape::MicroTime);
            if let Some(canonical) = time::canonical(text, micro).map_err(TypeError::Value)? {
                *tree = Tree::String(canonical);
            }
            Ok(())
        }
        (Shape::Time | Shape::MicroTime, _) => Err(mismatch(schema, "string", tree, at)),
        _ => Err(mismatch(schema, &schema.go, tree, at)),
    }
}

fn mismatch(schema: &Schema, go: &str, tree: &Tree, at: Option<&Position<'_>>) -> TypeError {
    let numeric = matches!(schema.shape, Shape::Integer { .. } | Shape::Number | Shape::IntOrString);
    let value = match tree {
        Tree::Number(number) if numeric => format!("number {number}"),
        other => super::json_type(other).to_owned(),
    };
    let kinds = (super::go_kind(tree), kind_of_schema(schema));
    TypeError::Mismatch { value, place: Position::go_place(at), go: go.to_owned(), kinds }
}

fn kind_of_schema(schema: &Schema) -> &'static str {
    match schema.shape {
        Shape::String => "string",
        Shape::Boolean => "bool",
        Shape::Integer { bits: 32 } => "int32",
        Shape::Integer { .. } => "int64",
        Shape::Number => "float64",
        Shape::Struct(_) => "struct",
        Shape::Map(_) => "map",
        Shape::Bytes | Shape::List(_) => "slice",
        _ => "encoded",
    }
}

fn quantity(tree: &mut Tree) -> Result<(), TypeError> {
    let parsed = match &*tree {
        Tree::String(text) => Quantity::parse(text.trim()),
        // Go hands the raw text of whatever stands there to the parser.
        other => Quantity::parse(&other.to_string()),
    };
    let canonical = parsed.map_err(|error| TypeError::Value(error.to_string()))?.to_string();
    if !matches!(&*tree, Tree::String(text) if *text == canonical) {
        *tree = Tree::String(canonical);
    }
    Ok(())
}

/// `None` when the text is canonical already.
fn canonical_base64(text: &str) -> Result<Option<String>, TypeError> {
    let breaks = text.contains(['\r', '\n']);
    let bare: std::borrow::Cow<'_, str> =
        if breaks { text.replace(['\r', '\n'], "").into() } else { text.into() };
    let Ok(bytes) = BASE64.decode(bare.as_bytes()) else {
        return Err(TypeError::Value(format!(
            "illegal base64 data at input byte {}",
            base64_error_at(text.as_bytes())
        )));
    };
    let canonical = BASE64.encode(bytes);
    Ok((canonical != text).then_some(canonical))
}

/// The byte that Go's decoder complains about.
fn base64_error_at(text: &[u8]) -> usize {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let is_break = |byte: u8| byte == b'\r' || byte == b'\n';
    let mut in_quantum = 0;
    let mut quantum_at = 0;
    for (at, &byte) in text.iter().enumerate().filter(|(_, byte)| !is_break(**byte)) {
        if is_digit(byte) {
            if in_quantum == 0 {
                quantum_at = at;
            }
            in_quantum = (in_quantum + 1) % 4;
            continue;
        }
        if byte != b'=' || in_quantum < 2 {
            return at;
        }
        let mut rest = text.iter().enumerate().skip(at + 1).filter(|(_, byte)| !is_break(**byte));
        if in_quantum == 2 {
            match rest.next() {
                None => return text.len(),
                Some((at, b'=')) => return rest.next().map_or(at, |(at, _)| at),
                Some((at, _)) => return at,
            }
        }
        return rest.next().map_or(text.len(), |(at, _)| at);
    }
    quantum_at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_takes_its_canonical_form_or_says_where_it_is_wrong() {
        let check = |text: &str, expected: &str| {
            let got = match canonical_base64(text) {
                Ok(None) => "same".to_owned(),
                Ok(Some(text)) => text,
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{text:?}");
        };
        check("", "same");
        check("YQ==", "same");
        check("YR==", "YQ==");
        check("Y\nQ=\n=", "YQ==");
        check("x", "illegal base64 data at input byte 0");
        check("not base64!", "illegal base64 data at input byte 3");
        check("YWJjZ", "illegal base64 data at input byte 4");
        check("YQ=", "illegal base64 data at input byte 3");
        check("YQ==YQ==", "illegal base64 data at input byte 4");
    }
}
