//! Types whose JSON is not an object of their protobuf fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Number, Value as Tree};

use super::ProtobufError;
use super::encode::{begin, end};
use super::message::Type;
use super::text::{Cursor, NotJson};
use super::wire::{Reader, Value, put_bytes, put_number};
use crate::time;

/// The JSON of a scalar's wire value; `None` when the value stands for nothing (a time that was never set).
pub(super) fn decode(
    ty: Type,
    value: Value<'_>,
    message: &'static str,
    field: &'static str,
) -> Result<Option<Tree>, ProtobufError> {
    let malformed = || ProtobufError::Malformed { message };
    Ok(Some(match (ty, value) {
        (Type::String, Value::Bytes(bytes)) => Tree::String(text(bytes, message, field)?),
        (Type::Bytes, Value::Bytes(bytes)) => Tree::String(STANDARD.encode(bytes)),
        (Type::Bool, Value::Varint(number)) => Tree::Bool(number != 0),
        (Type::Int32, Value::Varint(number)) => Tree::from(i64::from(number as i32)),
        (Type::Int64, Value::Varint(number)) => Tree::from(number as i64),
        (Type::Double, Value::Fixed64(bits)) => {
            Number::from_f64(f64::from_bits(bits)).map_or(Tree::Null, Tree::Number)
        }
        (Type::Quantity, Value::Bytes(bytes)) => match only_field(bytes, 1, message)? {
            Some(Value::Bytes(quantity)) => Tree::String(text(quantity, message, field)?),
            _ => Tree::String("0".to_owned()),
        },
        (Type::IntOrString, Value::Bytes(bytes)) => int_or_string(bytes, message, field)?,
        (Type::Time, Value::Bytes(bytes)) => return time(bytes, false, message),
        (Type::MicroTime, Value::Bytes(bytes)) => return time(bytes, true, message),
        (Type::RawJson, Value::Bytes(bytes)) => match only_field(bytes, 1, message)? {
            Some(Value::Bytes(raw)) => serde_json::from_slice(raw).map_err(|_| malformed())?,
            _ => return Ok(None),
        },
        _ => return Err(malformed()),
    }))
}

fn only_field<'a>(
    bytes: &'a [u8],
    wanted: u32,
    message: &'static str,
) -> Result<Option<Value<'a>>, ProtobufError> {
    let mut reader = Reader::new(bytes, message);
    let mut found = None;
    while let Some((number, value)) = reader.field()? {
        if number == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

fn text(bytes: &[u8], message: &'static str, field: &'static str) -> Result<String, ProtobufError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(ProtobufError::NotText { message, field }),
    }
}

fn int_or_string(bytes: &[u8], message: &'static str, field: &'static str) -> Result<Tree, ProtobufError> {
    let (mut is_text, mut number, mut words) = (false, 0_i32, String::new());
    let mut reader = Reader::new(bytes, message);
    while let Some(read) = reader.field()? {
        match read {
            (1, Value::Varint(kind)) => is_text = kind == 1,
            (2, Value::Varint(value)) => number = value as i32,
            (3, Value::Bytes(value)) => words = text(value, message, field)?,
            _ => {}
        }
    }
    Ok(if is_text { Tree::String(words) } else { Tree::from(number) })
}

fn time(bytes: &[u8], micro: bool, message: &'static str) -> Result<Option<Tree>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanoseconds) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes, message);
    while let Some(read) = reader.field()? {
        match read {
            (1, Value::Varint(value)) => seconds = value as i64,
            (2, Value::Varint(value)) => nanoseconds = value as i32,
            _ => {}
        }
    }
    let timestamp = Timestamp::new(seconds, nanoseconds).map_err(|_| ProtobufError::Malformed { message })?;
    // No text says these: what was read could not be written again.
    if timestamp.to_zoned(TimeZone::UTC).year() < 0 {
        return Err(ProtobufError::Malformed { message });
    }
    Ok(Some(Tree::String(if micro { time::format_micro(timestamp) } else { time::format(timestamp) })))
}

/// Writes one scalar as field `number`; a value of another form than the type's is passed over.
pub(super) fn encode(out: &mut Vec<u8>, number: u32, ty: Type, text: &mut Cursor<'_>) -> Result<(), NotJson> {
    match (ty, text.peek()) {
        (Type::String, b'"') => put_bytes(out, number, &text.string()?),
        (Type::Bytes, b'"') => put_bytes(out, number, &STANDARD.decode(&*text.string()?).unwrap_or_default()),
        (Type::Bool, b't' | b'f') => put_number(out, number, u64::from(text.scalar()? == "true")),
        (Type::Int32 | Type::Int64, b'-' | b'0'..=b'9') => {
            put_number(out, number, integer(text.scalar()?) as u64);
        }
        (Type::Double, b'-' | b'0'..=b'9') => {
            super::wire::put_double(out, number, text.scalar()?.parse().unwrap_or_default());
        }
        (Type::Quantity, b'"') => put_quantity(out, number, &text.string()?),
        (Type::Quantity, _) => put_quantity(out, number, text.raw()?),
        (Type::IntOrString, b'"') => put_int_or_string(out, number, Amount::Text(&text.string()?)),
        (Type::IntOrString, b'-' | b'0'..=b'9') => {
            put_int_or_string(out, number, Amount::Number(integer(text.scalar()?)));
        }
        (Type::Time | Type::MicroTime, b'"') => put_time(out, number, &text.string()?),
        (Type::RawJson, b'n') => drop(text.raw()?),
        (Type::RawJson, _) => {
            let start = begin(out, number);
            put_bytes(out, 1, text.raw()?);
            end(out, start);
        }
        _ => drop(text.raw()?),
    }
    Ok(())
}

/// Numbers beyond 64 bits and with fractions are no integers, and were refused on their way in.
fn integer(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

/// An int-or-string.
pub(super) enum Amount<'a> {
    Number(i64),
    Text(&'a [u8]),
}

pub(super) fn put_int_or_string(out: &mut Vec<u8>, number: u32, amount: Amount<'_>) {
    let (kind, value, text) = match amount {
        Amount::Number(value) => (0, value as u64, &b""[..]),
        Amount::Text(text) => (1, 0, text),
    };
    let start = begin(out, number);
    put_number(out, 1, kind);
    put_number(out, 2, value);
    put_bytes(out, 3, text);
    end(out, start);
}

pub(super) fn put_quantity(out: &mut Vec<u8>, number: u32, text: &[u8]) {
    let start = begin(out, number);
    put_bytes(out, 1, text);
    end(out, start);
}

/// What is no time was refused on its way in.
fn put_time(out: &mut Vec<u8>, number: u32, text: &[u8]) {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(timestamp) = parsed {
        let start = begin(out, number);
        // Whole seconds before it, and what has passed since, as Go tells a time before 1970.
        let nanoseconds = timestamp.as_nanosecond();
        put_number(out, 1, nanoseconds.div_euclid(1_000_000_000) as u64);
        put_number(out, 2, nanoseconds.rem_euclid(1_000_000_000) as u64);
        end(out, start);
    }
}
