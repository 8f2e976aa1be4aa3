//! The audit log's file: one event a line, written by a thread of its own behind a bounded buffer, so that no request waits
//! for a disk. When the buffer is full an event is lost and counted. Decides when the file is rotated.
//!
//! An event costs a request a copy of its line under a short lock, and a wake-up of the writer only when it is the first
//! since the last write.

use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Bytes of events that wait for the writer at most: some six thousand events.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Bytes from which on the writer is woken. Fewer would cost requests more than the events themselves, more would only take
/// memory.
const GATHER_BYTES: usize = 256 << 10;
/// How long fewer bytes than that may wait.
const GATHER: Duration = Duration::from_millis(50);

/// Bounds of the log on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Bytes after which a new file begins.
    pub file_bytes_max: u64,
    /// Older files kept.
    pub backups_max: usize,
}

impl Default for AuditLimits {
    /// Files of 100 MiB as upstream's, ten of them: a gigabyte at most.
    fn default() -> Self {
        Self { file_bytes_max: 100 << 20, backups_max: 10 }
    }
}

/// The way into the file. Dropped, what was added is still written.
pub(super) struct Log {
    shared: Arc<Shared>,
    lost: AtomicU64,
}

/// What requests and the writer share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    added: Condvar,
    /// Wakes whoever waits until something is in the file.
    written: Condvar,
}

/// Lines that wait for the writer.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Bytes added so far, and how many of them are in the file.
    added: u64,
    written: u64,
    /// Somebody waits for what has been added.
    urgent: bool,
    /// Nothing will be added any more.
    closed: bool,
}

impl Log {
    /// Opens the file, or makes it; only its owner may read it.
    pub(super) fn open(path: &Path, limits: AuditLimits) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = Rotated::open(path, limits)?;
        let shared = Arc::<Shared>::default();
        let writer = shared.clone();
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.write_into(file))?;
        Ok(Self { shared, lost: AtomicU64::new(0) })
    }

    /// Adds an event, with its line's end.
    pub(super) fn add(&self, event: &[u8]) {
        let mut waiting = self.shared.waiting();
        let before = waiting.lines.len();
        if before + event.len() > WAITING_BYTES_MAX {
            drop(waiting);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(event);
        waiting.added += event.len() as u64;
        let after = waiting.lines.len();
        drop(waiting);
        if before == 0 || (before < GATHER_BYTES && after >= GATHER_BYTES) {
            self.shared.added.notify_one();
        }
    }

    /// Events lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until every event added before is in the file. Blocks its thread.
    pub(super) fn flush(&self) {
        let mut waiting = self.shared.waiting();
        let wanted = waiting.added;
        waiting.urgent = true;
        self.shared.added.notify_one();
        let is_missing = |waiting: &mut Waiting| waiting.written < wanted;
        drop(self.shared.written.wait_while(waiting, is_missing).expect(UNPOISONED));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.waiting().closed = true;
        self.shared.added.notify_one();
    }
}

/// Nothing that is done under the lock panics.
const UNPOISONED: &str = "no panic while the lock is held";

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect(UNPOISONED)
    }

    /// Writes until the log is dropped.
    fn write_into(&self, mut file: Rotated) {
        let mut batch = Vec::new();
        while let Some(until) = self.gather(&mut batch) {
            if let Err(error) = file.write(&batch) {
                tracing::error!(%error, "the audit log cannot be written");
            }
            batch.clear();
            // A burst's memory is not kept.
            batch.shrink_to(2 * GATHER_BYTES);
            self.waiting().written = until;
            self.written.notify_all();
        }
    }

    /// Waits for lines and takes them: up to which byte of all. `None` when there will be no more.
    fn gather(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let nothing = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.urgent && !waiting.closed;
        let waiting = self.added.wait_while(self.waiting(), nothing).expect(UNPOISONED);
        let few =
            |waiting: &mut Waiting| waiting.lines.len() < GATHER_BYTES && !waiting.urgent && !waiting.closed;
        let (mut waiting, _) = self.added.wait_timeout_while(waiting, GATHER, few).expect(UNPOISONED);
        waiting.urgent = false;
        std::mem::swap(&mut waiting.lines, batch);
        let is_over = batch.is_empty() && waiting.closed;
        (!is_over).then_some(waiting.added)
    }
}

/// A file that is set aside when it is full.
struct Rotated {
    path: PathBuf,
    limits: AuditLimits,
    file: File,
    bytes: u64,
}

impl Rotated {
    fn open(path: &Path, limits: AuditLimits) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), limits, file, bytes })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > self.limits.file_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut at = Timestamp::now();
        let aside = loop {
            let aside =
                self.path.with_file_name(format!("{stem}-{}.log", at.strftime("%Y-%m-%dT%H-%M-%S.%3f")));
            if !aside.exists() {
                break aside;
            }
            at += Duration::from_millis(1);
        };
        fs::rename(&self.path, aside)?;
        let backups = backups(&self.path, &stem)?;
        for old in &backups[..backups.len().saturating_sub(self.limits.backups_max)] {
            fs::remove_file(old)?;
        }
        *self = Self::open(&self.path, self.limits)?;
        Ok(())
    }
}

/// Files set aside, oldest first: their names are their times.
fn backups(path: &Path, stem: &str) -> io::Result<Vec<PathBuf>> {
    let start = format!("{stem}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&start) && name.ends_with(".log") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kontiki-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn every_event_is_a_line_and_only_the_owner_reads() {
        let folder = folder("lines");
        let path = folder.join("audit.log");
        let log = Log::open(&path, AuditLimits::default()).expect("opened");
        for event in ["{\"a\":1}\n", "{\"b\":2}\n"] {
            log.add(event.as_bytes());
        }
        log.flush();
        assert_eq!(fs::read_to_string(&path).expect("readable"), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(log.lost(), 0);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_go() {
        let folder = folder("rotated");
        let path = folder.join("audit.log");
        let log = Log::open(&path, AuditLimits { file_bytes_max: 10, backups_max: 2 }).expect("opened");
        for event in ["one-one\n", "two-two\n", "three-3\n", "four-44\n"] {
            log.add(event.as_bytes());
            log.flush();
        }
        assert_eq!(fs::read_to_string(&path).expect("readable"), "four-44\n");
        let texts: Vec<String> = backups(&path, "audit")
            .expect("listed")
            .iter()
            .map(|file| fs::read_to_string(file).expect("readable"))
            .collect();
        assert_eq!(texts, ["two-two\n", "three-3\n"]);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn what_is_too_much_for_the_writer_is_counted_as_lost() {
        let log = Log { shared: Arc::default(), lost: AtomicU64::new(0) };
        let event = vec![b'x'; GATHER_BYTES];
        for _ in 0..WAITING_BYTES_MAX / GATHER_BYTES {
            log.add(&event);
        }
        assert_eq!(log.lost(), 0);
        log.add(b"{}\n");
        assert_eq!(log.lost(), 1);
        // A log that nobody adds to any more is written to its end.
        let folder = folder("rest");
        let path = folder.join("audit.log");
        fs::create_dir_all(&folder).expect("made");
        let shared = log.shared.clone();
        drop(log);
        shared.write_into(Rotated::open(&path, AuditLimits::default()).expect("opened"));
        assert_eq!(fs::metadata(&path).expect("there").len(), WAITING_BYTES_MAX as u64);
        fs::remove_dir_all(folder).expect("removed");
    }
}
