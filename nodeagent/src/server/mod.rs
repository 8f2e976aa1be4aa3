//! The HTTPS server on 10250, compatible with the kubelet's: what the API server asks nodes for.
//!
//! Every request needs a client certificate of the given authority, and an identity that may do everything on
//! nodes; there is no anonymous access, for health checks neither.

pub mod channels;
pub mod exec;
pub mod identity;
pub mod logs;
pub mod portforward;
pub mod query;
pub mod reply;
pub mod spdy;
pub mod upstream;
pub mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::ServerTls;
use crate::pod::supervisor::Pods;
use crate::shared::Shared;
use identity::Identity;
use query::Query;
use reply::{Reply, text};

/// How long a client may take to shake hands and to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is not to be had.
    #[error("the port cannot be opened")]
    Listen(#[source] std::io::Error),
    /// A certificate or key is no PEM.
    #[error("the certificates cannot be read")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// They do not fit together.
    #[error("the certificates cannot be used")]
    Tls(#[source] rustls::Error),
    /// No authority for clients.
    #[error("the client authority cannot be used")]
    ClientAuthority(#[source] rustls::server::VerifierBuilderError),
}

/// A bound port that does not serve yet.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

/// What a handler works with.
#[derive(Clone)]
pub struct Desk {
    /// The agent.
    pub shared: Arc<Shared>,
    /// Its pods.
    pub pods: Pods,
}

impl Server {
    /// Opens the port.
    pub async fn bind(address: SocketAddr, tls: &ServerTls) -> Result<Self, ServeError> {
        let config = tls_config(tls)?;
        let listener = TcpListener::bind(address).await.map_err(ServeError::Listen)?;
        Ok(Server { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The port it got.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shared: Arc<Shared>, pods: Pods, shutdown: CancellationToken) {
        let desk = Desk { shared, pods };
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (acceptor, desk, shutdown) = (self.acceptor.clone(), desk.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = shutdown.cancelled() => {}
                            () = connection(stream, acceptor, desk) => {}
                        }
                    });
                }
                // Out of file descriptors, mostly; others will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

fn tls_config(tls: &ServerTls) -> Result<rustls::ServerConfig, ServeError> {
    let certificates = |pem: &str| -> Result<Vec<CertificateDer<'static>>, ServeError> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(ServeError::Pem)
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&tls.client_ca_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        // Those without a certificate are told so in HTTP, which people can read.
        .allow_unauthenticated()
        .build()
        .map_err(ServeError::ClientAuthority)?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(ServeError::Pem)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServeError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&tls.certificate_pem)?, key)
        .map_err(ServeError::Tls)?;
    // Connections are upgraded, which HTTP/2 cannot.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, desk: Desk) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|certificate| Identity::from_certificate(certificate));
    let identity = Arc::new(identity);
    let service = service_fn(move |request| {
        let (desk, identity) = (desk.clone(), Arc::clone(&identity));
        async move { Ok::<_, std::convert::Infallible>(answer(desk, identity.as_ref().as_ref(), request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn answer(desk: Desk, identity: Option<&Identity>, request: Request<Incoming>) -> Reply {
    match identity {
        None => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Some(identity) if !identity.may_do_everything() => {
            let message = format!(
                "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[proxy])",
                identity.name,
                verb(request.method())
            );
            return text(StatusCode::FORBIDDEN, message);
        }
        Some(_) => {}
    }
    route(desk, request).await
}

fn verb(method: &hyper::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

async fn route(desk: Desk, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["healthz"] | ["healthz", "ping"] => text(StatusCode::OK, "ok"),
        ["pods"] => pods(&desk),
        ["containerLogs", namespace, pod, container] => {
            logs::answer(&desk, namespace, pod, container, &query)
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            exec::answer(&desk, namespace, pod, container, &query, exec::What::Exec, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            exec::answer(&desk, namespace, pod, container, &query, exec::What::Attach, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            portforward::answer(&desk, namespace, pod, &query, request).await
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn pods(desk: &Desk) -> Reply {
    let items = desk.pods.all();
    let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items });
    reply::json(&list)
}
