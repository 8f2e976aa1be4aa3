//! The server as its users see it: made, served over TLS, asked in memory,
//! stopped. Decides how connections are accepted and ended.

use crate::audit::Audit;
use crate::bootstrap::{self, Endpoints};
use crate::chain::{self, Origin};
use crate::codec::Codec;
use crate::config::{Config, Tls};
use crate::connect::Agents;
use crate::expiry;
use crate::flow::{self, Flow};
use crate::flow_objects;
use crate::forms::{self, Forms};
use crate::frames::{self, Frames};
use crate::identity::{Caller, Identities};
use crate::local::Local;
use crate::metrics::Metrics;
use crate::permissions::Permissions;
use crate::presence;
use crate::registry::ages::{self, Ages};
use crate::repair;
use crate::turns::Turns;
use access::UserInfo;
use axum::body::Body;
use futures::FutureExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use raft_store::{Seams, Store};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a client may take for its TLS handshake.
const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// How long requests in flight get when the server stops.
const DRAIN_SECONDS_MAX: u64 = 10;
/// How long this server may hear of no leader before what it knows, permissions above all, counts as old.
const CONTACT_SECONDS_MAX: u64 = 5;
/// Streams a client may have open on one HTTP/2 connection, as upstream.
const STREAMS_MAX: u32 = 250;

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration has no certificates.
    #[error("no certificate to serve with")]
    NoCertificate,
    /// The certificates do not fit.
    #[error("the serving certificates are unusable")]
    Tls(#[from] rustls::Error),
    /// The client authorities are unusable.
    #[error("the client authorities are unusable")]
    ClientRoots(#[from] rustls::server::VerifierBuilderError),
}

/// Shared by all requests.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) seams: Seams,
    pub(crate) codec: Codec,
    pub(crate) forms: Forms,
    pub(crate) frames: Frames,
    pub(crate) permissions: Permissions,
    pub(crate) identities: Identities,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    pub(crate) turns: Turns,
    pub(crate) ages: Ages,
    pub(crate) flow: Flow,
    pub(crate) stopping: CancellationToken,
    bootstrapped: AtomicBool,
}

impl Inner {
    /// Whether the server has its system objects.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.bootstrapped.load(Ordering::Acquire)
    }

    /// Whether the server has its system objects and is not about to stop.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_bootstrapped() && self.in_contact() && !self.stopping.is_cancelled()
    }

    /// Whether what is read here is what the cluster knows, but for the last seconds.
    pub(crate) fn in_contact(&self) -> bool {
        self.store.in_contact(Duration::from_secs(CONTACT_SECONDS_MAX))
    }
}

/// The API server. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

impl ApiServer {
    /// A server over a store, with the real clock and randomness.
    pub fn new(config: Config, store: Store) -> Self {
        Self::with_seams(config, store, Seams::system())
    }

    /// A server with its own clock and randomness.
    pub fn with_seams(mut config: Config, store: Store, seams: Seams) -> Self {
        let codec = Codec::new(config.keyring.clone());
        let remotes = std::mem::take(&mut config.remotes);
        let identities = Identities::new(config.signer.clone(), config.anonymous.clone(), remotes);
        let authorizers = config.authorizers.clone();
        let agents = Agents::new(config.kubelet.as_ref());
        let inner = Inner {
            agents,
            codec,
            identities,
            config,
            store,
            forms: forms::none_yet(),
            frames: frames::none_yet(),
            permissions: Permissions::new(authorizers),
            metrics: Metrics::default(),
            turns: Turns::default(),
            ages: Ages::default(),
            flow: Flow::new(seams.clock.clone()),
            seams,
            stopping: CancellationToken::new(),
            bootstrapped: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates what every cluster has (system namespaces, bootstrap roles, the `kubernetes` Service); afterwards the
    /// server is ready. Safe to run again and on several servers at once.
    pub async fn bootstrap(&self) {
        bootstrap::run(&self.inner).await;
        if !self.inner.bootstrapped.swap(true, Ordering::AcqRel) {
            tokio::spawn(expiry::run(self.inner.clone()));
            tokio::spawn(ages::keep(self.inner.clone()));
            self.inner.identities.start(&self.inner.stopping);
            tokio::spawn(flow::follow(self.inner.clone()));
            tokio::spawn(presence::run(self.inner.clone()));
            tokio::spawn(flow_objects::run(self.inner.clone()));
            tokio::spawn(repair::run(self.inner.clone()));
        }
    }

    /// Brings the endpoints of the `kubernetes` Service up to date with the servers' addresses, if they or the objects
    /// differ from what was `seen` the last time.
    pub async fn advertise(&self, seen: &mut Option<Endpoints>) {
        bootstrap::advertise(&self.inner, seen).await;
    }

    /// Whether `/readyz` answers ok.
    pub fn ready(&self) -> bool {
        self.inner.is_ready()
    }

    /// A client's end of the API inside this process.
    pub fn local(&self, identity: UserInfo, user_agent: &str) -> Local {
        Local::new(self.inner.clone(), identity, user_agent)
    }

    /// Ends watches and makes [`ApiServer::serve`] return once requests in flight are answered.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// Waits until every request recorded so far is in the audit log's file.
    pub async fn flush_audit(&self) {
        let inner = self.inner.clone();
        let flushing = tokio::task::spawn_blocking(move || inner.config.audit.iter().for_each(Audit::flush));
        // A panic in it was logged where it happened.
        let _ = flushing.await;
    }

    /// Accepts connections until [`ApiServer::stop`].
    pub async fn serve(&self, listener: TcpListener) -> Result<(), ServeError> {
        let tls = self.inner.config.tls.as_ref().ok_or(ServeError::NoCertificate)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls_config(tls)?));
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = self.inner.stopping.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.spawn(stream, acceptor.clone(), &graceful),
                // Out of descriptors, most likely: give connections time to end.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // Whoever comes now is better off with another server.
        drop(listener);
        let _ = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), graceful.shutdown()).await;
        Ok(())
    }

    fn spawn(&self, stream: TcpStream, acceptor: TlsAcceptor, graceful: &GracefulShutdown) {
        let inner = self.inner.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let peer = stream.peer_addr().ok().map(|address| address.ip());
            let handshake =
                tokio::time::timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), acceptor.accept(stream));
            let Ok(Ok(stream)) = handshake.await else { return };
            // Read once a connection: every request on it comes from the same certificate.
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let caller = Caller::of_certificate(certificate.map(AsRef::as_ref));
            let origin = Origin { caller, peer };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (inner, origin) = (inner.clone(), origin.clone());
                let request = request.map(Body::new);
                // Boxed: the task it becomes is moved several times, and this is a pointer.
                async move { Ok::<_, std::convert::Infallible>(chain::answer(inner, origin, request).await) }
                    .boxed()
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(STREAMS_MAX);
            let connection =
                builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

fn tls_config(tls: &Tls) -> Result<ServerConfig, ServeError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls.client_roots.iter().map(CertificateDer::clone));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls.chain.clone(), tls.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
