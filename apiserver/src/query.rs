//! Query strings as upstream's router reads them: pairs that do not decode or
//! hold a semicolon are dropped, a boolean is true unless `0` or `false`.
//! Decides nothing about which parameters exist.

use crate::status::{ApiError, ApiResult};
use schema::go::quote;

/// Decoded query parameters in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the raw text after `?`.
    pub fn parse(raw: &str) -> Self {
        let pairs =
            raw.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).filter_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(key, true)?, decode(value, true)?))
            });
        Self(pairs.collect())
    }

    /// First value of a parameter.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// First value, empty when absent.
    pub fn text(&self, key: &str) -> &str {
        self.first(key).unwrap_or_default()
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is given and neither `0` nor `false`.
    pub fn flag(&self, key: &str) -> bool {
        self.optional_flag(key).unwrap_or(false)
    }

    /// A boolean parameter, if given.
    pub fn optional_flag(&self, key: &str) -> Option<bool> {
        self.first(key).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A whole number, if given and not empty.
    pub fn integer(&self, key: &str) -> ApiResult<Option<i64>> {
        match self.first(key) {
            None => Ok(None),
            Some(text) => parse_int(text).map(Some).map_err(ApiError::BadRequest),
        }
    }

    /// All pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Parses as Go's `strconv.ParseInt(text, 10, 64)`, with its error text.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| number_error("ParseInt", text, error.kind()))
}

/// Parses as Go's `strconv.ParseUint(text, 10, 64)`, with its error text.
pub fn parse_uint(text: &str) -> Result<u64, String> {
    if text.starts_with('+') {
        return Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quote(text)));
    }
    text.parse::<u64>().map_err(|error| number_error("ParseUint", text, error.kind()))
}

fn number_error(function: &str, text: &str, kind: &std::num::IntErrorKind) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = if matches!(kind, PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
    format!("strconv.{function}: parsing {}: {why}", quote(text))
}

/// Percent-decodes; `None` when an escape is broken.
pub fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = bytes.get(at + 1..at + 3)?;
                let hex = std::str::from_utf8(hex).ok()?;
                if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(hex, 16).ok()?);
                at += 3;
            }
            b'+' if plus_is_blank => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pairs_are_dropped() {
        let query = Query::parse("a=b;c=d&limit=2&x=%zz&y=a%20b+c");
        assert_eq!(
            query.pairs(),
            [("limit".to_owned(), "2".to_owned()), ("y".to_owned(), "a b c".to_owned())]
        );
    }

    #[test]
    fn numbers_fail_with_go_texts() {
        assert_eq!(parse_int("abc"), Err("strconv.ParseInt: parsing \"abc\": invalid syntax".into()));
        assert_eq!(
            parse_int("99999999999999999999"),
            Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range".into())
        );
        assert_eq!(parse_uint("-1"), Err("strconv.ParseUint: parsing \"-1\": invalid syntax".into()));
    }
}
