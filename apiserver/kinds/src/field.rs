//! Field errors: where in an object something is wrong, what, and in which words.
//!
//! The texts are part of the wire format: clients and tests compare them, so printing follows upstream to the letter.

use std::fmt;

use serde_json::Value;

pub(crate) use schema::go::is_printable;
pub use schema::go::{json as go_json, quote};

/// Where in an object a value stands, such as `spec.ports[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path of one or more dotted names.
    pub fn new(name: &str) -> Path {
        Path(name.to_owned())
    }

    /// The path of an object itself, whose children print without a leading dot.
    pub fn root() -> Path {
        Path(String::new())
    }

    /// A field below this one.
    pub fn child(&self, name: &str) -> Path {
        if self.0.is_empty() { Path(name.to_owned()) } else { Path(format!("{}.{name}", self.0)) }
    }

    /// An element of a list.
    pub fn index(&self, index: usize) -> Path {
        Path(format!("{}[{index}]", self.0))
    }

    /// An entry of a map.
    pub fn key(&self, key: &str) -> Path {
        Path(format!("{}[{key}]", self.0))
    }

    /// The printed path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The value names something that does not exist.
    NotFound,
    /// The value is missing.
    Required,
    /// The value occurs twice.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The value is too short.
    TooShort,
    /// The list has too many items.
    TooMany,
    /// The list has too few items.
    TooFew,
    /// The value has the wrong type.
    TypeInvalid,
    /// Not the writer's fault.
    Internal,
}

impl ErrorType {
    /// The `reason` of a Status cause.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorType::NotFound => "FieldValueNotFound",
            ErrorType::Required => "FieldValueRequired",
            ErrorType::Duplicate => "FieldValueDuplicate",
            ErrorType::Invalid => "FieldValueInvalid",
            ErrorType::NotSupported => "FieldValueNotSupported",
            ErrorType::Forbidden => "FieldValueForbidden",
            ErrorType::TooLong => "FieldValueTooLong",
            ErrorType::TooShort => "FieldValueTooShort",
            ErrorType::TooMany => "FieldValueTooMany",
            ErrorType::TooFew => "FieldValueTooFew",
            ErrorType::TypeInvalid => "FieldValueTypeInvalid",
            ErrorType::Internal => "InternalError",
        }
    }

    fn title(self) -> &'static str {
        match self {
            ErrorType::NotFound => "Not found",
            ErrorType::Required => "Required value",
            ErrorType::Duplicate => "Duplicate value",
            ErrorType::Invalid | ErrorType::TypeInvalid => "Invalid value",
            ErrorType::NotSupported => "Unsupported value",
            ErrorType::Forbidden => "Forbidden",
            ErrorType::TooLong => "Too long",
            ErrorType::TooShort => "Too short",
            ErrorType::TooMany => "Too many",
            ErrorType::TooFew => "Too few",
            ErrorType::Internal => "Internal error",
        }
    }

    fn prints_value(self) -> bool {
        !matches!(
            self,
            ErrorType::Required
                | ErrorType::Forbidden
                | ErrorType::TooLong
                | ErrorType::TooShort
                | ErrorType::Internal
        )
    }
}

/// The offending value, in the form upstream prints it.
#[derive(Debug, Clone, PartialEq)]
pub enum BadValue {
    /// Not printed.
    Omitted,
    /// A Go `string`, printed with `%q`.
    Text(String),
    /// Anything else, printed as JSON: numbers, booleans, lists, maps, structs, nil.
    Json(Value),
    /// Already printed, for structs whose Go form differs from their JSON.
    Printed(String),
}

impl From<&str> for BadValue {
    fn from(text: &str) -> BadValue {
        BadValue::Text(text.to_owned())
    }
}

impl From<String> for BadValue {
    fn from(text: String) -> BadValue {
        BadValue::Text(text)
    }
}

impl From<&String> for BadValue {
    fn from(text: &String) -> BadValue {
        BadValue::Text(text.clone())
    }
}

impl From<i64> for BadValue {
    fn from(number: i64) -> BadValue {
        BadValue::Json(number.into())
    }
}

impl From<i32> for BadValue {
    fn from(number: i32) -> BadValue {
        BadValue::Json(number.into())
    }
}

impl From<usize> for BadValue {
    fn from(number: usize) -> BadValue {
        BadValue::Json(number.into())
    }
}

impl From<bool> for BadValue {
    fn from(value: bool) -> BadValue {
        BadValue::Json(value.into())
    }
}

impl From<Value> for BadValue {
    fn from(value: Value) -> BadValue {
        match value {
            Value::String(text) => BadValue::Text(text),
            other => BadValue::Json(other),
        }
    }
}

impl From<&Value> for BadValue {
    fn from(value: &Value) -> BadValue {
        value.clone().into()
    }
}

/// An absent value is a nil pointer and prints as `null`.
impl From<Option<&Value>> for BadValue {
    fn from(value: Option<&Value>) -> BadValue {
        value.map_or(BadValue::Json(Value::Null), BadValue::from)
    }
}

/// One thing that is wrong with one field. Displays as upstream's text: `path: Type: value: detail`.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What is wrong.
    pub ty: ErrorType,
    /// The printed path.
    pub field: String,
    /// The offending value.
    pub bad_value: BadValue,
    /// The rule, in words; may be empty.
    pub detail: String,
}

