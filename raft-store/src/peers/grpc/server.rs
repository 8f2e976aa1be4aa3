//! The answering side.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use proto::peer as wire;
use proto::peer::peer_server::{Peer, PeerServer};
use proto::peer::snapshot_chunk::Part;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::chunks::{sent, spool};
use super::{CONNECT_MAX, KEEP_ALIVE, MESSAGE_BYTES_MAX};
use crate::peers::{PeerReply, PeerRequest, Refused, SnapshotPlace};
use crate::store::Store;

/// Connections that are being opened. Members are few; the rest waits.
const OPENING_MAX: usize = 16;

/// Answers members on a listener until `stop`. Whoever shows no certificate of the authority in `tls` is not heard.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    mut tls: rustls::ServerConfig,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let (sender, opened) = mpsc::channel(OPENING_MAX);
    let accepting = accept(listener, TlsAcceptor::from(Arc::new(tls)), sender);
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    let service = PeerServer::new(Answering { store }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(opened), stop.cancelled_owned())
        .await
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, opened: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, as a rule: others have to close theirs first.
                tracing::warn!(%error, "a peer's connection cannot be taken");
                tokio::time::sleep(CONNECT_MAX).await;
                continue;
            }
        };
        let (tls, opened) = (tls.clone(), opened.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            match tokio::time::timeout(CONNECT_MAX, tls.accept(tcp)).await {
                // A server that stops takes no more.
                Ok(Ok(stream)) => drop(opened.send(Ok(Connection(stream))).await),
                Ok(Err(error)) => tracing::warn!(%from, %error, "a peer without a certificate of ours"),
                Err(_) => tracing::warn!(%from, "a peer that does not finish its handshake"),
            }
        });
    }
}

/// A connection whose far end has shown its certificate.
struct Connection(TlsStream<TcpStream>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

struct Answering {
    store: Store,
}

impl Answering {
    async fn answer(&self, request: PeerRequest) -> Result<PeerReply, Status> {
        self.store.answer(request).await.map_err(|refused| match refused {
            Refused::Cluster { .. } | Refused::Member { .. } | Refused::NotLeader => {
                Status::failed_precondition(refused.to_string())
            }
            Refused::Malformed { .. } => Status::invalid_argument(refused.to_string()),
            Refused::Stopped => Status::unavailable(refused.to_string()),
        })
    }
}

/// The reply of the same name; any other would be this member's own mistake.
macro_rules! answered {
    ($self:ident, $name:ident($request:expr)) => {
        answered!($self, PeerRequest::$name($request), $name)
    };
    ($self:ident, $request:expr, $name:ident) => {
        match $self.answer($request).await? {
            PeerReply::$name(reply) => Ok(Response::new(reply)),
            _ => Err(Status::internal("an answer to another question")),
        }
    };
}

#[tonic::async_trait]
impl Peer for Answering {
    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendReply>, Status> {
        answered!(self, Append(request.into_inner()))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
        answered!(self, Vote(request.into_inner()))
    }

    async fn pre_vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        answered!(self, PeerRequest::PreVote(request.into_inner()), Vote)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotChunk>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(Part::Offer(offer)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its offer"));
        };
        let body = spool(self.store.receive_snapshot(), chunks).await?;
        answered!(self, PeerRequest::Snapshot(offer, body), Snapshot)
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferReply>, Status> {
        answered!(self, Transfer(request.into_inner()))
    }

    async fn read_index(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexReply>, Status> {
        answered!(self, ReadIndex(request.into_inner()))
    }

    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeReply>, Status> {
        answered!(self, Propose(request.into_inner()))
    }

    async fn admit(
        &self,
        request: Request<wire::AdmitRequest>,
    ) -> Result<Response<wire::AdmitReply>, Status> {
        answered!(self, Admit(request.into_inner()))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::RemoveReply>, Status> {
        answered!(self, Remove(request.into_inner()))
    }

    type FetchSnapshotStream = BoxStream<'static, Result<wire::SnapshotChunk, Status>>;

    async fn fetch_snapshot(
        &self,
        request: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchSnapshotStream>, Status> {
        let request = PeerRequest::Fetch(request.into_inner(), SnapshotPlace::nowhere());
        match self.answer(request).await? {
            PeerReply::Fetch(body) => {
                let chunks = sent(wire::SnapshotOffer::default(), body);
                Ok(Response::new(chunks.map(Ok).boxed()))
            }
            _ => Err(Status::internal("an answer to another question")),
        }
    }
}
