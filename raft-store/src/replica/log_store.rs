//! openraft's log over a [`LogBackend`]: the tail in memory, the truth on disk.
//!
//! An append is readable at once and durable when its callback says so. What is applied is read again only by a member
//! that is late, so of that no more is kept in memory than a bound says; the rest is read from disk.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::convert;
use super::tail::Tail;
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::alarm::Alarm;
use crate::log::{LogBackend, Op, Record, Writer};

/// Entries that are sent to another member at once, one at least: when it is late they come from disk. With the largest
/// entry this is below what a message may hold.
const SENT_BYTES_MAX: usize = 8 << 20;

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    tail: Mutex<Tail>,
    writer: Writer,
    /// Bytes of applied entries that stay in memory.
    held_bytes_max: usize,
}

impl LogStore {
    /// An empty log that is gone with the process.
    pub(crate) fn in_memory() -> Self {
        let (tail, writer, held_bytes_max) = (Mutex::default(), Writer::Nowhere, usize::MAX);
        Self { shared: Arc::new(Shared { tail, writer, held_bytes_max }) }
    }

    /// Loads what a backend holds and starts writing to it.
    pub(crate) fn open(
        mut backend: Box<dyn LogBackend>,
        held_bytes_max: usize,
        alarm: Alarm,
    ) -> io::Result<Self> {
        let tail = Mutex::new(Tail::recovered(backend.load()?)?);
        let writer = Writer::start(backend, alarm)?;
        Ok(Self { shared: Arc::new(Shared { tail, writer, held_bytes_max }) })
    }

    /// Waits for the disk and closes the backend.
    pub(crate) async fn close(&self) {
        self.shared.writer.close().await;
    }

    /// Bytes of the log since the last purge.
    pub(crate) fn bytes(&self) -> usize {
        self.tail().bytes()
    }

    /// The last entry, or what was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.tail().last()
    }

    /// The last entry that is gone.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.tail().purged
    }

    /// Index through which to purge so that at most this many bytes and entries remain.
    pub(crate) fn purge_point(&self, bytes_max: usize, entries_max: usize) -> Option<u64> {
        self.tail().purge_point(bytes_max, entries_max)
    }

    /// Lets go of what is applied, as far as it is more than stays in memory.
    pub(super) fn applied(&self, through: u64) {
        let gone = self.tail().release(through, self.shared.held_bytes_max);
        // Outside of the lock.
        drop(gone);
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
        let (older, entries) = self.tail().range(&range);
        if older.is_empty() {
            return Ok(entries);
        }
        let records = self.shared.writer.read(older.clone()).await?;
        // What was purged meanwhile is not there, as if it had been asked for later.
        let first = older.start.max(self.tail().first());
        let found = records.into_iter().filter(|record| record.index >= first).map(convert::read_log_record);
        let found = found.collect::<io::Result<Vec<Entry>>>()?;
        if found.len() as u64 != older.end.saturating_sub(first) {
            return Err(convert::damaged("an entry of the log is not where it was written"));
        }
        Ok(found.into_iter().chain(entries).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = self.tail().limited(start..end, SENT_BYTES_MAX);
        self.try_get_log_entries(start..end).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last() })
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
        self.tail().truncate_after(last);
        self.commit(move || vec![Op::Truncate { from }]).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.tail().purge(log_id);
        let op = Op::Purge { through: log_id.index(), marker: convert::record(&convert::position(&log_id)) };
        self.commit(move || vec![op]).await
    }
}

fn record(entry: &Entry) -> Record {
    Record { index: entry.log_id.index(), bytes: convert::record(&convert::entry(entry)) }
}
