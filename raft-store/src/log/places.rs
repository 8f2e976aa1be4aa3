//! Where records lie in the segments, so that some can be read again without reading everything. What is told of a record
//! is what stands last in the frames that its span names.

use std::collections::VecDeque;
use std::ops::Range;

use super::Op;
use super::frame::Place;

/// Frames that follow each other are one span up to this size: enough that spans take no room worth mentioning, little
/// enough that nobody reads much for one record.
const SPAN_BYTES: usize = 64 << 10;

/// Frames one behind the other in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) segment: u64,
    pub(super) offset: usize,
    pub(super) bytes: usize,
    /// The frame before the first of them.
    pub(super) before: Place,
}

/// Records that follow each other, and the frames they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) indexes: Range<u64>,
    pub(super) spot: Spot,
}

/// The spans of a log, in the order of their indexes, without gaps.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Span>);

impl Places {
    /// Takes a frame in.
    pub(super) fn note(&mut self, spot: Spot, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Append(records) => {
                    if let (Some(first), Some(last)) = (records.first(), records.last()) {
                        self.append(first.index..last.index + 1, spot);
                    }
                }
                Op::Truncate { from } => self.truncate(*from),
                Op::Purge { through, .. } => self.purge(*through),
                Op::Vote(_) | Op::Committed(_) => {}
            }
        }
    }

    /// The spans that hold records of a range.
    pub(super) fn of(&self, indexes: &Range<u64>) -> impl Iterator<Item = &Span> {
        let first = self.0.partition_point(|span| span.indexes.end <= indexes.start);
        self.0.range(first..).take_while(move |span| span.indexes.start < indexes.end)
    }

    fn append(&mut self, indexes: Range<u64>, spot: Spot) {
        if let Some(last) = self.0.back_mut()
            && last.indexes.end == indexes.start
            && last.spot.is_continued_by(spot)
        {
            last.indexes.end = indexes.end;
            last.spot.bytes = spot.offset + spot.bytes - last.spot.offset;
            return;
        }
        self.0.push_back(Span { indexes, spot });
    }

    fn truncate(&mut self, from: u64) {
        while self.0.pop_back_if(|last| last.indexes.start >= from).is_some() {}
        if let Some(last) = self.0.back_mut() {
            last.indexes.end = last.indexes.end.min(from);
        }
    }

    fn purge(&mut self, through: u64) {
        while self.0.pop_front_if(|first| first.indexes.end <= through + 1).is_some() {}
        if let Some(first) = self.0.front_mut() {
            first.indexes.start = first.indexes.start.max(through + 1);
        }
    }
}

impl Spot {
    /// Whether a frame is in this spot already, or follows it and is not too far from its beginning.
    fn is_continued_by(&self, frame: Self) -> bool {
        let end = self.offset + self.bytes;
        let frame_end = frame.offset + frame.bytes;
        let is_near = frame_end == end || (frame.offset == end && frame_end - self.offset <= SPAN_BYTES);
        self.segment == frame.segment && is_near
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Record;
    use super::*;

    fn append(indexes: Range<u64>) -> Op {
        Op::Append(indexes.map(|index| Record { index, bytes: Bytes::new() }).collect())
    }

    fn spot(segment: u64, offset: usize, bytes: usize) -> Spot {
        Spot { segment, offset, bytes, before: Place::default() }
    }

    fn spans(places: &Places) -> Vec<(Range<u64>, u64, usize, usize)> {
        let span = |span: &Span| (span.indexes.clone(), span.spot.segment, span.spot.offset, span.spot.bytes);
        places.0.iter().map(span).collect()
    }

    #[test]
    fn small_frames_that_follow_each_other_are_one_span() {
        let mut places = Places::default();
        places.note(spot(0, 0, 100), &[append(0..2)]);
        places.note(spot(0, 100, 100), &[append(2..3)]);
        places.note(spot(1, 0, 100), &[append(3..4)]);
        places.note(spot(1, 300, 100), &[append(4..5)]);
        places.note(spot(1, 400, SPAN_BYTES), &[append(5..6)]);

        let expected =
            [(0..3, 0, 0, 200), (3..4, 1, 0, 100), (4..5, 1, 300, 100), (5..6, 1, 400, SPAN_BYTES)];
        assert_eq!(spans(&places), expected);
        let of = |range: Range<u64>| places.of(&range).map(|span| span.indexes.start).collect::<Vec<_>>();
        assert_eq!(of(2..5), [0, 3, 4]);
        assert_eq!(of(3..4), [3]);
        assert_eq!(of(6..9), [0; 0]);
    }

    #[test]
    fn what_is_gone_is_nowhere() {
        let mut places = Places::default();
        places.note(spot(0, 0, 100), &[append(0..5), Op::Truncate { from: 3 }, append(3..4)]);
        places.note(spot(2, 0, 100), &[append(4..9)]);
        places.note(spot(2, 100, 100), &[Op::Truncate { from: 6 }]);
        places.note(spot(2, 200, 100), &[Op::Purge { through: 0, marker: Bytes::new() }]);
        assert_eq!(spans(&places), [(1..4, 0, 0, 100), (4..6, 2, 0, 100)]);
        places.note(spot(2, 300, 100), &[Op::Purge { through: 7, marker: Bytes::new() }, append(8..9)]);
        assert_eq!(spans(&places), [(8..9, 2, 300, 100)]);
    }
}
