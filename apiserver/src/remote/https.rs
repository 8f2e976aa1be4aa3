//! Requests to issuers of tokens and to webhooks: one connection each, HTTPS, bounded in time and size.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an answer may take, as upstream.
const ANSWER_SECONDS_MAX: u64 = 30;
/// A key set of a hundred keys has 50 KiB; a review less.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where hosts keep the authorities they trust.
const HOST_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpsError {
    /// PEM that holds nothing usable.
    #[error("{0}")]
    Certificates(String),
    /// No `https://HOST…`.
    #[error("{0:?} is no https URL")]
    Url(String),
    /// The other side could not be spoken to.
    #[error("{0}")]
    Transport(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// How somebody else is asked.
#[derive(Clone)]
pub(crate) struct Https {
    connector: TlsConnector,
    bearer: Option<HeaderValue>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Https {
    /// Trusts the authorities of `roots` (PEM), or the host's; shows `client` (PEM of certificate and key), if any.
    pub(crate) fn new(roots: &str, client: Option<(&str, &str)>) -> Result<Self, HttpsError> {
        let wrong = |error: &dyn std::fmt::Display| HttpsError::Certificates(error.to_string());
        let mut store = RootCertStore::empty();
        for der in authorities(roots)? {
            // One of the host's that cannot be read is not trusted, which is all that follows.
            let _ = store.add(der);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(store);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong(&error))?;
                builder
                    .with_client_auth_cert(chain.map_err(|error| wrong(&error))?, key)
                    .map_err(|error| wrong(&error))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), bearer: None })
    }

    /// Shows a token, too.
    pub(crate) fn with_bearer(mut self, token: &str) -> Result<Self, HttpsError> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        self.bearer = Some(value.map_err(|error| HttpsError::Certificates(error.to_string()))?);
        Ok(self)
    }

    /// Reads a document.
    pub(crate) async fn get(&self, url: &str) -> Result<Answer, HttpsError> {
        self.ask(url, Method::GET, Bytes::new(), Duration::from_secs(ANSWER_SECONDS_MAX)).await
    }

    /// Sends a JSON document.
    pub(crate) async fn post(&self, url: &str, body: Bytes, timeout: Duration) -> Result<Answer, HttpsError> {
        self.ask(url, Method::POST, body, timeout).await
    }

    async fn ask(
        &self,
        url: &str,
        method: Method,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, HttpsError> {
        let uri: Uri = url.parse().map_err(|_| HttpsError::Url(url.to_owned()))?;
        match tokio::time::timeout(timeout, self.exchange(uri, method, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpsError::TimedOut(timeout)),
        }
    }

    async fn exchange(&self, uri: Uri, method: Method, body: Bytes) -> Result<Answer, HttpsError> {
        let failed = |error: &dyn std::fmt::Display| HttpsError::Transport(error.to_string());
        let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("https")) else {
            return Err(HttpsError::Url(uri.to_string()));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443)))
            .await
            .map_err(|error| failed(&error))?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // Ends by itself when the answer was read.
        tokio::spawn(connection);

        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, uri.authority().map_or(host, |authority| authority.as_str()))
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(Answer { status, body: body.map_err(|error| failed(&error))?.to_bytes() })
    }
}

fn authorities(roots: &str) -> Result<Vec<CertificateDer<'static>>, HttpsError> {
    let host = || HOST_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    let pem = if roots.is_empty() { host() } else { roots.as_bytes().to_vec() };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
    if found.is_empty() && !roots.is_empty() {
        return Err(HttpsError::Certificates(
            "data does not contain any valid RSA or ECDSA certificates".into(),
        ));
    }
    Ok(found)
}
