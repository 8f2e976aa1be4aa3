//! `/exec` and `/attach`.
//!
//! SPDY is passed through to the runtime. A WebSocket is translated: this side opens the runtime's SPDY streams
//! and carries bytes between them and the socket's channels.

use std::io;

use futures::StreamExt;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use proto::cri::{AttachRequest, ExecRequest};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::Desk;
use super::channels::{self, KNOWN, Protocol, Word};
use super::query::Query;
use super::reply::{Reply, text};
use super::spdy::session::{Session, Sink};
use super::upstream::{self, Upgraded};
use super::websocket::{self, Socket};
use crate::pod::spec;
use crate::runtime::RuntimeError;

/// Messages between the streams and a slow client.
const MESSAGES_MAX: usize = 16;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A new process.
    Exec,
    /// The container's own.
    Attach,
}

/// Streams that a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// Answers a request to run something in a container or to join it.
pub async fn answer(
    desk: &Desk,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    what: What,
    request: Request<Incoming>,
) -> Reply {
    let Some(entry) = desk.pods.find(namespace, pod) else {
        return text(StatusCode::NOT_FOUND, "pod does not exist");
    };
    let target = entry.target.borrow().pod.clone();
    let Some((_, container_spec)) = spec::container(&target, container) else {
        return text(StatusCode::NOT_FOUND, format!("container {container} not found in pod {pod}"));
    };
    let observed = entry.glimpse.borrow().observed.clone();
    let Some(running) = observed.latest(container).filter(|latest| latest.is_running()) else {
        return text(StatusCode::NOT_FOUND, format!("container not found ({container:?})"));
    };
    let tty = match what {
        What::Exec => query.is_set(&["tty"]),
        What::Attach => container_spec.tty == Some(true),
    };
    let wanted = Wanted {
        stdin: query.is_set(&["input", "stdin"]),
        stdout: query.is_set(&["output", "stdout"]),
        // A terminal has one output.
        stderr: query.is_set(&["error", "stderr"]) && !tty,
        tty,
    };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let command = query.all("command").map(str::to_owned).collect();
    let url = match url(desk, &running.id, command, wanted, what).await {
        Ok(url) => url,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.message),
    };
    if websocket::is_wanted(request.headers()) {
        return translate(&url, wanted, request).await;
    }
    upstream::pass_through(&url, request).await
}

async fn url(
    desk: &Desk,
    id: &str,
    command: Vec<String>,
    wanted: Wanted,
    what: What,
) -> Result<String, RuntimeError> {
    let runtime = &desk.shared.runtime;
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let container_id = id.to_owned();
    match what {
        What::Exec => {
            runtime.exec_url(ExecRequest { container_id, cmd: command, tty, stdin, stdout, stderr }).await
        }
        What::Attach => runtime.attach_url(AttachRequest { container_id, stdin, tty, stdout, stderr }).await,
    }
}

async fn translate(url: &str, wanted: Wanted, request: Request<Incoming>) -> Reply {
    let name = match websocket::choose(request.headers(), &KNOWN) {
        Ok(name) => name,
        Err(offered) => {
            let message = format!("unable to upgrade: protocol mismatch: none of {offered:?} is supported");
            return text(StatusCode::BAD_REQUEST, message);
        }
    };
    // The runtime is asked first, so that its refusal can still be an ordinary answer.
    let upgraded = match upstream::upgrade(url, &["v4.channel.k8s.io".to_owned()]).await {
        Ok(upgraded) => upgraded,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let protocol = Protocol::named(name);
    websocket::accept(request, name, move |socket| async move {
        if let Err(error) = carry(socket, protocol, upgraded, wanted).await {
            tracing::debug!(%error, "an exec ended badly");
        }
    })
}

/// The runtime's streams that take bytes from the client.
struct Inputs {
    stdin: Option<Sink>,
    resize: Option<Sink>,
}

async fn carry(socket: Socket, protocol: Protocol, upgraded: Upgraded, wanted: Wanted) -> io::Result<()> {
    let session = Session::new(upgraded.stream, upgraded.early);
    let (messages, outgoing) = mpsc::channel(MESSAGES_MAX);
    let mut outputs = Vec::new();
    let mut inputs = Inputs { stdin: None, resize: None };
    for (kind, channel, is_wanted) in [
        ("error", 3, true),
        ("stdin", 0, wanted.stdin),
        ("stdout", 1, wanted.stdout),
        ("stderr", 2, wanted.stderr),
        ("resize", 4, wanted.tty),
    ] {
        if !is_wanted {
            continue;
        }
        let stream = session.open(&[("streamtype", kind)]).await?;
        match kind {
            "stdin" => inputs.stdin = Some(stream.sink),
            "resize" => inputs.resize = Some(stream.sink),
            "error" => outputs.push(tokio::spawn(carry_status(stream.source, protocol, messages.clone()))),
            _ => outputs.push(tokio::spawn(websocket::carry_out(
                stream.source,
                channel,
                protocol,
                messages.clone(),
            ))),
        }
    }
    drop(messages);
    let (sink, mut source) = socket.split();
    let writer = tokio::spawn(websocket::write(sink, outgoing));
    let reader = async {
        while let Some(Ok(message)) = source.next().await {
            if !carry_in(protocol.read(message), &inputs).await? {
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        // The client is gone: the session goes with this function, and the process's streams with it.
        result = reader => result?,
        _ = async { futures::future::join_all(outputs).await } => {
            // The streams are done; their messages are sent before the socket is closed.
            let _ = writer.await;
        }
    }
    drop(session);
    Ok(())
}

/// Gives whether there will be more.
async fn carry_in(word: Word, inputs: &Inputs) -> io::Result<bool> {
    match word {
        Word::Data(0, bytes) => {
            if let Some(stdin) = &inputs.stdin {
                // A process that reads no more is no reason to stop what it writes.
                let _ = stdin.send(&bytes).await;
            }
        }
        Word::Data(4, bytes) => {
            if let Some(resize) = &inputs.resize {
                resize.send(&bytes).await?;
            }
        }
        Word::Close(0) => {
            if let Some(stdin) = &inputs.stdin {
                let _ = stdin.close().await;
            }
        }
        Word::Data(..) | Word::Close(_) | Word::Nothing => {}
        Word::End => return Ok(false),
    }
    Ok(true)
}

/// The status is one message, however it came.
async fn carry_status(
    mut source: mpsc::Receiver<bytes::Bytes>,
    protocol: Protocol,
    messages: mpsc::Sender<Message>,
) {
    let mut status = Vec::new();
    while let Some(bytes) = source.recv().await {
        status.extend_from_slice(&bytes);
    }
    let status = if protocol.status { status } else { channels::status_text(&status).into_bytes() };
    if !status.is_empty() {
        // A client that is gone needs no status.
        let _ = messages.send(protocol.write(3, &status)).await;
    }
}
