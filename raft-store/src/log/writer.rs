//! Group commit: one thread, or one task of a simulation, owns the backend and commits whatever has queued up with one sync.
//!
//! Callbacks run only after the sync. After the first error nothing is acknowledged any more: the disk's
//! state is unknown, and the store has to be opened again.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{LogBackend, Op, Record, join};
use crate::alarm::Alarm;

/// Told when a commit is durable, or that it may not be.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Builds operations late, so that encoding happens beside the event loop and not in it.
type Build = Box<dyn FnOnce() -> Vec<Op> + Send>;

/// Bytes committed with one sync. Enough to amortise it, small enough that the first in the queue does
/// not wait long for the last.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Requests committed with one sync.
const GROUP_MAX: usize = 4096;

/// What an alarm calls it.
const PART: &str = "the log";

enum Request {
    Commit { build: Build, done: Done },
    Read { indexes: Range<u64>, done: oneshot::Sender<io::Result<Vec<Record>>> },
}

/// Where commits are sent. Its queue is bounded by the proposals in flight, which the store bounds.
pub(crate) enum Writer {
    Inline(Mutex<Owner>),
    Thread(Mutex<Option<Thread>>),
    /// A simulated disk takes its time, without a thread.
    Task(Mutex<Option<Task>>),
    /// There is nothing to wait for: the log is gone with its process.
    Nowhere,
}

pub(crate) struct Thread {
    sender: Sender<Request>,
    handle: JoinHandle<()>,
}

pub(crate) struct Task {
    sender: mpsc::UnboundedSender<Request>,
    handle: tokio::task::JoinHandle<()>,
}

pub(crate) struct Owner {
    backend: Box<dyn LogBackend>,
    failed: Option<io::ErrorKind>,
}

impl Writer {
    pub(crate) fn start(backend: Box<dyn LogBackend>, alarm: Alarm) -> io::Result<Self> {
        let owner = Owner { backend, failed: None };
        if owner.backend.pause().is_some() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let handle = tokio::spawn(run_paused(owner, receiver, alarm));
            return Ok(Self::Task(Mutex::new(Some(Task { sender, handle }))));
        }
        if owner.backend.is_inline() {
            return Ok(Self::Inline(Mutex::new(owner)));
        }
        let (sender, receiver) = channel();
        let handle =
            std::thread::Builder::new().name("log".into()).spawn(move || run(owner, &receiver, &alarm))?;
        Ok(Self::Thread(Mutex::new(Some(Thread { sender, handle }))))
    }

    /// Queues operations. Commits happen in the order of submission.
    pub(crate) fn submit(&self, build: impl FnOnce() -> Vec<Op> + Send + 'static, done: Done) {
        self.send(Request::Commit { build: Box::new(build), done });
    }

    /// The records of a range as they are after everything that was submitted before.
    pub(crate) async fn read(&self, indexes: Range<u64>) -> io::Result<Vec<Record>> {
        let (done, records) = oneshot::channel();
        self.send(Request::Read { indexes, done });
        records.await.unwrap_or_else(|_| Err(closed()))
    }

    fn send(&self, request: Request) {
        match self {
            Self::Nowhere => request.pass(),
            Self::Inline(owner) => lock(owner).serve(vec![request]),
            Self::Thread(thread) => {
                let unsent = match &*lock(thread) {
                    Some(thread) => thread.sender.send(request).err().map(|unsent| unsent.0),
                    None => Some(request),
                };
                if let Some(request) = unsent {
                    request.refuse();
                }
            }
            Self::Task(task) => {
                let unsent = match &*lock(task) {
                    Some(task) => task.sender.send(request).err().map(|unsent| unsent.0),
                    None => Some(request),
                };
                if let Some(request) = unsent {
                    request.refuse();
                }
            }
        }
    }

    /// Commits what is queued and closes the backend, so that whoever opens it next finds it unlocked.
    /// Waits for the disk.
    pub(crate) async fn close(&self) {
        let task = match self {
            Self::Task(task) => lock(task).take(),
            Self::Thread(_) | Self::Inline(_) | Self::Nowhere => None,
        };
        if let Some(Task { sender, handle }) = task {
            drop(sender);
            if handle.await.is_err() {
                tracing::error!("the log task panicked");
            }
        }
        if let Some(thread) = self.take_thread()
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the log was not closed");
        }
    }

    fn take_thread(&self) -> Option<Thread> {
        let Self::Thread(thread) = self else { return None };
        lock(thread).take()
    }
}

