//! Connections to the runtime's streaming server, upgraded to SPDY.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::reply::{Reply, switching, text};

/// How long the runtime may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head that is taken.
const HEAD_MAX: usize = 64 * 1024;

/// An upgraded connection.
pub struct Upgraded {
    /// The connection.
    pub stream: TcpStream,
    /// Bytes that came right behind the answer's head.
    pub early: BytesMut,
    /// The protocol that was chosen.
    pub protocol: String,
}

/// Asks the runtime at `url` to switch to SPDY, offering these protocols of streams.
pub async fn upgrade(url: &str, protocols: &[String]) -> io::Result<Upgraded> {
    tokio::time::timeout(ANSWER_TIMEOUT, upgrade_now(url, protocols))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn upgrade_now(url: &str, protocols: &[String]) -> io::Result<Upgraded> {
    let uri: http::Uri = url.parse().map_err(io::Error::other)?;
    let authority =
        uri.authority().ok_or_else(|| io::Error::other("the runtime gave a URL without a host"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut stream = TcpStream::connect(authority.as_str()).await?;
    stream.set_nodelay(true)?;
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    );
    for protocol in protocols {
        head.push_str(&format!("X-Stream-Protocol-Version: {protocol}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (head, early) = read_head(&mut stream).await?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    if status.split(' ').nth(1) != Some("101") {
        let mut body = String::from_utf8_lossy(&early).into_owned();
        body.truncate(1024);
        return Err(io::Error::other(format!("unable to upgrade connection: {status} {body}")));
    }
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let protocol = header("x-stream-protocol-version").unwrap_or_default();
    Ok(Upgraded { stream, early, protocol })
}

async fn read_head(stream: &mut TcpStream) -> io::Result<(String, BytesMut)> {
    let mut input = BytesMut::new();
    loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = input.split_to(end + 4);
            return Ok((String::from_utf8_lossy(&head).into_owned(), input));
        }
        if input.len() > HEAD_MAX {
            return Err(io::Error::other("the runtime's answer is too long"));
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The client asked for SPDY: its bytes and the runtime's are passed on as they are.
pub async fn pass_through<B: Send + 'static>(url: &str, request: Request<B>) -> Reply {
    let offered = offered_protocols(request.headers());
    let Upgraded { mut stream, early, protocol } = match upgrade(url, &offered).await {
        Ok(upgraded) => upgraded,
        Err(error) => return text(hyper::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    tokio::spawn(async move {
        let client = match hyper::upgrade::on(request).await {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, "a client hung up before its upgrade"),
        };
        let mut client = TokioIo::new(client);
        if client.write_all(&early).await.is_ok() {
            // Either side ends it; there is nobody to tell.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut stream).await;
        }
    });
    let mut headers = vec![("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    if !protocol.is_empty() {
        headers.push(("x-stream-protocol-version", &protocol));
    }
    switching(&headers)
}

/// Values of X-Stream-Protocol-Version, one header each or with commas.
fn offered_protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all("x-stream-protocol-version").iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}
