//! openraft's log over a [`LogBackend`]: the tail in memory, the truth on disk.
//!
//! Reads come from memory; the disk is read once, at start. An append is readable at once and durable
//! when its callback says so.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::convert;
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::alarm::Alarm;
use crate::log::{LogBackend, Op, Record, Recovered, Writer};

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    tail: Mutex<Tail>,
    writer: Writer,
}

#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    /// Saved along with the next commit. Of its own it is not worth a sync: a voter that restarts waits
    /// for a leader's commit index before it answers.
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl LogStore {
    /// An empty log that is gone with the process.
    pub(crate) fn in_memory() -> Self {
        Self { shared: Arc::new(Shared { tail: Mutex::default(), writer: Writer::Nowhere }) }
    }

    /// Loads what a backend holds and starts writing to it.
    pub(crate) fn open(mut backend: Box<dyn LogBackend>, alarm: Alarm) -> io::Result<Self> {
        let tail = Tail::recovered(backend.load()?)?;
        let writer = Writer::start(backend, alarm)?;
        Ok(Self { shared: Arc::new(Shared { tail: Mutex::new(tail), writer }) })
    }

    /// Waits for the disk and closes the backend.
    pub(crate) async fn close(&self) {
        self.shared.writer.close().await;
    }

    /// Bytes of the log since the last purge.
    pub(crate) fn bytes(&self) -> usize {
        self.tail().bytes
    }

    /// The last entry, or what was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        let tail = self.tail();
        tail.entries.back().map(|(entry, _)| entry.log_id).or(tail.purged)
    }

    /// The last entry that is gone.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.tail().purged
    }

    /// Index through which to purge so that at most this many bytes and entries remain.
    pub(crate) fn purge_point(&self, bytes_max: usize, entries_max: usize) -> Option<u64> {
        let tail = self.tail();
        let mut bytes = 0;
        let kept = tail.entries.iter().rev().take(entries_max).take_while(|(_, size)| {
            bytes += size;
            bytes <= bytes_max
        });
        let gone = tail.entries.len() - kept.count();
        tail.entries.get(gone.checked_sub(1)?).map(|(entry, _)| entry.log_id.index())
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.shared.tail.lock().expect("no panic while the lock is held")
    }

    /// Commits and waits until it is durable.
    async fn commit(&self, build: impl FnOnce() -> Vec<Op> + Send + 'static) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits when Raft shuts down in between.
            let _ = sender.send(result);
        });
        self.shared.writer.submit(build, done);
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log has been closed")))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.tail().range(&range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.tail();
        let last = tail.entries.back().map(|(entry, _)| entry.log_id).or(tail.purged);
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let record = convert::record(&convert::vote(vote));
        self.commit(move || vec![Op::Vote(record)]).await?;
        self.tail().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let committed = {
            let mut tail = self.tail();
            entries.iter().for_each(|entry| tail.push(entry.clone()));
            tail.committed
        };
        let build = move || {
            let committed =
                committed.map(|log_id| Op::Committed(convert::record(&convert::position(&log_id))));
            let records = entries.iter().map(record).collect();
            committed.into_iter().chain([Op::Append(records)]).collect()
        };
        self.shared.writer.submit(build, Box::new(|result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index() + 1);
        self.tail().truncate(from);
        self.commit(move || vec![Op::Truncate { from }]).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.tail().purge(log_id);
        let op = Op::Purge { through: log_id.index(), marker: convert::record(&convert::position(&log_id)) };
        self.commit(move || vec![op]).await
    }
}

impl Tail {
    fn recovered(recovered: Recovered) -> io::Result<Self> {
        let mut tail = Self {
            vote: recovered.vote.map(convert::read_record).transpose()?.map(convert::read_vote),
            committed: recovered.committed.map(convert::read_record).transpose()?.map(convert::read_position),
            purged: recovered.purged.map(convert::read_record).transpose()?.map(convert::read_position),
            ..Self::default()
        };
        for record in recovered.records {
            let entry = convert::read_entry(convert::read_record(record.bytes)?)?;
            if entry.log_id.index() != record.index {
                return Err(convert::damaged("a log entry in another's place"));
            }
            tail.push(entry);
        }
        Ok(tail)
    }

    fn push(&mut self, entry: Entry) {
        if let Some((last, _)) = self.entries.back() {
            assert_eq!(entry.log_id.index(), last.log_id.index() + 1, "the log has a gap");
        }
        let size = cost(&entry);
        self.bytes += size;
        self.entries.push_back((entry, size));
    }

    fn range(&self, range: &impl RangeBounds<u64>) -> Vec<Entry> {
        let Some((first, _)) = self.entries.front() else { return Vec::new() };
        let first = first.log_id.index();
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
        let length = self.entries.len() as u64;
        let from = start.saturating_sub(first).min(length);
        let until = end.saturating_sub(first).clamp(from, length);
        let index = |position: u64| usize::try_from(position).expect("an index into memory");
        self.entries.range(index(from)..index(until)).map(|(entry, _)| entry.clone()).collect()
    }

    fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|(last, _)| last.log_id.index() >= from) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, size)| size);
        }
    }

    fn purge(&mut self, through: LogId) {
        while self.entries.front().is_some_and(|(first, _)| first.log_id.index() <= through.index()) {
            self.bytes -= self.entries.pop_front().map_or(0, |(_, size)| size);
        }
        self.purged = self.purged.max(Some(through));
    }
}

fn record(entry: &Entry) -> Record {
    Record { index: entry.log_id.index(), bytes: convert::record(&convert::entry(entry)) }
}

/// What an entry adds to the log, without encoding it.
fn cost(entry: &Entry) -> usize {
    /// Position, checksum and key of an entry.
    const OVERHEAD: usize = 64;
    let payload = match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => crate::proposal::cost(&proposal.0),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
    };
    payload + OVERHEAD
}