impl Thread {
    fn join(self) {
        drop(self.sender);
        if self.handle.join().is_err() {
            tracing::error!("the log thread panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.take_thread() {
            thread.join();
        }
    }
}

impl Request {
    /// As a log that is nowhere answers.
    fn pass(self) {
        match self {
            Self::Commit { done, .. } => done(Ok(())),
            Self::Read { done, .. } => answer(done, Ok(Vec::new())),
        }
    }

    fn refuse(self) {
        match self {
            Self::Commit { done, .. } => done(Err(closed())),
            Self::Read { done, .. } => answer(done, Err(closed())),
        }
    }
}

fn answer(done: oneshot::Sender<io::Result<Vec<Record>>>, records: io::Result<Vec<Record>>) {
    // Nobody waits when Raft shuts down in between.
    let _ = done.send(records);
}

fn closed() -> io::Error {
    io::Error::other("the log is closed")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held")
}

fn run(mut owner: Owner, requests: &Receiver<Request>, alarm: &Alarm) {
    let _guard = alarm.guard(PART);
    while let Ok(first) = requests.recv() {
        let mut group = vec![first];
        group.extend(requests.try_iter().take(GROUP_MAX - 1));
        owner.serve(group);
    }
}

/// What [`run`] does, in virtual time.
async fn run_paused(mut owner: Owner, mut requests: mpsc::UnboundedReceiver<Request>, alarm: Alarm) {
    let _guard = alarm.guard(PART);
    let mut group = Vec::new();
    while requests.recv_many(&mut group, GROUP_MAX).await > 0 {
        tokio::time::sleep(owner.backend.pause().unwrap_or(Duration::ZERO)).await;
        owner.serve(std::mem::take(&mut group));
    }
}

impl Owner {
    fn serve(&mut self, group: Vec<Request>) {
        let mut ops = Vec::new();
        let mut waiting = Vec::new();
        let mut bytes = 0;
        for request in group {
            match request {
                Request::Commit { build, done } => {
                    let built = build();
                    bytes += built.iter().map(size).sum::<usize>();
                    built.into_iter().for_each(|op| join(&mut ops, op));
                    waiting.push(done);
                    if bytes >= GROUP_BYTES_MAX {
                        self.finish(std::mem::take(&mut ops), std::mem::take(&mut waiting));
                        bytes = 0;
                    }
                }
                Request::Read { indexes, done } => {
                    self.finish(std::mem::take(&mut ops), std::mem::take(&mut waiting));
                    answer(done, self.backend.read(indexes));
                }
            }
        }
        self.finish(ops, waiting);
    }

    fn finish(&mut self, ops: Vec<Op>, waiting: Vec<Done>) {
        if waiting.is_empty() {
            return;
        }
        let result = match self.failed {
            Some(kind) => Err(kind),
            None => self.backend.commit(ops).map_err(|error| {
                tracing::error!(%error, "the log cannot be written, it is closed");
                error.kind()
            }),
        };
        self.failed = result.err();
        for done in waiting {
            done(result.map_err(io::Error::from));
        }
    }
}

fn size(op: &Op) -> usize {
    match op {
        Op::Append(records) => records.iter().map(|record| record.bytes.len()).sum(),
        Op::Truncate { .. } | Op::Purge { .. } | Op::Vote(_) | Op::Committed(_) => 0,
    }
}
