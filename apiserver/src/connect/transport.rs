//! Connections to node agents and pods: HTTP/1.1, over TLS to agents. Upgrades
//! of every kind pass through unchanged as raw bytes in both directions.

use super::location::{Location, Security};
use super::unverified;
use crate::config::Kubelet;
use crate::reply::Reply;
use crate::seen::Lasting;
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an agent may take to accept a connection.
const CONNECT_SECONDS_MAX: u64 = 10;

/// The way to node agents and, for the proxies, to pods.
pub(crate) struct Agents {
    connector: Option<TlsConnector>,
    unverified: TlsConnector,
}

impl Agents {
    /// With the server's client certificate; without one no agent can be reached.
    pub(crate) fn new(kubelet: Option<&Kubelet>) -> Self {
        let connector = kubelet
            .and_then(|kubelet| client_config(kubelet).map(|config| TlsConnector::from(Arc::new(config))));
        Self { connector, unverified: TlsConnector::from(Arc::new(unverified::client_config())) }
    }

    /// Sends the request on and gives back the answer; an accepted upgrade is tunnelled.
    pub(super) async fn forward(&self, location: &Location, request: Request<Body>) -> ApiResult<Reply> {
        let dialing = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), self.dial(location));
        let mut sender = dialing.await.map_err(|_| failed(&"i/o timeout"))??;
        let mut request = request;
        let upgrades = request.headers().contains_key(UPGRADE);
        let client = upgrades.then(|| hyper::upgrade::on(&mut request));
        let outgoing = rewrite(request, location, upgrades)?;
        let mut answer = sender.send_request(outgoing).await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer.map(Body::new));
        }
        let agent = hyper::upgrade::on(&mut answer);
        let lasting = Lasting::default();
        if let Some(client) = client {
            let kept = lasting.clone();
            tokio::spawn(async move {
                let _kept = kept;
                let (Ok(client), Ok(agent)) = tokio::join!(client, agent) else { return };
                let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
                // Either end may close at any time; there is nobody left to tell.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut agent).await;
            });
        }
        let (mut parts, _) = answer.into_parts();
        parts.extensions.insert(lasting);
        Ok(Reply::from_parts(parts, Body::empty()))
    }

    async fn dial(&self, location: &Location) -> ApiResult<hyper::client::conn::http1::SendRequest<Body>> {
        let stream = TcpStream::connect((location.host.as_str(), location.port))
            .await
            .map_err(|error| failed(&error))?;
        let _ = stream.set_nodelay(true);
        let connector = match location.security {
            Security::None => return handshake(stream).await,
            Security::Unverified => &self.unverified,
            Security::Agent => self.connector.as_ref().ok_or_else(|| {
                ApiError::Unavailable("this server has no certificate for node agents".into())
            })?,
        };
        let name = ServerName::try_from(location.host.clone()).map_err(|error| failed(&error))?;
        handshake(connector.connect(name, stream).await.map_err(|error| failed(&error))?).await
    }
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> ApiResult<hyper::client::conn::http1::SendRequest<Body>> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

fn failed(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::Internal(format!("error dialing backend: {why}"))
}

/// The request as the agent gets it: its own path, none of the client's credentials.
fn rewrite(request: Request<Body>, location: &Location, upgrades: bool) -> ApiResult<Request<Body>> {
    let (mut parts, body) = request.into_parts();
    parts.uri = location.target.parse().map_err(|error| failed(&error))?;
    parts.version = http::Version::HTTP_11;
    parts.headers = headers(&parts.headers, location, upgrades)?;
    parts.extensions = http::Extensions::new();
    Ok(Request::from_parts(parts, body))
}

fn headers(sent: &HeaderMap, location: &Location, upgrades: bool) -> ApiResult<HeaderMap> {
    let secret = |name: &HeaderName| {
        name == AUTHORIZATION || name == COOKIE || name.as_str().starts_with("impersonate-")
    };
    let mut headers = HeaderMap::new();
    for (name, value) in sent.iter().filter(|(name, _)| {
        !secret(name) && *name != HOST && (upgrades || (*name != CONNECTION && *name != UPGRADE))
    }) {
        headers.append(name.clone(), value.clone());
    }
    let host = if location.host.contains(':') {
        format!("[{}]:{}", location.host, location.port)
    } else {
        format!("{}:{}", location.host, location.port)
    };
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(|error| failed(&error))?);
    Ok(headers)
}

fn client_config(kubelet: &Kubelet) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(kubelet.roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_client_auth_cert(kubelet.chain.clone(), kubelet.key.clone_key())
        .inspect_err(|error| tracing::error!(%error, "the client certificate for node agents is unusable"))
        .ok()
}
