//! Watches over a WebSocket: every event is one message, of text for JSON and binary for protobuf. Decides the handshake
//! and when a socket ends; what is said on it is the watch's.

use crate::negotiate::Format;
use crate::reply::{self, Reply};
use crate::seen::Lasting;
use axum::body::Body;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The only version of the protocol there is.
const VERSION: &str = "13";
/// A client has nothing to say on a watch; a message longer than this ends it.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of length before an event in protobuf, which a message does not need.
const LENGTH_BYTES: usize = 4;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let holds =
        |name, word: &str| text(headers, name).split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    holds(UPGRADE, "websocket") && holds(CONNECTION, "upgrade")
}

/// Accepts the handshake and sends the frames of a watch as messages until it ends or the client closes.
pub(super) fn serve(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    format: Format,
    frames: mpsc::Receiver<Result<Bytes, Infallible>>,
) -> Reply {
    if let Some(refused) = refusal(headers) {
        return refused;
    }
    let lasting = Lasting::default();
    let kept = lasting.clone();
    tokio::spawn(async move {
        let _kept = kept;
        let Ok(connection) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
        send(socket, format, frames).await;
    });
    let mut reply = accept(headers);
    reply.extensions_mut().insert(lasting);
    reply
}

async fn send(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    format: Format,
    mut frames: mpsc::Receiver<Result<Bytes, Infallible>>,
) {
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(Ok(frame)) = frame else { break };
                if socket.send(message(format, frame)).await.is_err() {
                    return;
                }
            }
            // Reading answers pings; whatever else a client says is nothing to a watch.
            said = socket.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
    // The client may be gone already.
    let _ = socket.close(None).await;
}

fn message(format: Format, frame: Bytes) -> Message {
    if format == Format::Protobuf {
        return Message::Binary(frame.slice(LENGTH_BYTES..));
    }
    match Utf8Bytes::try_from(frame.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(frame),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default()
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    text(headers, SEC_WEBSOCKET_PROTOCOL).split(',').map(str::trim).filter(|protocol| !protocol.is_empty())
}

/// The answer to a handshake that is no WebSocket's.
fn refusal(headers: &HeaderMap) -> Option<Reply> {
    let is_bad = text(headers, SEC_WEBSOCKET_VERSION) != VERSION
        || text(headers, SEC_WEBSOCKET_KEY).is_empty()
        || protocols(headers).nth(1).is_some();
    if is_bad {
        let mut refused = reply::empty(400);
        refused.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        return Some(refused);
    }
    // Without an origin a browser's page could not be told from a program, so upstream takes neither.
    text(headers, ORIGIN).is_empty().then(|| reply::empty(403))
}

fn accept(headers: &HeaderMap) -> Reply {
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let key = text(headers, SEC_WEBSOCKET_KEY);
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is ASCII");
    let answered = reply.headers_mut();
    answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answered.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answered.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    if let Some(protocol) = protocols(headers).next().and_then(|name| HeaderValue::from_str(name).ok()) {
        answered.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    reply
}
