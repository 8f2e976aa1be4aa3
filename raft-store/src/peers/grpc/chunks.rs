//! A snapshot in chunks: an offer, then bytes with a checksum each, read and written beside the runtime's workers.

use std::io::{self, Read as _};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use proto::peer as wire;
use proto::peer::snapshot_chunk::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{CHUNK_BYTES, CHUNKS_MAX};
use crate::peers::{SnapshotBody, SnapshotReceiver};

/// The offer, then the bytes as a thread of its own reads them.
pub(super) fn sent(offer: wire::SnapshotOffer, body: SnapshotBody) -> ReceiverStream<wire::SnapshotChunk> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || {
        let send = |part, crc| sender.blocking_send(wire::SnapshotChunk { part: Some(part), crc }).is_ok();
        let Ok(mut reader) = body.reader() else { return };
        if !send(Part::Offer(offer), None) {
            return;
        }
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            // What is cut short is not whole over there.
            match reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let crc = crc32fast::hash(&chunk);
                    if !send(Part::Bytes(Bytes::from(chunk)), Some(crc)) {
                        return;
                    }
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Writes chunks as they come. The first that is damaged ends it, and nothing of it stays.
pub(super) async fn spool(
    receiver: io::Result<SnapshotReceiver>,
    chunks: impl Stream<Item = Result<wire::SnapshotChunk, Status>>,
) -> Result<SnapshotBody, Status> {
    let mut receiver = receiver.map_err(untaken)?;
    let (sender, mut pieces) = mpsc::channel::<Bytes>(CHUNKS_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            receiver.write(&piece)?;
        }
        receiver.finish()
    });
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.next().await {
        if sender.send(checked(chunk?)?).await.is_err() {
            break;
        }
    }
    drop(sender);
    writing.await.map_err(|error| Status::internal(error.to_string()))?.map_err(untaken)
}

fn checked(chunk: wire::SnapshotChunk) -> Result<Bytes, Status> {
    let Some(Part::Bytes(piece)) = chunk.part else {
        return Err(Status::invalid_argument("a snapshot has one offer and then bytes"));
    };
    if piece.len() > CHUNK_BYTES {
        return Err(Status::invalid_argument("a chunk of a snapshot that is too large"));
    }
    if chunk.crc.is_some_and(|crc| crc != crc32fast::hash(&piece)) {
        return Err(Status::invalid_argument("a chunk of a snapshot with a wrong checksum"));
    }
    Ok(piece)
}

#[expect(clippy::needless_pass_by_value, reason = "a callback")]
fn untaken(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::InvalidData => Status::invalid_argument(error.to_string()),
        _ => Status::unavailable(format!("the snapshot cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: &'static [u8], crc: Option<u32>) -> wire::SnapshotChunk {
        wire::SnapshotChunk { part: Some(Part::Bytes(Bytes::from_static(bytes))), crc }
    }

    #[test]
    fn a_damaged_chunk_is_refused_when_it_comes() {
        assert!(checked(chunk(b"piece", Some(crc32fast::hash(b"piece")))).is_ok());
        assert!(checked(chunk(b"piece", None)).is_ok(), "an older member sends no checksum");
        assert!(checked(chunk(b"peace", Some(crc32fast::hash(b"piece")))).is_err());
        let large = Bytes::from(vec![0; CHUNK_BYTES + 1]);
        assert!(checked(wire::SnapshotChunk { part: Some(Part::Bytes(large)), crc: None }).is_err());
        assert!(checked(wire::SnapshotChunk { part: None, crc: None }).is_err());
    }
}
