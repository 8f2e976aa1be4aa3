//! The audit log's file: one event a line, written by a thread of its own behind a bounded queue, so that no request waits
//! for a disk. When the queue is full an event is lost and counted. Decides when the file is rotated.

use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Events that wait for the writer. At a kilobyte each this is 4 MiB; it is emptied every [`GATHER_MS`].
const QUEUE_MAX: usize = 4096;
/// How long the writer lets events gather: waking it for each would cost requests more than the event itself.
const GATHER_MS: u64 = 50;

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

enum Message {
    Event(Vec<u8>),
    /// Answered when everything before it is in the file.
    Flush(SyncSender<()>),
}

/// The way into the file.
pub(super) struct Log {
    queue: SyncSender<Message>,
    lost: AtomicU64,
}

impl Log {
    /// Opens the file, or makes it; only its owner may read it.
    pub(super) fn open(path: &Path, limits: AuditLimits) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = Rotated::open(path, limits)?;
        let (queue, events) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new().name("audit".into()).spawn(move || write(file, &events))?;
        Ok(Self { queue, lost: AtomicU64::new(0) })
    }

    /// Adds an event, with its line's end.
    pub(super) fn add(&self, event: Vec<u8>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Message::Event(event))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until every event added before is in the file. Blocks its thread.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // A writer that is gone has nothing left to write.
            let _ = written.recv();
        }
    }
}

/// Runs until the log is dropped.
fn write(mut file: Rotated, events: &Receiver<Message>) {
    let mut batch = Vec::new();
    while let Ok(first) = events.recv() {
        let mut waiting = Vec::new();
        let mut take = |message| match message {
            Message::Event(event) => batch.extend_from_slice(&event),
            Message::Flush(done) => waiting.push(done),
        };
        let is_flush = matches!(first, Message::Flush(_));
        take(first);
        if !is_flush {
            std::thread::sleep(Duration::from_millis(GATHER_MS));
        }
        events.try_iter().for_each(&mut take);
        if let Err(error) = file.write(&batch) {
            tracing::error!(%error, "the audit log cannot be written");
        }
        batch.clear();
        for done in waiting {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
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
            log.add(event.into());
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
            log.add(event.into());
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
}
