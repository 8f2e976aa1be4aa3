//! How records lie in a key-value store: chunks of at most 64 KiB.
//!
//! ```text
//! key    l <first index, u64 big endian> <part, u16 big endian>
//! value  <format> 0 (<length u32> <crc u32> <bytes>)*          whole records that follow each other
//! value  <format> 1 <parts u16> <crc u32> <bytes>              part of one record that is too large
//! ```

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto::FORMAT_VERSION;

use super::Record;

/// Largest value. sled holds about seventeen values in a page and must keep a page below a quarter of a
/// segment, or the page goes to a file that is never synced.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;

const WHOLE: u8 = 0;
const PART: u8 = 1;
const WHOLE_HEADER: usize = 2;
const RECORD_HEADER: usize = 8;
const PART_HEADER: usize = 8;
const PART_BYTES_MAX: usize = VALUE_BYTES_MAX - PART_HEADER;

/// First byte of every log key.
pub(super) const LOG_PREFIX: u8 = b'l';

/// Values with the key they belong under, for records that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) last: u64,
    /// One value for whole records, several for the parts of one.
    pub(super) values: Vec<Bytes>,
}

pub(super) fn key(first: u64, part: u16) -> [u8; 11] {
    let mut key = [LOG_PREFIX; 11];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn read_key(key: &[u8]) -> io::Result<(u64, u16)> {
    let key: &[u8; 11] = key.try_into().map_err(|_| damaged("a log key of the wrong length"))?;
    let first = u64::from_be_bytes(key[1..9].try_into().expect("eight bytes"));
    Ok((first, u16::from_be_bytes([key[9], key[10]])))
}

/// Packs records that follow each other into as few chunks as fit.
pub(super) fn pack(records: &[Record]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < records.len() {
        let mut size = WHOLE_HEADER + RECORD_HEADER + records[start].bytes.len();
        if size > VALUE_BYTES_MAX {
            chunks.push(split(&records[start]));
            start += 1;
            continue;
        }
        let mut end = start + 1;
        while end < records.len() && size + RECORD_HEADER + records[end].bytes.len() <= VALUE_BYTES_MAX {
            size += RECORD_HEADER + records[end].bytes.len();
            end += 1;
        }
        chunks.push(join(&records[start..end], size));
        start = end;
    }
    chunks
}

fn join(records: &[Record], size: usize) -> Chunk {
    let mut value = BytesMut::with_capacity(size);
    value.put_u8(FORMAT_VERSION);
    value.put_u8(WHOLE);
    for record in records {
        value.put_u32(u32::try_from(record.bytes.len()).expect("a record below 64 KiB"));
        value.put_u32(crc32fast::hash(&record.bytes));
        value.put_slice(&record.bytes);
    }
    let (first, last) = (records[0].index, records[records.len() - 1].index);
    Chunk { first, last, values: vec![value.freeze()] }
}

fn split(record: &Record) -> Chunk {
    let parts = record.bytes.len().div_ceil(PART_BYTES_MAX);
    let parts = u16::try_from(parts).expect("the proposer bounds a record to 65535 parts");
    let value = |part: &[u8]| {
        let mut value = BytesMut::with_capacity(PART_HEADER + part.len());
        value.put_u8(FORMAT_VERSION);
        value.put_u8(PART);
        value.put_u16(parts);
        value.put_u32(crc32fast::hash(part));
        value.put_slice(part);
        value.freeze()
    };
    let values = record.bytes.chunks(PART_BYTES_MAX).map(value).collect();
    Chunk { first: record.index, last: record.index, values }
}

/// Puts chunks back together, value by value in key order.
#[derive(Debug, Default)]
pub(super) struct Unpacker {
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    index: u64,
    expected: u16,
    have: u16,
    bytes: BytesMut,
}

impl Unpacker {
    /// The records a value completes. A part whose siblings are missing completes nothing.
    pub(super) fn push(&mut self, key: &[u8], mut value: Bytes) -> io::Result<Vec<Record>> {
        let (first, part) = read_key(key)?;
        if value.len() < WHOLE_HEADER || value.get_u8() != FORMAT_VERSION {
            return Err(damaged("a log value of an unknown format"));
        }
        match value.get_u8() {
            WHOLE => whole(first, value),
            PART => self.part(first, part, value),
            _ => Err(damaged("a log value of an unknown kind")),
        }
    }

    fn part(&mut self, index: u64, part: u16, mut value: Bytes) -> io::Result<Vec<Record>> {
        if value.len() < PART_HEADER - WHOLE_HEADER {
            return Err(damaged("a log value that ends early"));
        }
        let (expected, crc) = (value.get_u16(), value.get_u32());
        if crc32fast::hash(&value) != crc {
            return Err(damaged("a log value with a wrong checksum"));
        }
        if part == 0 {
            self.parts = Some(Parts { index, expected, have: 0, bytes: BytesMut::new() });
        }
        let Some(parts) = self.parts.as_mut().filter(|parts| parts.index == index && parts.have == part)
        else {
            self.parts = None;
            return Ok(Vec::new());
        };
        parts.bytes.put_slice(&value);
        parts.have += 1;
        if parts.have < parts.expected {
            return Ok(Vec::new());
        }
        let parts = self.parts.take().expect("filled above");
        Ok(vec![Record { index, bytes: parts.bytes.freeze() }])
    }
}

fn whole(first: u64, mut value: Bytes) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !value.is_empty() {
        if value.len() < RECORD_HEADER {
            return Err(damaged("a log value that ends early"));
        }
        let (length, crc) = (value.get_u32() as usize, value.get_u32());
        if value.len() < length {
            return Err(damaged("a log value that ends early"));
        }
        // Copied, so that one record that lives long does not keep its neighbours in memory.
        let bytes = Bytes::copy_from_slice(&value.split_to(length));
        if crc32fast::hash(&bytes) != crc {
            return Err(damaged("a log record with a wrong checksum"));
        }
        records.push(Record { index: first + records.len() as u64, bytes });
    }
    Ok(records)
}

/// Damage is never repaired by guessing: the member is replaced.
pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
