//! A client that does as little as possible: one TLS HTTP/2 connection, bodies given as bytes, answers read to the end
//! and not decoded. What it costs is not in the figures; what it asks of the server is.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::kubeconfig::Access;

/// Flow-control windows as large as those of Go's client, so that the server never waits for an update.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// The part of an answer that is kept: enough for an error's text and for a list's metadata.
const HEAD_BYTES: usize = 2048;

/// One request, encoded before the clock runs.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// What the body is.
    pub content_type: &'static str,
    /// What is asked for.
    pub accept: &'static str,
    /// Whether gzip is asked for.
    pub gzip: bool,
    /// Encoded body.
    pub body: Bytes,
}

impl Call {
    /// A GET that accepts JSON.
    pub fn get(path: impl Into<String>) -> Self {
        Self::with_body(Method::GET, path, "", Bytes::new())
    }

    /// A request with a body.
    pub fn with_body(
        method: Method,
        path: impl Into<String>,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            content_type,
            accept: "application/json",
            gzip: false,
            body: body.into(),
        }
    }
}

/// What is kept of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Bytes of the body.
    pub bytes: usize,
    /// The body's beginning.
    pub head: Vec<u8>,
}

/// A server and the credentials for it.
#[derive(Clone)]
pub struct Target {
    address: String,
    tls: TlsConnector,
    name: ServerName<'static>,
    token: Option<HeaderValue>,
}

impl Target {
    /// Prepares TLS.
    pub fn new(access: &Access) -> anyhow::Result<Self> {
        let address = access.server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let host =
            address.rsplit_once(':').context("the server has no port")?.0.trim_matches(['[', ']']).to_owned();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&access.authority) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &access.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let token = access
            .token
            .as_ref()
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
            .transpose()?;
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(host)?,
            token,
        })
    }

    /// Opens a connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(&self.address)
            .await
            .with_context(|| format!("connecting to {}", self.address))?;
        tcp.set_nodelay(true)?;
        let tls = self.tls.connect(self.name.clone(), tcp).await.context("TLS")?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(tls))
            .await?;
        tokio::spawn(async move {
            // A connection that broke shows in the requests on it.
            let _ = connection.await;
        });
        Ok(Connection { sender, target: self.clone() })
    }
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl Connection {
    /// Sends a request and reads its answer to the end. A status of 400 and more is an error.
    pub async fn send(&mut self, call: &Call) -> anyhow::Result<Answer> {
        let response = self.open(call).await?;
        let status = response.status();
        let answer = read(response.into_body()).await?;
        if status.as_u16() >= 400 {
            bail!("{} {}: {status}: {}", call.method, call.path, String::from_utf8_lossy(&answer.head));
        }
        Ok(answer)
    }

    /// Sends a request and gives the answer's head; the body is the caller's.
    pub async fn open(&mut self, call: &Call) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("https://{}{}", self.target.address, call.path))
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, "benches/1");
        if !call.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.content_type);
        }
        if call.gzip {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        if let Some(token) = &self.target.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Full::new(call.body.clone()))?).await?)
    }
}

async fn read(mut body: Incoming) -> anyhow::Result<Answer> {
    let mut answer = Answer { bytes: 0, head: Vec::new() };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let wanted = HEAD_BYTES.saturating_sub(answer.head.len()).min(data.len());
        answer.head.extend_from_slice(&data[..wanted]);
        answer.bytes += data.len();
    }
    Ok(answer)
}
