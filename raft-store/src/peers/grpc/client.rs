//! The calling side: one connection to each member, opened when it is needed and again when it broke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use proto::peer::peer_client::PeerClient;
use proto::peer::snapshot_chunk::Part;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::chunks::{sent, spool};
use super::{CONNECT_MAX, KEEP_ALIVE, MESSAGE_BYTES_MAX, PEER_NAME};
use crate::peers::{PeerReply, PeerRequest, Transport, Unreached};
use crate::store::MemberId;

/// Calls members over gRPC.
pub struct Grpc {
    tls: TlsConnector,
    connections: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Grpc {
    /// Shows the certificate and trusts the authority of a TLS configuration.
    pub fn new(mut tls: rustls::ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: TlsConnector::from(Arc::new(tls)), connections: Arc::default() }
    }
}

impl Transport for Grpc {
    fn call(
        &self,
        _to: MemberId,
        address: &str,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerReply, Unreached>> {
        let (tls, connections, address) = (self.tls.clone(), self.connections.clone(), address.to_owned());
        async move {
            let known = lock(&connections).get(&address).cloned();
            let channel = match known {
                Some(channel) => channel,
                None => {
                    let channel = connected(tls, &address).await?;
                    lock(&connections).insert(address.clone(), channel.clone());
                    channel
                }
            };
            let reply = send(channel, request).await;
            reply.map_err(|status| {
                // The next call opens a new one, and knows for certain when nobody is there.
                lock(&connections).remove(&address);
                Unreached { reason: status.to_string(), may_have_arrived: !is_refusal(&status) }
            })
        }
        .boxed()
    }
}

/// The other member has read the request and has not taken it.
fn is_refusal(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::FailedPrecondition | tonic::Code::InvalidArgument)
}

fn lock(
    connections: &Mutex<HashMap<String, Channel>>,
) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
    connections.lock().expect("no panic while the lock is held")
}

async fn connected(tls: TlsConnector, address: &str) -> Result<Channel, Unreached> {
    let failed = |error: &dyn std::error::Error| Unreached { reason: chain(error), may_have_arrived: false };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| failed(&error))?
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20));
    let to = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (tls, to) = (tls.clone(), to.clone());
        async move {
            let tcp = TcpStream::connect(&to).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(PEER_NAME).expect("a name of letters");
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    match tokio::time::timeout(CONNECT_MAX, endpoint.connect_with_connector(connector)).await {
        Ok(connected) => connected.map_err(|error| failed(&error)),
        Err(_) => {
            Err(Unreached { reason: format!("no connection in {CONNECT_MAX:?}"), may_have_arrived: false })
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

async fn send(channel: Channel, request: PeerRequest) -> Result<PeerReply, tonic::Status> {
    let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok(match request {
        PeerRequest::Append(request) => PeerReply::Append(client.append(request).await?.into_inner()),
        PeerRequest::Vote(request) => PeerReply::Vote(client.vote(request).await?.into_inner()),
        PeerRequest::PreVote(request) => PeerReply::Vote(client.pre_vote(request).await?.into_inner()),
        PeerRequest::Snapshot(offer, body) => {
            PeerReply::Snapshot(client.install_snapshot(sent(offer, body)).await?.into_inner())
        }
        PeerRequest::Transfer(request) => {
            PeerReply::Transfer(client.transfer_leader(request).await?.into_inner())
        }
        PeerRequest::ReadIndex(request) => {
            PeerReply::ReadIndex(client.read_index(request).await?.into_inner())
        }
        PeerRequest::Propose(request) => PeerReply::Propose(client.propose(request).await?.into_inner()),
        PeerRequest::Admit(request) => PeerReply::Admit(client.admit(request).await?.into_inner()),
        PeerRequest::Remove(request) => PeerReply::Remove(client.remove(request).await?.into_inner()),
        PeerRequest::Fetch(request, place) => {
            let mut chunks = client.fetch_snapshot(request).await?.into_inner();
            if !matches!(chunks.message().await?.and_then(|chunk| chunk.part), Some(Part::Offer(_))) {
                return Err(tonic::Status::internal("a snapshot begins with its offer"));
            }
            PeerReply::Fetch(spool(place.receive(), chunks).await?)
        }
    })
}
