//! A client of the Kubernetes API for tests that need more than kubectl: one HTTP/1.1 connection, JSON in and out, and no
//! second try, so that every answer and every broken connection is seen.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a cluster's API is and who asks.
#[derive(Clone)]
pub struct Access {
    address: String,
    tls: TlsConnector,
    /// What the user shows instead of a certificate.
    token: Option<String>,
}

/// One connection.
pub struct Api {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    token: Option<String>,
}

impl Access {
    /// Reads the cluster and the user of a kubeconfig as kontiki writes it; the user has a certificate or a token.
    ///
    /// # Errors
    /// It is another file.
    pub fn read(kubeconfig: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).context("reading the kubeconfig")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
            line.map(|value| value.trim_matches('"').to_owned()).with_context(|| format!("no {name}"))
        };
        let pem = |name: &str| -> Result<Vec<u8>> {
            Ok(base64::engine::general_purpose::STANDARD.decode(field(name)?)?)
        };
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&pem("certificate-authority-data")?) {
            roots.add(authority?)?;
        }
        let token = field("token").ok();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = if token.is_some() {
            config.with_no_client_auth()
        } else {
            let chain = vec![CertificateDer::from_pem_slice(&pem("client-certificate-data")?)?];
            let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")?)?;
            config.with_client_auth_cert(chain, key)?
        };
        let server = field("server")?;
        let address = server.strip_prefix("https://").context("an https server")?.to_owned();
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)), token })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn connect(&self) -> Result<Api> {
        self.over(TcpStream::connect(&self.address).await?).await
    }

    /// Where the API is: `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Speaks over a connection that somebody has opened, in another network namespace perhaps.
    ///
    /// # Errors
    /// The far end is not this cluster.
    pub async fn over(&self, tcp: TcpStream) -> Result<Api> {
        tcp.set_nodelay(true)?;
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.to_owned())?;
        let tls = self.tls.connect(name, tcp).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        // Its end is seen by the request that was waiting.
        tokio::spawn(connection);
        Ok(Api { sender, address: self.address.clone(), token: self.token.clone() })
    }
}

impl Api {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke: whether the request took effect is not known.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let (status, bytes) = self.fetch(method, path, body).await?;
        Ok((status, serde_json::from_slice(&bytes).context("a JSON answer")?))
    }

    /// As [`Api::send`], for an answer that is no JSON.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn fetch(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes)> {
        let answer = self.begin(method, path, body).await?;
        Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
    }

    /// Begins a watch; its connection serves nothing else.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn watch(mut self, path: &str) -> Result<Watch> {
        let answer = self.begin(Method::GET, path, None).await?;
        if answer.status() != StatusCode::OK {
            bail!("{path}: {}", answer.status());
        }
        Ok(Watch { _api: self, body: answer.into_body(), buffer: Vec::new() })
    }

    async fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>> {
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))?;
        self.start(request).await
    }

    /// Sends a request as it is, but for the host and who asks, and reads the whole answer with its headers.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let (parts, body) = self.start(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    async fn start(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        request.headers_mut().insert(header::HOST, self.address.parse()?);
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        Ok(self.sender.send_request(request).await?)
    }
}

/// Events as they come.
pub struct Watch {
    _api: Api,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` when the server ends the watch.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => self.buffer.extend(frame?.data_ref().into_iter().flatten()),
            }
        }
    }
}
