//! Answers.

use bytes::Bytes;
use futures::Stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};

/// What handlers give.
pub type Reply = Response<BoxBody<Bytes, std::io::Error>>;

/// A text.
pub fn text(status: StatusCode, message: impl Into<String>) -> Reply {
    with_type(status, "text/plain; charset=utf-8", message.into())
}

/// A JSON document.
pub fn json(tree: &serde_json::Value) -> Reply {
    with_type(StatusCode::OK, "application/json", tree.to_string())
}

fn with_type(status: StatusCode, content_type: &str, body: String) -> Reply {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(body)
        .expect("a status and a header make a response")
}

/// Text as it comes.
pub fn stream(chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static) -> Reply {
    use futures::StreamExt;
    let body = BodyExt::boxed(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))));
    Response::builder()
        .header("content-type", "text/plain; charset=utf-8")
        .header("transfer-encoding", "chunked")
        .body(body)
        .expect("headers make a response")
}

/// The connection changes its protocol.
pub fn switching(headers: &[(&str, &str)]) -> Reply {
    let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
    let builder = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(body).expect("the headers were checked by whoever sent them")
}
