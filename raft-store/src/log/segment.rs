//! One file of the log: frames one behind the other, each made durable with one write and one fdatasync. Its blocks are
//! there before the first frame, so that the sync has no metadata to write.
//!
//! A file is used again once what it holds is purged; what is left in it is of earlier frames, and no later one follows
//! them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{self, Place};
use super::places::{Span, Spot};
use super::{Op, Record, damaged};

const PREFIX: &str = "segment-";

/// The file that frames are written to, or are read from.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: File,
    bytes: usize,
    /// Where the next frame goes.
    offset: usize,
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number:020}"))
}

/// The segments in a directory, whether they belong to the log or not.
pub(super) fn all(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// The records of a span, which must be there: they were written, or read at opening.
pub(super) fn records(dir: &Path, span: &Span) -> io::Result<Vec<Record>> {
    let Spot { segment, offset, bytes, before } = span.spot;
    let frames = read_at(&File::open(path(dir, segment))?, offset as u64, bytes)?;
    let (mut place, mut read, mut found) = (before, 0, BTreeMap::new());
    while read < bytes {
        let frame = frame::read(&frames.slice(read..), place)?;
        let (next, ops, length) = frame.ok_or_else(|| damaged("a frame of the log has changed"))?;
        (place, read) = (next, read + length);
        for op in ops {
            let Op::Append(records) = op else { continue };
            let wanted = records.into_iter().filter(|record| span.indexes.contains(&record.index));
            found.extend(wanted.map(|record| (record.index, record.bytes)));
        }
    }
    Ok(found.into_iter().map(|(index, bytes)| Record { index, bytes }).collect())
}

fn read_at(file: &File, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let mut read = vec![0; bytes];
    file.read_exact_at(&mut read, offset)?;
    Ok(read.into())
}

impl Segment {
    /// A file with room for so much, durable under its name. Another one may be used for it.
    pub(super) fn create(dir: &Path, number: u64, bytes: usize, spare: Option<u64>) -> io::Result<Self> {
        let path = path(dir, number);
        let file = match spare {
            Some(spare) => {
                fs::rename(self::path(dir, spare), &path)?;
                File::options().read(true).write(true).open(&path)?
            }
            None => {
                let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
                file.write_all_at(&vec![0; bytes], 0)?;
                file.sync_all()?;
                file
            }
        };
        File::open(dir)?.sync_all()?;
        Ok(Self { number, file, bytes, offset: 0 })
    }

    /// Opens a file of the log. What it returns is durable: an earlier owner may have been killed before it could sync.
    pub(super) fn open(dir: &Path, number: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path(dir, number))?;
        file.sync_all()?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok(Self { number, file, bytes, offset: 0 })
    }

    /// Reads the frames that follow `place`, and goes behind the last of them.
    pub(super) fn read(&mut self, place: &mut Place, mut take: impl FnMut(Spot, Vec<Op>)) -> io::Result<()> {
        let bytes = read_at(&self.file, 0, self.bytes)?;
        self.offset = 0;
        while let Some((next, ops, length)) = frame::read(&bytes.slice(self.offset..), *place)? {
            take(self.spot(length, *place), ops);
            *place = next;
            self.offset += length;
        }
        Ok(())
    }

    /// Where a frame of this size is going to lie.
    pub(super) fn spot(&self, bytes: usize, before: Place) -> Spot {
        Spot { segment: self.number, offset: self.offset, bytes, before }
    }

    /// Whether a frame of this size fits behind what is there.
    pub(super) fn has_room(&self, frame_bytes: usize) -> bool {
        self.offset + frame_bytes <= self.bytes
    }

    /// How much it may hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes a frame, which it has room for. It is durable after [`Segment::sync`].
    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.offset as u64)?;
        self.offset += frame.len();
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Where the next frame goes.
    #[cfg(test)]
    pub(super) fn offset(&self) -> usize {
        self.offset
    }
}
