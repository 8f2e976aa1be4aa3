//! How a batch of operations lies in a segment.
//!
//! ```text
//! frame  <crc u32> <length u32> <sequence u64> <format> <operation>*       length counts from the format on
//! append     1 <first index u64> <count u32> (<length u32> <bytes>)*
//! truncate   2 <from u64>
//! purge      3 <through u64> <length u32> <marker>
//! vote       4 <length u32> <bytes>
//! committed  5 <length u32> <bytes>
//! ```
//!
//! The checksum begins with the checksum of the frame before. So what an earlier use left in the file, or what
//! somebody stored that looks like a frame, is never taken for the next one.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use proto::FORMAT_VERSION;

use super::{Op, Record, damaged};

pub(super) const HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

const APPEND: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;

/// A place in the sequence of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    /// Of the frame with this number.
    pub(super) crc: u32,
}

impl Place {
    /// Of a place as it is stored.
    pub(super) const BYTES: usize = 12;

    pub(super) fn to_bytes(self) -> Bytes {
        [&self.sequence.to_be_bytes()[..], &self.crc.to_be_bytes()[..]].concat().into()
    }

    pub(super) fn read(mut bytes: &[u8]) -> io::Result<Self> {
        let sequence = bytes.try_get_u64().map_err(ends_early)?;
        let crc = bytes.try_get_u32().map_err(ends_early)?;
        Ok(Self { sequence, crc })
    }
}

