//! A log that is gone with its process, and the meaning of every operation in its simplest form.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::{LogBackend, LogStats, Op, Record, Recovered};

/// Keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct MemBackend {
    kept: Recovered,
    records: VecDeque<Record>,
}

impl MemBackend {
    /// Carries out one operation.
    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Append(records) => {
                for record in records {
                    let next = self.records.back().map_or(record.index, |last| last.index + 1);
                    assert_eq!(record.index, next, "the log has a gap");
                    self.records.push_back(record);
                }
            }
            Op::Truncate { from } => {
                while self.records.back().is_some_and(|last| last.index >= from) {
                    self.records.pop_back();
                }
            }
            Op::Purge { through, marker } => {
                while self.records.front().is_some_and(|first| first.index <= through) {
                    self.records.pop_front();
                }
                self.kept.purged = Some(marker);
            }
            Op::Vote(vote) => self.kept.vote = Some(vote),
            Op::Committed(committed) => self.kept.committed = Some(committed),
        }
    }

    /// The records of a range.
    pub(super) fn range(&self, indexes: &Range<u64>) -> Vec<Record> {
        let first = self.records.partition_point(|record| record.index < indexes.start);
        let end = self.records.partition_point(|record| record.index < indexes.end);
        self.records.range(first..end.max(first)).cloned().collect()
    }
}

impl LogBackend for MemBackend {
    fn commit(&mut self, ops: Vec<Op>) -> io::Result<()> {
        ops.into_iter().for_each(|op| self.apply(op));
        Ok(())
    }

    fn load(&mut self) -> io::Result<Recovered> {
        Ok(Recovered { records: self.records.iter().cloned().collect(), ..self.kept.clone() })
    }

    fn read(&mut self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        Ok(self.range(&indexes))
    }

    fn stats(&self) -> LogStats {
        LogStats::default()
    }

    fn is_inline(&self) -> bool {
        true
    }
}
