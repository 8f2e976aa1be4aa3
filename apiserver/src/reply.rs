//! HTTP answers out of bytes, statuses and streams. Decides headers and
//! compression; never what the body says.

use crate::context::Context;
use crate::negotiate::{Accepted, Format, PLAIN};
use crate::render;
use crate::status::ApiError;
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use schema::Tree;
use std::io::Write as _;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// Bodies from this size on are compressed for clients that want it: below, the round trip costs more than the bytes.
const GZIP_FROM: usize = 128 * 1024;

/// A body of known bytes.
pub(crate) fn bytes(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::from(body.into()));
    *reply.status_mut() = StatusCode::from_u16(code).expect("codes are chosen in status");
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// No body at all.
pub(crate) fn empty(code: u16) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::from_u16(code).expect("codes are chosen in status");
    reply
}

/// A body of known bytes in an accepted format, compressed if that pays.
pub(crate) fn object(context: &Context, code: u16, accepted: Accepted, body: Bytes) -> Reply {
    if body.len() < GZIP_FROM || !context.accepts_gzip() {
        return bytes(code, accepted.format.media_type(), body);
    }
    bytes_packed(code, accepted.format.media_type(), packed(&body, Compression::new(1)))
}

/// Bytes compressed as clients take them.
pub(crate) fn packed(body: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), level);
    encoder.write_all(body).expect("vectors take every write");
    encoder.finish().expect("vectors take every write")
}

/// A body that comes in parts.
pub(crate) fn stream(code: u16, content_type: &'static str, body: Body, is_packed: bool) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(code).expect("codes are chosen in status");
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if is_packed {
        mark_packed(&mut reply);
    }
    reply
}

fn mark_packed(reply: &mut Reply) {
    reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    reply.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// A body that was compressed by [`packed`].
pub(crate) fn bytes_packed(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = bytes(code, content_type, body);
    mark_packed(&mut reply);
    reply
}

/// A tree in an accepted format.
pub(crate) fn tree(code: u16, accepted: Accepted, tree: &Tree) -> Reply {
    bytes(code, accepted.format.media_type(), render::encode(tree, accepted))
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Reply {
    let mut reply = bytes(code, "text/plain; charset=utf-8", body);
    reply.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    reply
}

/// The server has no seat for this request; it may come again after so many seconds. Upstream says so in plain text.
pub(crate) fn too_many(retry_after: u64) -> Reply {
    let mut reply = text(429, "Too many requests, please try again later.\n");
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    reply
}

/// A failure, as a Status in the format the client would have got its object in.
pub(crate) fn failure(error: &ApiError, accept: &str) -> Reply {
    if matches!(error, ApiError::NoSuchPage) {
        return text(404, "404 page not found\n");
    }
    let format = match crate::negotiate::negotiate(accept, crate::negotiate::Offer::STATUS) {
        Ok(accepted) => accepted.format,
        Err(_) => Format::Json,
    };
    let mut reply = tree(error.code(), Accepted { format, ..PLAIN }, &error.status());
    if let Some(seconds) = error.retry_after() {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}
