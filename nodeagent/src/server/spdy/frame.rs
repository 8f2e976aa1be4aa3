//! Frames on the wire.
//!
//! ```text
//! data     0 stream:31 | flags:8 length:24 | payload
//! control  1 version:15 type:16 | flags:8 length:24 | payload
//! ```

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
/// The head of the zlib stream that all header blocks are part of: no dictionary is announced.
const ZLIB_HEAD: [u8; 2] = [0x78, 0x01];
/// What a peer may send in one frame.
const LENGTH_MAX: usize = 1 << 20;

/// A frame, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream; `fin` half-closes it.
    Data {
        /// Which stream.
        stream: u32,
        /// No more will come.
        fin: bool,
        /// The bytes.
        data: Bytes,
    },
    /// A new stream with its headers.
    Open {
        /// Which stream.
        stream: u32,
        /// The opener will send nothing.
        fin: bool,
        /// Names are lower case.
        headers: Vec<(String, String)>,
    },
    /// The other side took a stream.
    Accepted {
        /// Which stream.
        stream: u32,
        /// It will send nothing.
        fin: bool,
    },
    /// A stream ends at once.
    Reset {
        /// Which stream.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Asks for the same frame back.
    Ping(u32),
    /// The other side will take no more streams.
    GoAway,
    /// A kind that needs no answer.
    Other(u16),
}

/// Writes frames of one connection.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The zlib stream that all header blocks are part of was begun.
    begun: bool,
}

impl Encoder {
    /// Appends a frame.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::Data { stream, fin, data } => {
                out.put_u32(*stream & 0x7fff_ffff);
                put_length(out, *fin, data.len());
                out.put_slice(data);
            }
            Frame::Open { stream, fin, headers } => {
                let block = self.header_block(headers);
                put_control(out, 1, *fin, 10 + block.len());
                out.put_u32(*stream);
                // No parent, the highest priority, no credential slot.
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(&block);
            }
            Frame::Accepted { stream, fin } => {
                let block = self.header_block(&[]);
                put_control(out, 2, *fin, 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(&block);
            }
            Frame::Reset { stream, status } => {
                put_control(out, 3, false, 8);
                out.put_u32(*stream);
                out.put_u32(*status);
            }
            Frame::Ping(id) => {
                put_control(out, 6, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway => {
                put_control(out, 7, false, 8);
                out.put_u64(0);
            }
            Frame::Other(_) => {}
        }
    }

    /// Names and values as the next part of the zlib stream.
    fn header_block(&mut self, headers: &[(String, String)]) -> Vec<u8> {
        let mut plain = BytesMut::new();
        plain.put_u32(u32::try_from(headers.len()).expect("a handful of headers"));
        for (name, value) in headers {
            for text in [name, value] {
                plain.put_u32(u32::try_from(text.len()).expect("short texts"));
                plain.put_slice(text.as_bytes());
            }
        }
        let mut out = if std::mem::replace(&mut self.begun, true) { Vec::new() } else { ZLIB_HEAD.to_vec() };
        out.extend(stored(&plain));
        // An empty block makes readers hand out what they have: the flush of a zlib stream.
        out.extend(stored(&[]));
        out
    }
}

impl Frame {
    /// Takes one frame from the front, if a whole one is there. The headers of an opened stream are not read.
    pub fn decode(input: &mut BytesMut) -> io::Result<Option<Self>> {
        if input.len() < 8 {
            return Ok(None);
        }
        let head = u32::from_be_bytes([input[0], input[1], input[2], input[3]]);
        let flags_and_length = u32::from_be_bytes([input[4], input[5], input[6], input[7]]);
        let fin = flags_and_length >> 24 & u32::from(FLAG_FIN) != 0;
        let length = (flags_and_length & 0x00ff_ffff) as usize;
        if length > LENGTH_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        if input.len() < 8 + length {
            return Ok(None);
        }
        input.advance(8);
        let mut payload = input.split_to(length).freeze();
        if head >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: head, fin, data: payload }));
        }
        let kind = (head & 0xffff) as u16;
        let needed = match kind {
            1 => 10,
            2 | 6 => 4,
            3 => 8,
            _ => 0,
        };
        if payload.len() < needed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too short"));
        }
        Ok(Some(match kind {
            1 => Frame::Open { stream: payload.get_u32(), fin, headers: Vec::new() },
            2 => Frame::Accepted { stream: payload.get_u32(), fin },
            3 => Frame::Reset { stream: payload.get_u32(), status: payload.get_u32() },
            6 => Frame::Ping(payload.get_u32()),
            7 => Frame::GoAway,
            other => Frame::Other(other),
        }))
    }
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(out, fin, length);
}

fn put_length(out: &mut BytesMut, fin: bool, length: usize) {
    let flags = if fin { u32::from(FLAG_FIN) << 24 } else { 0 };
    out.put_u32(flags | u32::try_from(length).expect("frames are cut long before"));
}

/// A block of deflate that is not compressed.
fn stored(plain: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plain.len()).expect("headers are shorter than a stored block");
    let mut out = vec![0];
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(plain);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Open { stream: 1, fin: false, headers: Vec::new() },
            Frame::Accepted { stream: 1, fin: true },
            Frame::Data { stream: 1, fin: false, data: Bytes::from_static(b"hello") },
            Frame::Data { stream: 3, fin: true, data: Bytes::new() },
            Frame::Reset { stream: 3, status: 5 },
            Frame::Ping(2),
            Frame::GoAway,
        ]
    }

    /// What goes out comes in again, cut anywhere.
    #[test]
    fn round_trip_byte_by_byte() {
        let mut out = BytesMut::new();
        let mut encoder = Encoder::default();
        frames().iter().for_each(|frame| encoder.encode(frame, &mut out));
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for byte in out {
            input.put_u8(byte);
            while let Some(frame) = Frame::decode(&mut input).expect("valid") {
                read.push(frame);
            }
        }
        assert_eq!(read, frames());
        assert!(input.is_empty(), "bytes are left");
    }

    /// The header blocks of two streams are one zlib stream that an ordinary decompressor reads.
    #[test]
    fn header_blocks_are_one_zlib_stream() {
        let mut encoder = Encoder::default();
        let block =
            |kind: &str, encoder: &mut Encoder| encoder.header_block(&[("streamtype".into(), kind.into())]);
        let blocks = [block("error", &mut encoder), block("stdin", &mut encoder)].concat();
        let mut plain = Vec::with_capacity(1024);
        flate2::Decompress::new(true)
            .decompress_vec(&blocks, &mut plain, flate2::FlushDecompress::Sync)
            .expect("a zlib stream");
        let expected = |kind: &str| [b"\0\0\0\x01\0\0\0\nstreamtype\0\0\0\x05", kind.as_bytes()].concat();
        assert_eq!(plain, [expected("error"), expected("stdin")].concat());
    }

    #[test]
    fn a_frame_that_lies_about_its_length_is_refused() {
        let mut input = BytesMut::from(&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0][..]);
        assert!(Frame::decode(&mut input).is_err());
        let mut input = BytesMut::from(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert!(Frame::decode(&mut input).is_err());
    }
}
