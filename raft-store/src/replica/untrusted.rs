//! The readers of what a disk or a member says, each by itself: bytes in, their meaning in canonical bytes out.
//!
//! A running member calls the same readers one layer further in. They stand here for those who feed them lies: none may
//! panic, none may allocate what a length merely claims, and what is read and written again must read the same.

use std::io;

use bytes::Bytes;

use super::{convert, snapshot};
use crate::log::{self, Record};

/// A stored value with its key.
pub type Value = (Bytes, Bytes);

/// The log records that stored values hold, in key order.
///
/// # Errors
/// A value is damaged.
pub fn log_values(values: &[Value]) -> io::Result<Vec<Record>> {
    log::unpack(values)
}

/// The values that records, which must follow each other, are stored as.
pub fn log_values_of(records: &[Record]) -> Vec<Value> {
    log::pack(records)
}

/// A log entry as it is stored; members send the same message.
///
/// # Errors
/// It is none.
pub fn log_entry(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::entry(&convert::read_entry(convert::read_record(stored)?)?)))
}

/// A vote as it is stored; members send the same message.
///
/// # Errors
/// It is none.
pub fn vote(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::vote(&convert::read_vote(convert::read_record(stored)?))))
}

/// A position in the log as it is stored.
///
/// # Errors
/// It is none.
pub fn position(stored: Bytes) -> io::Result<Bytes> {
    Ok(convert::record(&convert::position(&convert::read_position(convert::read_record(stored)?))))
}

/// A membership as a snapshot holds it.
///
/// # Errors
/// It is none.
pub fn membership(stored: Bytes) -> io::Result<Bytes> {
    let read = convert::read_stored_membership(convert::read_record(stored)?)?;
    Ok(convert::record(&convert::stored_membership(&read)))
}

/// A whole snapshot.
///
/// # Errors
/// It is none, or a damaged one.
pub fn snapshot(file: &[u8]) -> io::Result<Vec<u8>> {
    snapshot::again(file)
}
