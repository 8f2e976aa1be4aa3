//! Large lists, sent while they are written: what a list takes in memory is a chunk, not the whole. Decides which lists go
//! this way; what stands in them is the renderer's.

use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::negotiate::{Accepted, Format};
use crate::render::ListMeta;
use crate::reply::{self, Reply};
use crate::status::ApiResult;
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use mvcc::Entry;
use std::io::Write as _;
use std::sync::Arc;

/// Bytes of stored objects from which on a list is sent in chunks.
const STREAM_FROM: usize = 1024 * 1024;
/// Bytes of a chunk before compression: large enough that a chunk costs little beside what is in it.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes that most objects stay below.
const ITEM_BYTES: usize = 16 * 1024;

/// A list on its way.
struct Chunks {
    context: Context,
    kind: &'static Kind,
    accepted: Accepted,
    items: Vec<Arc<Entry>>,
    /// The next item.
    next: usize,
    /// What waits for the first chunk, then for nothing.
    head: Vec<u8>,
    /// What ends the list; `None` when it has been written.
    tail: Option<&'static [u8]>,
    packer: Option<GzEncoder<Vec<u8>>>,
}

/// Whether a list is worth it. A form that is made of the whole list at once cannot be sent in parts.
pub(crate) fn fits(accepted: Accepted, items: &[Arc<Entry>]) -> bool {
    let whole = accepted.format != Format::Json || accepted.pretty;
    !whole && items.iter().map(|entry| entry.object.bytes.len()).sum::<usize>() >= STREAM_FROM
}

/// Answers with a list in chunks.
pub(crate) fn list(
    context: &Context,
    kind: &'static Kind,
    accepted: Accepted,
    items: Vec<Arc<Entry>>,
    meta: &ListMeta,
) -> ApiResult<Reply> {
    let renderer = context.renderer(kind, accepted)?;
    let frame = renderer.list_frame(items.is_empty(), meta)?;
    let packer = context.accepts_gzip().then(|| GzEncoder::new(Vec::new(), Compression::new(1)));
    let is_packed = packer.is_some();
    let chunks = Chunks {
        context: context.clone(),
        kind,
        accepted,
        items,
        next: 0,
        head: frame.head,
        tail: Some(frame.tail),
        packer,
    };
    let stream = futures::stream::iter(chunks);
    Ok(reply::stream(200, accepted.format.media_type(), Body::from_stream(stream), is_packed))
}

impl Iterator for Chunks {
    type Item = Result<Bytes, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.tail.is_some() {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Some(Ok(chunk)),
                Err(error) => {
                    tracing::error!(status = %error.status(), "a list broke off");
                    self.tail = None;
                    return Some(Err(Broken));
                }
            }
        }
        None
    }
}

impl Chunks {
    /// The next part of the list; nothing while the packer keeps it to itself.
    fn chunk(&mut self) -> ApiResult<Bytes> {
        // Room for a last item beyond the chunk's size, so that what is there is not copied into a larger place.
        let mut out = Vec::with_capacity(CHUNK_BYTES + ITEM_BYTES);
        out.append(&mut self.head);
        let renderer = self.context.renderer(self.kind, self.accepted)?;
        while out.len() < CHUNK_BYTES
            && let Some(entry) = self.items.get(self.next)
        {
            renderer.write_item(self.next, Content::Entry(entry, entry.revision), &mut out)?;
            self.next += 1;
        }
        let ended = self.next == self.items.len();
        if ended && let Some(tail) = self.tail.take() {
            out.extend_from_slice(tail);
        }
        let Some(packer) = &mut self.packer else { return Ok(out.into()) };
        packer.write_all(&out).expect("vectors take every write");
        if ended {
            packer.try_finish().expect("vectors take every write");
        }
        Ok(std::mem::take(packer.get_mut()).into())
    }
}

/// A list that could not be written to its end: the client sees the connection break, as the answer has begun.
#[derive(Debug, thiserror::Error)]
#[error("the list broke off")]
struct Broken;