/// Puts a frame into a buffer, in the place of what was there; where the next one is chained to.
pub(super) fn write(frame: &mut Vec<u8>, before: Place, ops: &[Op]) -> Place {
    let sequence = before.sequence + 1;
    frame.clear();
    frame.put_bytes(0, CRC_BYTES + 4);
    frame.put_u64(sequence);
    frame.put_u8(FORMAT_VERSION);
    ops.iter().for_each(|op| put(frame, op));
    let length = size(frame.len() - HEADER_BYTES);
    frame[CRC_BYTES..CRC_BYTES + 4].copy_from_slice(&length.to_be_bytes());
    let crc = chained(before.crc, &frame[CRC_BYTES..]);
    frame[..CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    Place { sequence, crc }
}

/// How many bytes [`write`] will need.
pub(super) fn bytes(ops: &[Op]) -> usize {
    let op = |op: &Op| match op {
        Op::Append(records) => 13 + records.iter().map(|record| 4 + record.bytes.len()).sum::<usize>(),
        Op::Truncate { .. } => 9,
        Op::Purge { marker, .. } => 13 + marker.len(),
        Op::Vote(bytes) | Op::Committed(bytes) => 5 + bytes.len(),
    };
    HEADER_BYTES + 1 + ops.iter().map(op).sum::<usize>()
}

/// The frame that begins here, if it is the one that follows `before`, and its length. `None` where the sequence ends.
pub(super) fn read(bytes: &Bytes, before: Place) -> io::Result<Option<(Place, Vec<Op>, usize)>> {
    let Some((place, length)) = header(bytes, before.sequence + 1) else { return Ok(None) };
    if chained(before.crc, &bytes[CRC_BYTES..length]) != place.crc {
        // A crash tears the last frame only.
        let later = bytes.slice(length..);
        if let Some((next, length)) = header(&later, place.sequence + 1)
            && chained(place.crc, &later[CRC_BYTES..length]) == next.crc
        {
            return Err(damaged("a frame of the log with a wrong checksum before another one"));
        }
        return Ok(None);
    }
    Ok(Some((place, read_ops(bytes.slice(HEADER_BYTES..length))?, length)))
}

fn header(bytes: &Bytes, sequence: u64) -> Option<(Place, usize)> {
    let mut header = bytes.get(..HEADER_BYTES)?;
    let (crc, length) = (header.get_u32(), HEADER_BYTES + header.get_u32() as usize);
    (header.get_u64() == sequence && length <= bytes.len()).then_some((Place { sequence, crc }, length))
}

fn chained(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

fn put(frame: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Append(records) => {
            frame.put_u8(APPEND);
            frame.put_u64(records.first().map_or(0, |record| record.index));
            frame.put_u32(size(records.len()));
            records.iter().for_each(|record| put_bytes(frame, &record.bytes));
        }
        Op::Truncate { from } => {
            frame.put_u8(TRUNCATE);
            frame.put_u64(*from);
        }
        Op::Purge { through, marker } => {
            frame.put_u8(PURGE);
            frame.put_u64(*through);
            put_bytes(frame, marker);
        }
        Op::Vote(vote) => {
            frame.put_u8(VOTE);
            put_bytes(frame, vote);
        }
        Op::Committed(committed) => {
            frame.put_u8(COMMITTED);
            put_bytes(frame, committed);
        }
    }
}

fn put_bytes(frame: &mut Vec<u8>, bytes: &Bytes) {
    frame.put_u32(size(bytes.len()));
    frame.put_slice(bytes);
}

fn size(length: usize) -> u32 {
    u32::try_from(length).expect("a frame is below 4 GiB")
}

fn read_ops(mut bytes: Bytes) -> io::Result<Vec<Op>> {
    if bytes.try_get_u8().map_err(ends_early)? != FORMAT_VERSION {
        return Err(damaged("a frame of the log of an unknown format"));
    }
    let mut ops = Vec::new();
    while !bytes.is_empty() {
        ops.push(match bytes.get_u8() {
            APPEND => Op::Append(read_records(&mut bytes)?),
            TRUNCATE => Op::Truncate { from: bytes.try_get_u64().map_err(ends_early)? },
            PURGE => {
                let through = bytes.try_get_u64().map_err(ends_early)?;
                Op::Purge { through, marker: read_bytes(&mut bytes)? }
            }
            VOTE => Op::Vote(read_bytes(&mut bytes)?),
            COMMITTED => Op::Committed(read_bytes(&mut bytes)?),
            _ => return Err(damaged("a frame of the log with an unknown operation")),
        });
    }
    Ok(ops)
}

fn read_records(bytes: &mut Bytes) -> io::Result<Vec<Record>> {
    let first = bytes.try_get_u64().map_err(ends_early)?;
    let count = u64::from(bytes.try_get_u32().map_err(ends_early)?);
    let mut records = Vec::new();
    for place in 0..count {
        let index = first.checked_add(place).ok_or_else(|| damaged("a log index beyond all numbers"))?;
        records.push(Record { index, bytes: read_bytes(bytes)? });
    }
    Ok(records)
}

/// Copied, so that one record that lives long does not keep the segment in memory.
fn read_bytes(bytes: &mut Bytes) -> io::Result<Bytes> {
    let length = bytes.try_get_u32().map_err(ends_early)? as usize;
    if bytes.len() < length {
        return Err(damaged("a frame of the log that ends early"));
    }
    Ok(Bytes::copy_from_slice(&bytes.split_to(length)))
}

fn ends_early(_: bytes::TryGetError) -> io::Error {
    damaged("a frame of the log that ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops() -> Vec<Op> {
        let record = |index| Record { index, bytes: Bytes::from(vec![7; 100]) };
        vec![
            Op::Vote(Bytes::from_static(b"vote")),
            Op::Append(vec![record(3), record(4)]),
            Op::Truncate { from: 4 },
            Op::Committed(Bytes::from_static(b"committed")),
            Op::Purge { through: 3, marker: Bytes::from_static(b"marker") },
        ]
    }

    const BEGIN: Place = Place { sequence: 9, crc: 77 };

    fn frame(before: Place) -> (Place, Bytes) {
        let mut frame = Vec::new();
        let place = write(&mut frame, before, &ops());
        (place, frame.into())
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let (place, frame) = frame(BEGIN);
        assert_eq!(frame.len(), bytes(&ops()));
        assert_eq!(read(&frame, BEGIN).expect("whole"), Some((place, ops(), frame.len())));
    }

    #[test]
    fn only_the_next_frame_is_read() {
        let (place, frame) = frame(BEGIN);
        for before in [Place { sequence: 8, ..BEGIN }, Place { crc: 78, ..BEGIN }, place] {
            assert_eq!(read(&frame, before).expect("an end"), None, "after {before:?}");
        }
    }

    /// A crash in the middle of a write leaves any part of it.
    #[test]
    fn a_torn_frame_is_the_end() {
        let (_, frame) = frame(BEGIN);
        for place in 0..frame.len() {
            let mut torn = frame.to_vec();
            torn[place] ^= 1;
            assert_eq!(read(&torn.into(), BEGIN).expect("an end"), None, "byte {place}");
            assert_eq!(read(&frame.slice(..place), BEGIN).expect("an end"), None, "{place} bytes");
        }
    }

    /// What was acknowledged must not pass for torn.
    #[test]
    fn a_damaged_frame_before_a_whole_one_is_told() {
        let (place, first) = frame(BEGIN);
        let (_, second) = frame(place);
        let mut both = [first, second].concat();
        both[HEADER_BYTES + 20] ^= 1;
        assert!(read(&both.into(), BEGIN).is_err());
    }
}