impl Error {
    /// The text without the path: the `message` of a Status cause.
    pub fn body(&self) -> String {
        let mut body = self.ty.title().to_owned();
        if self.ty.prints_value() {
            match &self.bad_value {
                BadValue::Omitted => {}
                BadValue::Text(text) => body += &format!(": {}", quote(text)),
                BadValue::Json(value) => body += &format!(": {}", go_json(value)),
                BadValue::Printed(text) => body += &format!(": {text}"),
            }
        }
        if !self.detail.is_empty() {
            body += &format!(": {}", self.detail);
        }
        body
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for Error {}

/// The texts of several errors in one: the tail of `... is invalid: `. Repeated texts count once.
pub fn summary(errors: &[Error]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [single] => single.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

fn error(ty: ErrorType, field: &Path, bad_value: BadValue, detail: impl Into<String>) -> Error {
    Error { ty, field: field.0.clone(), bad_value, detail: detail.into() }
}

/// The value names something that does not exist.
pub fn not_found(field: &Path, value: impl Into<BadValue>) -> Error {
    error(ErrorType::NotFound, field, value.into(), "")
}

/// The value is missing.
pub fn required(field: &Path, detail: impl Into<String>) -> Error {
    error(ErrorType::Required, field, BadValue::Omitted, detail)
}

/// The value occurs twice.
pub fn duplicate(field: &Path, value: impl Into<BadValue>) -> Error {
    error(ErrorType::Duplicate, field, value.into(), "")
}

/// The value is malformed.
pub fn invalid(field: &Path, value: impl Into<BadValue>, detail: impl Into<String>) -> Error {
    error(ErrorType::Invalid, field, value.into(), detail)
}

/// The value is not one of `supported`, which is printed in the given order.
pub fn not_supported(field: &Path, value: impl Into<BadValue>, supported: &[&str]) -> Error {
    let detail = if supported.is_empty() {
        String::new()
    } else {
        let quoted: Vec<String> = supported.iter().map(|value| quote(value)).collect();
        format!("supported values: {}", quoted.join(", "))
    };
    error(ErrorType::NotSupported, field, value.into(), detail)
}

/// The value may not be set here.
pub fn forbidden(field: &Path, detail: impl Into<String>) -> Error {
    error(ErrorType::Forbidden, field, BadValue::Omitted, detail)
}

/// The value has more than `max` bytes.
pub fn too_long(field: &Path, max: usize) -> Error {
    error(ErrorType::TooLong, field, BadValue::Omitted, at_most(max, "byte"))
}

/// The list has `actual` items, more than `max`.
pub fn too_many(field: &Path, actual: usize, max: usize) -> Error {
    let unit = if max == 1 { "item" } else { "items" };
    error(ErrorType::TooMany, field, actual.into(), format!("must have at most {max} {unit}"))
}

/// Not the writer's fault.
pub fn internal(field: &Path, detail: impl Into<String>) -> Error {
    error(ErrorType::Internal, field, BadValue::Omitted, detail)
}

fn at_most(max: usize, unit: &str) -> String {
    format!("may not be more than {max} {unit}{}", if max == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(error: Error, text: &str) {
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn paths_print_names_indexes_and_keys() {
        let path = Path::new("spec").child("ports").index(2).child("name");
        assert_eq!(path.as_str(), "spec.ports[2].name");
        assert_eq!(Path::new("data").key("a/b").as_str(), "data[a/b]");
        assert_eq!(Path::root().child("spec").as_str(), "spec");
    }

    #[test]
    fn texts_are_upstreams() {
        let at = Path::new("spec.x");
        check(
            invalid(&at, -1i64, "must be greater than or equal to 0"),
            "spec.x: Invalid value: -1: must be greater than or equal to 0",
        );
        check(invalid(&at, "a\"b\n", "no"), r#"spec.x: Invalid value: "a\"b\n": no"#);
        check(
            invalid(&at, json!({"b": [1, "<"], "a": null}), "no"),
            r#"spec.x: Invalid value: {"a":null,"b":[1,"\u003c"]}: no"#,
        );
        check(invalid(&at, None, "no"), "spec.x: Invalid value: null: no");
        check(required(&at, ""), "spec.x: Required value");
        check(required(&at, "say it"), "spec.x: Required value: say it");
        check(duplicate(&at, "x"), "spec.x: Duplicate value: \"x\"");
        check(not_found(&at, "x"), "spec.x: Not found: \"x\"");
        check(
            not_supported(&at, "x", &["A", "B"]),
            r#"spec.x: Unsupported value: "x": supported values: "A", "B""#,
        );
        check(forbidden(&at, "no"), "spec.x: Forbidden: no");
        check(too_long(&at, 63), "spec.x: Too long: may not be more than 63 bytes");
        check(too_many(&at, 12, 10), "spec.x: Too many: 12: must have at most 10 items");
        check(internal(&at, "boom"), "spec.x: Internal error: boom");
    }

    #[test]
    fn a_summary_brackets_several_and_drops_repeats() {
        let (a, b) = (required(&Path::new("a"), ""), required(&Path::new("b"), ""));
        assert_eq!(summary(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(summary(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }
}
