//! A log as somebody asked for it, from the file or as it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::line::{self, Line, Stream};
use super::tail;

/// What is sent at once.
const CHUNK: usize = 64 * 1024;
/// How often a file that is followed is looked at. Short enough for a person, cheap enough for a hundred.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Go on while the container writes.
    pub follow: bool,
    /// Only the last lines.
    pub tail_lines: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// The time before every line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<usize>,
    /// Only one stream.
    pub stream: Option<Stream>,
}

/// Turns lines into what is sent.
#[derive(Debug)]
struct Filter {
    since: Option<Timestamp>,
    timestamps: bool,
    stream: Option<Stream>,
    left: Option<usize>,
    /// The previous line was partial, so that this one continues it.
    continues: bool,
}

impl Filter {
    fn new(wish: &Wish) -> Self {
        Filter {
            since: wish.since,
            timestamps: wish.timestamps,
            stream: wish.stream,
            left: wish.limit_bytes,
            continues: false,
        }
    }

    /// Appends what is wanted of a raw line. A line that is in no known format is passed on as it is.
    fn take(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Some(line) = line::parse(raw) else { return self.push(raw, out) };
        if !self.wants(&line) {
            return;
        }
        let mut text = Vec::with_capacity(raw.len());
        if self.timestamps && !self.continues {
            text.extend_from_slice(line.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
        self.continues = line.partial;
        self.push(&text, out);
    }

    fn wants(&self, line: &Line<'_>) -> bool {
        let old =
            self.since.is_some_and(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time < since));
        !old && self.stream.is_none_or(|stream| stream == line.stream)
    }

    fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let wanted = self.left.map_or(text.len(), |left| left.min(text.len()));
        out.extend_from_slice(&text[..wanted]);
        if let Some(left) = &mut self.left {
            *left -= wanted;
        }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }
}

/// Reads files one after the other and gives whole lines.
struct Reader {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    /// Bytes read that end no line yet.
    rest: Vec<u8>,
}

impl Reader {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let inode = file.metadata()?.ino();
        Ok(Reader { path, file: Some(file), inode, rest: Vec::new() })
    }

    /// More lines, each with its line feed; empty when there are none yet.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let mut block = vec![0; CHUNK];
        let read = file.read(&mut block)?;
        self.rest.extend_from_slice(&block[..read]);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Ok(self.rest.drain(..end).collect())
    }

    /// After the old file was read to its end: goes on with the file that took its name.
    fn follow_rotation(&mut self) -> io::Result<bool> {
        let metadata = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if metadata.ino() == self.inode {
            return Ok(false);
        }
        // The writer may have used the old file until just now.
        let mut late = Vec::new();
        if let Some(file) = &mut self.file
            && file.read_to_end(&mut late)? > 0
        {
            self.rest.extend(late);
            return Ok(true);
        }
        *self = Reader::open(self.path.clone())?;
        Ok(true)
    }
}

/// Sends a log to `sender` until it ends, the reader hangs up, or the limit is reached. `is_over` tells whether
/// the container will write no more.
pub async fn send(
    path: PathBuf,
    wish: Wish,
    is_over: impl Fn() -> bool,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut filter = Filter::new(&wish);
    let mut reader = Reader::open(path)?;
    if let (Some(lines), Some(file)) = (wish.tail_lines, reader.file.as_mut()) {
        // Lines of another stream or before the time may be among the last; they are read and left out.
        let start = tail::offset(file, if wish.stream.is_some() { usize::MAX } else { lines })?;
        file.seek(SeekFrom::Start(start))?;
    }
    let mut last = wish.stream.and(wish.tail_lines).map(|lines| Last { lines, kept: VecDeque::new() });
    loop {
        // Asked before reading, so that what is written in between is still read.
        let over = is_over();
        let block = reader.read()?;
        if block.is_empty() {
            if let Some(last) = last.take() {
                send_all(&sender, last.kept.into_iter().flatten().collect()).await?;
            }
            if reader.follow_rotation()? {
                continue;
            }
            if over || !wish.follow {
                let rest = std::mem::take(&mut reader.rest);
                let mut out = Vec::new();
                if !rest.is_empty() {
                    filter.take(&rest, &mut out);
                }
                return send_all(&sender, out).await;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = sender.closed() => return Ok(()),
            }
            continue;
        }
        let mut out = Vec::new();
        for raw in block.split_inclusive(|byte| *byte == b'\n') {
            match &mut last {
                Some(last) => last.take(raw, &mut filter),
                None => filter.take(raw, &mut out),
            }
        }
        send_all(&sender, out).await?;
        if filter.is_full() {
            return Ok(());
        }
    }
}

