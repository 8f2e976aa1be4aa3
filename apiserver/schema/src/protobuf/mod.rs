//! Protobuf ⇄ JSON trees for the built-in kinds, driven by the table of field numbers.
//!
//! Clients of typed languages send and ask for protobuf; inside the server an object is always a tree. Field names in
//! JSON are the table's; the few types whose JSON is not an object of their fields (times, quantities, int-or-string,
//! raw JSON) are written out in `scalar`.
//!
//! Never validates: an unknown field number is passed over, as upstream does, and what is decoded goes through
//! [`crate::decode::conform`] like any JSON body.

mod decode;
mod encode;
mod envelope;
mod message;
mod scalar;
mod text;
pub(crate) mod wire;

pub use decode::decode;
pub use encode::{Encoder, encode};
pub use envelope::{Envelope, MAGIC, unwrap, wrap, wrap_parts};

/// Why bytes are not the message they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// The envelope's first four bytes are missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NoMagic,
    /// The bytes end inside a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A length, tag or number that cannot be.
    #[error("proto: illegal wire format in {message}")]
    Malformed {
        /// The message that was being read.
        message: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("proto: {message}.{field} contains invalid UTF-8")]
    NotText {
        /// The message that was being read.
        message: &'static str,
        /// The field in it.
        field: &'static str,
    },
    /// Messages inside messages beyond any real object.
    #[error("proto: message nested too deeply")]
    TooDeep,
    /// The table holds no such message.
    #[error("no kind {0:?} is registered for protobuf")]
    UnknownMessage(String),
}

#[cfg(test)]
mod tests;
