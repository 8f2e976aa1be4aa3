//! What is known of the log without asking the disk: where it begins and ends, what it weighs, and its newest entries.

use std::collections::VecDeque;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use super::convert;
use super::types::{Entry, LogId, Vote};
use crate::log::Recovered;

#[derive(Default)]
pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    /// Saved along with the next commit. Of its own it is not worth a sync: a voter that restarts waits
    /// for a leader's commit index before it answers.
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Index of the first entry that is not purged.
    first: u64,
    /// What these entries weigh, and all together.
    weights: VecDeque<u32>,
    bytes: usize,
    /// The newest of them, and what they weigh together.
    entries: VecDeque<Entry>,
    held_bytes: usize,
    /// The last entry that is on disk only.
    released: Option<LogId>,
}

impl Tail {
    pub(super) fn recovered(recovered: Recovered) -> io::Result<Self> {
        let mut tail = Self {
            vote: recovered.vote.map(convert::read_record).transpose()?.map(convert::read_vote),
            committed: recovered.committed.map(convert::read_record).transpose()?.map(convert::read_position),
            purged: recovered.purged.map(convert::read_record).transpose()?.map(convert::read_position),
            ..Self::default()
        };
        for record in recovered.records {
            tail.push(convert::read_log_record(record)?);
        }
        Ok(tail)
    }

    /// Bytes of the log since the last purge.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Index of the first entry that is not purged.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The last entry, or what was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.released.max(self.purged))
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.weights.is_empty() {
            self.first = entry.log_id.index();
        }
        assert_eq!(entry.log_id.index(), self.end(), "the log has a gap");
        let weight = weight(&entry);
        self.bytes += weight as usize;
        self.held_bytes += weight as usize;
        self.weights.push_back(weight);
        self.entries.push_back(entry);
    }

    /// The entries of a range that are in memory, and the indexes before them that are on disk only.
    pub(super) fn range(&self, range: &impl RangeBounds<u64>) -> (Range<u64>, Vec<Entry>) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let held = self.held();
        let start = start.clamp(self.first, self.end());
        let end = end.clamp(start, self.end());
        let at = |index: u64| place(index.saturating_sub(held));
        let entries = self.entries.range(at(start)..at(end)).cloned().collect();
        (start..end.min(held).max(start), entries)
    }

    /// The end of a range, or an earlier one, so that its entries weigh no more than this, or are one.
    pub(super) fn limited(&self, indexes: Range<u64>, bytes_max: usize) -> u64 {
        let start = indexes.start.clamp(self.first, self.end());
        let mut bytes = 0;
        let fitting = self.weights.range(place(start - self.first)..).take_while(|weight| {
            bytes += **weight as usize;
            bytes <= bytes_max
        });
        let most = place(indexes.end.saturating_sub(start));
        indexes.end.min(start + fitting.take(most).count().max(1) as u64)
    }

    /// Index through which to purge so that at most this many bytes and entries remain.
    pub(super) fn purge_point(&self, bytes_max: usize, entries_max: usize) -> Option<u64> {
        let mut bytes = 0;
        let kept = self.weights.iter().rev().take(entries_max).take_while(|weight| {
            bytes += **weight as usize;
            bytes <= bytes_max
        });
        let gone = self.weights.len() - kept.count();
        Some(self.first + gone.checked_sub(1)? as u64)
    }

    /// Takes entries out of memory that are at or below an index, until no more than so many bytes are there. They stay
    /// in the log.
    pub(super) fn release(&mut self, through: u64, bytes_max: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.held_bytes > bytes_max
            && let Some(entry) = self.entries.pop_front_if(|first| first.log_id.index() <= through)
        {
            self.released = Some(entry.log_id);
            self.held_bytes -= weight(&entry) as usize;
            gone.push(entry);
        }
        gone
    }

    /// Takes everything behind an entry away.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let end = last.map_or(0, |last| last.index() + 1).max(self.first);
        while self.end() > end {
            self.bytes -= self.weights.pop_back().map_or(0, |weight| weight as usize);
            if let Some(entry) = self.entries.pop_back() {
                self.held_bytes -= weight(&entry) as usize;
            }
        }
        self.released = self.released.min(last);
    }

    pub(super) fn purge(&mut self, through: LogId) {
        while self.first <= through.index()
            && let Some(weight) = self.weights.pop_front()
        {
            self.bytes -= weight as usize;
            self.first += 1;
        }
        self.first = self.first.max(through.index() + 1);
        while let Some(entry) = self.entries.pop_front_if(|first| first.log_id.index() <= through.index()) {
            self.held_bytes -= weight(&entry) as usize;
        }
        self.purged = self.purged.max(Some(through));
    }

    /// The index behind the last entry.
    fn end(&self) -> u64 {
        self.first + self.weights.len() as u64
    }

    /// Index of the first entry in memory.
    fn held(&self) -> u64 {
        self.end() - self.entries.len() as u64
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index).expect("an index into memory")
}

/// What an entry adds to the log, without encoding it.
fn weight(entry: &Entry) -> u32 {
    /// Position, checksum and key of an entry.
    const OVERHEAD: usize = 64;
    let payload = match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => crate::proposal::cost(&proposal.0),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
    };
    u32::try_from(payload + OVERHEAD).expect("a transaction is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry as _;

    use super::*;

    fn at(index: u64) -> LogId {
        convert::read_position(proto::store::LogPosition { term: 1, leader: 0, index })
    }

    #[test]
    fn what_is_sent_at_once_is_bounded() {
        let mut tail = Tail::default();
        for index in 0..20 {
            tail.push(Entry::new(at(index), EntryPayload::Blank));
        }
        let three = 3 * tail.bytes() / 20;
        assert_eq!(tail.limited(0..10, three), 3);
        assert_eq!(tail.limited(0..2, three), 2);
        assert_eq!(tail.limited(18..25, three), 20);
        assert_eq!(tail.limited(5..10, 0), 6);
        tail.release(15, 0);
        tail.purge(at(7));
        assert_eq!(tail.limited(5..20, three), 11);
        assert_eq!(tail.limited(12..20, three), 15);
    }

    /// What is applied is never taken away; if it were, the end would still be known.
    #[test]
    fn the_last_entry_is_known_when_it_is_on_disk_only() {
        let mut tail = Tail::default();
        (0..20).for_each(|index| tail.push(Entry::new(at(index), EntryPayload::Blank)));
        tail.release(19, 0);
        assert_eq!(tail.last(), Some(at(19)));
        tail.truncate_after(Some(at(12)));
        assert_eq!(tail.last(), Some(at(12)));
        tail.push(Entry::new(at(13), EntryPayload::Blank));
        assert_eq!((tail.last(), tail.first()), (Some(at(13)), 0));
        tail.purge(at(13));
        assert_eq!((tail.last(), tail.first(), tail.bytes()), (Some(at(13)), 14, 0));
    }
}
