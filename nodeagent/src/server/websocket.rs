//! WebSockets that carry several channels: the handshake, and how messages get onto the wire. What they mean is in
//! `channels`.

use futures::SinkExt;
use futures::stream::SplitSink;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::channels::Protocol;
use super::reply::{Reply, switching, text};

/// An upgraded connection.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The largest message that is taken.
const MESSAGE_MAX: usize = 4 << 20;

/// The last message of a conversation that went as it should. Without this code clients of the v5 protocol take the end
/// for a failure of every stream.
pub fn farewell() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Sends what comes from a stream as messages of its channel, until either end goes.
pub async fn carry_out(
    mut source: mpsc::Receiver<bytes::Bytes>,
    channel: u8,
    protocol: Protocol,
    messages: mpsc::Sender<Message>,
) {
    while let Some(bytes) = source.recv().await {
        if messages.send(protocol.write(channel, &bytes)).await.is_err() {
            return;
        }
    }
}

/// Sends messages until there are no more or the client is gone, and takes leave.
pub async fn write(mut sink: SplitSink<Socket, Message>, mut outgoing: mpsc::Receiver<Message>) {
    while let Some(message) = outgoing.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.send(farewell()).await;
    let _ = sink.close().await;
}

/// The client asks for a WebSocket.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get("upgrade")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The first protocol that the client offers and the server knows; an empty one when it offers none.
pub fn choose(headers: &HeaderMap, known: &[&'static str]) -> Result<&'static str, Vec<String>> {
    let values = headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<String> = values
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    if offered.is_empty() {
        return Ok("");
    }
    let mut shared = offered.iter().filter_map(|offer| known.iter().find(|known| *known == offer));
    shared.next().copied().ok_or(offered)
}

/// Answers the handshake and runs `serve` on the socket.
pub fn accept<B, F, W>(request: Request<B>, protocol: &str, serve: F) -> Reply
where
    B: Send + 'static,
    F: FnOnce(Socket) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let headers = request.headers();
    let version = headers.get("sec-websocket-version").and_then(|value| value.to_str().ok());
    let Some(key) = headers.get("sec-websocket-key").filter(|_| version == Some("13")) else {
        return text(hyper::StatusCode::BAD_REQUEST, "bad WebSocket handshake");
    };
    let answer = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX));
                let io = TokioIo::new(upgraded);
                serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
            }
            Err(error) => tracing::debug!(%error, "a client hung up before its upgrade"),
        }
    });
    let mut headers =
        vec![("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &answer)];
    if !protocol.is_empty() {
        headers.push(("sec-websocket-protocol", protocol));
    }
    switching(&headers)
}
