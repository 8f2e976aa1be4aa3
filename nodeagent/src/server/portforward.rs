//! `/portForward`.
//!
//! SPDY is passed through, plain or inside a WebSocket. The older channel protocol is translated.

use std::io;

use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::Desk;
use super::channels::{Protocol, Word};
use super::query::Query;
use super::reply::{Reply, text};
use super::spdy::session::{Session, Sink};
use super::upstream::{self, Upgraded};
use super::websocket::{self, Socket};
use crate::pod::spec;

/// SPDY inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const KNOWN: [&str; 3] = [TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
/// Messages between the streams and a slow client.
const MESSAGES_MAX: usize = 16;
/// Bytes in one message of the tunnel.
const CHUNK: usize = 32 * 1024;

/// Answers a request to reach ports of a pod.
pub async fn answer(
    desk: &Desk,
    namespace: &str,
    pod: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Reply {
    let Some(entry) = desk.pods.find(namespace, pod) else {
        return text(StatusCode::NOT_FOUND, "pod does not exist");
    };
    let host_network = spec::host_network(&entry.target.borrow().pod);
    let observed = entry.glimpse.borrow().observed.clone();
    let Some(sandbox) = observed.usable_sandbox(host_network) else {
        return text(StatusCode::NOT_FOUND, format!("failed to find sandbox for pod {pod:?}"));
    };
    let url = match desk.shared.runtime.port_forward_url(sandbox.id.clone()).await {
        Ok(url) => url,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.message),
    };
    if !websocket::is_wanted(request.headers()) {
        return upstream::pass_through(&url, request).await;
    }
    let name = match websocket::choose(request.headers(), &KNOWN) {
        Ok(name) => name,
        Err(offered) => {
            let message = format!("unable to upgrade: protocol mismatch: none of {offered:?} is supported");
            return text(StatusCode::BAD_REQUEST, message);
        }
    };
    let ports = match ports(query) {
        Ok(ports) if name == TUNNEL || !ports.is_empty() => ports,
        Ok(_) => return text(StatusCode::BAD_REQUEST, "query parameter \"port\" is required"),
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let upgraded = match upstream::upgrade(&url, &["portforward.k8s.io".to_owned()]).await {
        Ok(upgraded) => upgraded,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    websocket::accept(request, name, move |socket| async move {
        let result = match name {
            TUNNEL => tunnel(socket, upgraded).await,
            name => carry(socket, Protocol::named(name), upgraded, ports).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a port-forward ended badly");
        }
    })
}

/// Ports of the query, `ports=80&ports=81` or with commas.
fn ports(query: &Query) -> Result<Vec<u16>, String> {
    let values = query.all("ports").chain(query.all("port")).flat_map(|value| value.split(','));
    values
        .filter(|value| !value.is_empty())
        .map(|value| match value.parse() {
            Ok(0) | Err(_) => Err(format!("port {value:?} must be a number between 1 and 65535")),
            Ok(port) => Ok(port),
        })
        .collect()
}

/// Bytes in binary messages, both ways.
async fn tunnel(socket: Socket, upgraded: Upgraded) -> io::Result<()> {
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = upgraded.stream.into_split();
    let inwards = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) => write.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<(), io::Error>(())
    };
    let outwards = async {
        let mut bytes = upgraded.early;
        loop {
            if !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(CHUNK)).freeze();
                sink.send(Message::Binary(chunk)).await.map_err(io::Error::other)?;
                continue;
            }
            bytes.reserve(CHUNK);
            if read.read_buf(&mut bytes).await? == 0 {
                let _ = sink.send(websocket::farewell()).await;
                return Ok::<(), io::Error>(());
            }
        }
    };
    tokio::select! {
        result = inwards => result,
        result = outwards => result,
    }
}

/// Two channels a port: data, then errors. Each begins with the port, two bytes, the low one first.
async fn carry(socket: Socket, protocol: Protocol, upgraded: Upgraded, ports: Vec<u16>) -> io::Result<()> {
    let session = Session::new(upgraded.stream, upgraded.early);
    let (messages, outgoing) = mpsc::channel(MESSAGES_MAX);
    let mut inputs = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let channel = u8::try_from(2 * index).map_err(|_| io::Error::other("too many ports"))?;
        let (port_text, request_id) = (port.to_string(), index.to_string());
        let headers =
            |kind| [("streamtype", kind), ("port", port_text.as_str()), ("requestid", request_id.as_str())];
        let error = session.open(&headers("error")).await?;
        error.sink.close().await?;
        let data = session.open(&headers("data")).await?;
        for (channel, source) in [(channel, data.source), (channel + 1, error.source)] {
            let first = protocol.write(channel, &port.to_le_bytes());
            let _ = messages.send(first).await;
            tokio::spawn(websocket::carry_out(source, channel, protocol, messages.clone()));
        }
        inputs.push((channel, data.sink));
    }
    drop(messages);
    let (sink, mut source) = socket.split();
    let writer = tokio::spawn(websocket::write(sink, outgoing));
    while let Some(Ok(message)) = source.next().await {
        if !carry_in(protocol.read(message), &inputs).await? {
            break;
        }
    }
    writer.abort();
    drop(session);
    Ok(())
}

async fn carry_in(word: Word, inputs: &[(u8, Sink)]) -> io::Result<bool> {
    match word {
        Word::Data(channel, bytes) => {
            if let Some((_, sink)) = inputs.iter().find(|(other, _)| *other == channel) {
                sink.send(&bytes).await?;
            }
        }
        Word::Close(_) | Word::Nothing => {}
        Word::End => return Ok(false),
    }
    Ok(true)
}
