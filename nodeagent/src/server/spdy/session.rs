//! A connection over which this side opens streams.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::frame::{Encoder, Frame};

/// Chunks that wait for a slow reader of one stream. Beyond, the whole connection waits: there is no flow
/// control per stream.
const CHUNKS_MAX: usize = 16;
/// What is sent in one frame.
const DATA_MAX: usize = 32 * 1024;

type Incoming = Arc<std::sync::Mutex<HashMap<u32, mpsc::Sender<Bytes>>>>;

/// The connection. Closed when dropped.
pub struct Session {
    writer: Arc<Mutex<Writer>>,
    incoming: Incoming,
    next: AtomicU32,
    reader: JoinHandle<()>,
}

struct Writer {
    half: OwnedWriteHalf,
    encoder: Encoder,
}

impl Writer {
    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut out = BytesMut::new();
        self.encoder.encode(frame, &mut out);
        self.half.write_all(&out).await
    }
}

/// The sending side of a stream.
#[derive(Clone)]
pub struct Sink {
    writer: Arc<Mutex<Writer>>,
    id: u32,
}

impl Sink {
    /// Sends bytes.
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        for chunk in data.chunks(DATA_MAX) {
            let frame = Frame::Data { stream: self.id, fin: false, data: Bytes::copy_from_slice(chunk) };
            self.writer.lock().await.send(&frame).await?;
        }
        Ok(())
    }

    /// Says that no more will be sent.
    pub async fn close(&self) -> io::Result<()> {
        let frame = Frame::Data { stream: self.id, fin: true, data: Bytes::new() };
        self.writer.lock().await.send(&frame).await
    }
}

/// A stream; reading ends when the other side has closed it.
pub struct Stream {
    /// For sending.
    pub sink: Sink,
    /// For reading.
    pub source: mpsc::Receiver<Bytes>,
}

impl Session {
    /// Speaks SPDY on a connection that was upgraded; `early` was read behind the answer's head.
    pub fn new(stream: TcpStream, early: BytesMut) -> Self {
        let (read, write) = stream.into_split();
        let writer = Arc::new(Mutex::new(Writer { half: write, encoder: Encoder::default() }));
        let incoming = Incoming::default();
        let reader = tokio::spawn({
            let (writer, incoming) = (Arc::clone(&writer), Arc::clone(&incoming));
            async move {
                if let Err(error) = read_frames(read, early, &writer, &incoming).await {
                    tracing::debug!(%error, "a streaming connection broke");
                }
                // Readers see the end of every stream.
                incoming.lock().expect("no panic while held").clear();
            }
        });
        Session { writer, incoming, next: AtomicU32::new(1), reader }
    }

    /// Opens a stream.
    pub async fn open(&self, headers: &[(&str, &str)]) -> io::Result<Stream> {
        // A client's streams have odd numbers that grow; both are taken under the writer's lock.
        let mut writer = self.writer.lock().await;
        let id = self.next.fetch_add(2, Ordering::Relaxed);
        let (sender, source) = mpsc::channel(CHUNKS_MAX);
        self.incoming.lock().expect("no panic while held").insert(id, sender);
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        writer.send(&Frame::Open { stream: id, fin: false, headers }).await?;
        Ok(Stream { sink: Sink { writer: Arc::clone(&self.writer), id }, source })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_frames(
    mut half: OwnedReadHalf,
    mut input: BytesMut,
    writer: &Mutex<Writer>,
    incoming: &Incoming,
) -> io::Result<()> {
    loop {
        while let Some(frame) = Frame::decode(&mut input)? {
            on_frame(frame, writer, incoming).await?;
        }
        if half.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

async fn on_frame(frame: Frame, writer: &Mutex<Writer>, incoming: &Incoming) -> io::Result<()> {
    let end = |stream| drop(incoming.lock().expect("no panic while held").remove(&stream));
    match frame {
        Frame::Data { stream, fin, data } => {
            let sender = incoming.lock().expect("no panic while held").get(&stream).cloned();
            if let Some(sender) = sender.filter(|_| !data.is_empty()) {
                // A reader that is gone loses its bytes, as it wanted.
                let _ = sender.send(data).await;
            }
            if fin {
                end(stream);
            }
        }
        Frame::Accepted { stream, fin: true } | Frame::Reset { stream, .. } => end(stream),
        Frame::Ping(id) => writer.lock().await.send(&Frame::Ping(id)).await?,
        // This side expects no streams of the other.
        Frame::Open { stream, .. } => writer.lock().await.send(&Frame::Reset { stream, status: 3 }).await?,
        Frame::Accepted { .. } | Frame::GoAway | Frame::Other(_) => {}
    }
    Ok(())
}
