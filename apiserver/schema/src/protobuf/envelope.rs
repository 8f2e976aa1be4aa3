//! The envelope around every object on the wire: four magic bytes and what kind the message inside is.

use super::ProtobufError;
use super::wire::{Reader, Value, put_bytes, put_varint};

/// What every enveloped object starts with: `k8s` and a zero.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// An opened envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apps/v1`; empty when the sender left it out.
    pub api_version: String,
    /// `Deployment`; empty when the sender left it out.
    pub kind: String,
    /// The message.
    pub raw: &'a [u8],
}

/// Opens an envelope.
///
/// # Errors
/// The magic bytes are missing or the rest is not an envelope.
pub fn unwrap(bytes: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    const MESSAGE: &str = "Unknown";
    let body = bytes.strip_prefix(&MAGIC).ok_or(ProtobufError::NoMagic)?;
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
    let mut reader = Reader::new(body, MESSAGE);
    while let Some(read) = reader.field()? {
        match read {
            (1, Value::Bytes(types)) => (envelope.api_version, envelope.kind) = type_meta(types)?,
            (2, Value::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(bytes, "TypeMeta");
    while let Some((number, value)) = reader.field()? {
        let Value::Bytes(bytes) = value else { continue };
        let text = String::from_utf8_lossy(bytes).into_owned();
        match number {
            1 => api_version = text,
            2 => kind = text,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

/// Puts a message into an envelope.
pub fn wrap(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    wrap_parts(api_version, kind, raw.len(), |out| out.extend_from_slice(raw))
}

/// Puts a message of a known length into an envelope while it is written.
pub fn wrap_parts(api_version: &str, kind: &str, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut types = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut types, 1, api_version.as_bytes());
    put_bytes(&mut types, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(length + types.len() + 24);
    out.extend_from_slice(&MAGIC);
    put_bytes(&mut out, 1, &types);
    put_varint(&mut out, 2 << 3 | 2);
    put_varint(&mut out, length as u64);
    let begin = out.len();
    write(&mut out);
    assert_eq!(out.len() - begin, length, "the envelope names the message's length");
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}
