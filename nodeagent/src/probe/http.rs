//! One GET, as probes and hooks make it: no connection kept, no certificate checked, little read.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What is read of a body.
const BODY_MAX: usize = 10 * 1024;
/// Redirects followed, as many as Go's client follows.
const REDIRECTS_MAX: usize = 10;

/// Where to send a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// TLS or not.
    pub https: bool,
    /// Address or name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// The target of an action on a container whose pod has this address.
    pub fn new(action: &HTTPGetAction, container: &Container, pod_ip: &str) -> Result<Self, String> {
        let path = action.path.clone().unwrap_or_default();
        Ok(Target {
            https: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
            port: super::port(&action.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: action
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// The answer to a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Sends a GET and follows redirects on the same host. The error is Go's text for it. Has no deadline.
pub async fn get(target: &Target) -> Result<Answer, String> {
    let mut target = target.clone();
    for _ in 0..=REDIRECTS_MAX {
        let url = target.url();
        let (answer, location) = get_once(&target).await.map_err(|error| format!("Get {url:?}: {error}"))?;
        match location.and_then(|location| redirected(&target, &location)) {
            Some(next) if matches!(answer.status, 301 | 302 | 303 | 307 | 308) => target = next,
            _ => return Ok(answer),
        }
    }
    Err(format!("Get {:?}: stopped after {REDIRECTS_MAX} redirects", target.url()))
}

/// A redirect that stays on the host; others end the probe where they are.
fn redirected(target: &Target, location: &str) -> Option<Target> {
    let uri: http::Uri = location.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let Some(host) = uri.host() else {
        return Some(Target { path, ..target.clone() });
    };
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    (host == target.host).then(|| Target { path, https, port, ..target.clone() })
}

async fn get_once(target: &Target) -> Result<(Answer, Option<String>), String> {
    let authority = target.authority();
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| format!("dial tcp {authority}: {}", dial_error(&error)))?;
    if target.https {
        let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(trusting());
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        exchange(target, stream).await
    } else {
        exchange(target, stream).await
    }
}

/// The kernel's error as Go words it.
pub fn dial_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        std::io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

async fn exchange<S>(target: &Target, stream: S) -> Result<(Answer, Option<String>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let result = send(target, &mut sender).await;
    connection.abort();
    result
}

async fn send(
    target: &Target,
    sender: &mut hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
) -> Result<(Answer, Option<String>), String> {
    let response =
        sender.send_request(request(target)?).await.map_err(|error| match error.is_incomplete_message() {
            true => "EOF".to_owned(),
            false => error.to_string(),
        })?;
    let location =
        response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut read = Vec::new();
    while read.len() < BODY_MAX {
        match body.frame().await {
            Some(Ok(frame)) => {
                read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default())
            }
            Some(Err(_)) | None => break,
        }
    }
    read.truncate(BODY_MAX);
    Ok((Answer { status, body: String::from_utf8_lossy(&read).into_owned() }, location))
}

fn request(target: &Target) -> Result<hyper::Request<Empty<Bytes>>, String> {
    let mut request =
        hyper::Request::get(&target.path).body(Empty::new()).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    headers.insert("host", value(&target.authority())?);
    headers.insert("user-agent", HeaderValue::from_static("kube-probe/1.36"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("connection", HeaderValue::from_static("close"));
    for (name, text) in &target.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header name {name:?}"))?;
        headers.insert(name, value(text)?);
    }
    Ok(request)
}

/// A probe asks whether somebody answers, not who.
#[derive(Debug)]
struct TrustAll(Arc<rustls::crypto::CryptoProvider>);

fn trusting() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