/// The last lines of one stream, which cannot be found from the end of the file.
struct Last {
    lines: usize,
    kept: VecDeque<Vec<u8>>,
}

impl Last {
    fn take(&mut self, raw: &[u8], filter: &mut Filter) {
        let mut out = Vec::new();
        filter.take(raw, &mut out);
        if out.is_empty() {
            return;
        }
        self.kept.push_back(out);
        if self.kept.len() > self.lines {
            self.kept.pop_front();
        }
    }
}

async fn send_all(sender: &mpsc::Sender<io::Result<Bytes>>, out: Vec<u8>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    sender.send(Ok(out.into())).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const LOG: &str = "2026-07-01T10:00:00Z stdout F one\n2026-07-01T10:00:01Z stderr F two\n\
        2026-07-01T10:00:02Z stdout P thr\n2026-07-01T10:00:03Z stdout F ee\n2026-07-01T10:00:04Z stdout F four\n";

    async fn read(wish: Wish) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).expect("written");
        let (sender, mut receiver) = mpsc::channel(100);
        send(path, wish, || true, sender).await.expect("readable");
        let mut text = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            text.extend_from_slice(&chunk.expect("no error"));
        }
        String::from_utf8(text).expect("text")
    }

    #[tokio::test]
    async fn wishes() {
        let plain = Wish::default();
        assert_eq!(read(plain.clone()).await, "one\ntwo\nthree\nfour\n");
        assert_eq!(read(Wish { tail_lines: Some(1), ..plain.clone() }).await, "four\n");
        assert_eq!(read(Wish { tail_lines: Some(0), ..plain.clone() }).await, "");
        assert_eq!(read(Wish { limit_bytes: Some(6), ..plain.clone() }).await, "one\ntw");
        let since = Some("2026-07-01T10:00:03Z".parse().expect("a time"));
        assert_eq!(read(Wish { since, ..plain.clone() }).await, "ee\nfour\n");
        assert_eq!(
            read(Wish { timestamps: true, tail_lines: Some(3), ..plain.clone() }).await,
            "2026-07-01T10:00:02Z three\n2026-07-01T10:00:04Z four\n"
        );
        assert_eq!(read(Wish { stream: Some(Stream::Stderr), ..plain.clone() }).await, "two\n");
        assert_eq!(read(Wish { stream: Some(Stream::Stderr), tail_lines: Some(3), ..plain }).await, "two\n");
    }

    /// A log is rotated while it is followed: nothing is lost and nothing comes twice.
    #[tokio::test(start_paused = true)]
    async fn following_across_a_rotation() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, "t stdout F a\n").expect("written");
        let over = Arc::new(AtomicBool::new(false));
        let (sender, mut receiver) = mpsc::channel(1);
        let is_over = {
            let over = Arc::clone(&over);
            move || over.load(Ordering::Relaxed)
        };
        let wish = Wish { follow: true, ..Wish::default() };
        let task = tokio::spawn(send(path.clone(), wish, is_over, sender));
        let mut next = async || receiver.recv().await.map(|chunk| chunk.expect("no error"));
        assert_eq!(next().await.expect("a chunk"), "a\n");
        std::fs::rename(&path, dir.path().join("0.log.old")).expect("renamed");
        std::fs::write(&path, "t stdout F b\nt stdout F half").expect("written");
        assert_eq!(next().await.expect("a chunk"), "b\n");
        over.store(true, Ordering::Relaxed);
        assert_eq!(next().await.expect("a chunk"), "half\n");
        assert_eq!(next().await, None);
        task.await.expect("no panic").expect("no error");
    }
}
