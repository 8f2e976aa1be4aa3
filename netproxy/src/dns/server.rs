//! Listens for queries on UDP and TCP, answers the cluster's names and forwards the others to the machine's resolvers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::message::{self, Outcome};
use super::zone::Zone;

/// Queries under way at once; one more waits. Each holds at most a packet and a socket.
const QUERIES_MAX: usize = 512;
/// Connections over TCP at once.
const CONNECTIONS_MAX: usize = 128;
/// How long an idle TCP client is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long one of the machine's resolvers may take.
const UPSTREAM_MAX: Duration = Duration::from_secs(2);
const PACKET_MAX: usize = 4096;

/// The zone, shared between the proxy that fills it and the sockets that read it.
#[derive(Debug)]
pub struct Resolver {
    zone: RwLock<Zone>,
    upstreams: Vec<SocketAddr>,
}

impl Resolver {
    /// A resolver over `zone` that asks `upstreams`, in order, for foreign names.
    pub fn new(zone: Zone, upstreams: Vec<SocketAddr>) -> Self {
        Self { zone: RwLock::new(zone), upstreams }
    }

    /// Changes the zone.
    pub fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.write().expect("no holder of the zone panics"));
    }

    async fn reply(&self, query: &[u8], datagram: bool) -> Option<Vec<u8>> {
        let outcome =
            message::answer(&self.zone.read().expect("no holder of the zone panics"), query, datagram);
        match outcome {
            Outcome::Reply(bytes) => Some(bytes),
            Outcome::Ignore => None,
            Outcome::Forward(asked) => match self.forward(query).await {
                Some(reply) => Some(reply),
                None => failed(&asked, datagram),
            },
        }
    }

    async fn forward(&self, query: &[u8]) -> Option<Vec<u8>> {
        for upstream in &self.upstreams {
            if let Ok(Ok(reply)) = tokio::time::timeout(UPSTREAM_MAX, exchange(*upstream, query)).await {
                return Some(reply);
            }
        }
        None
    }
}

fn failed(query: &Message, datagram: bool) -> Option<Vec<u8>> {
    match message::encoded(message::failure(query, ResponseCode::ServFail), query, datagram) {
        Outcome::Reply(bytes) => Some(bytes),
        Outcome::Forward(_) | Outcome::Ignore => None,
    }
}

async fn exchange(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if upstream.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut reply = vec![0; PACKET_MAX];
    loop {
        let length = socket.recv(&mut reply).await?;
        // A reply to another question, by its id, is somebody's guess.
        if length >= 2 && reply[..2] == query[..2] {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

/// Serves until `stop`.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(resolver: Arc<Resolver>, address: SocketAddr, stop: CancellationToken) -> io::Result<()> {
    let udp = Arc::new(UdpSocket::bind(address).await?);
    let tcp = TcpListener::bind(address).await?;
    let datagrams = serve_udp(resolver.clone(), udp);
    let streams = serve_tcp(resolver, tcp);
    tokio::select! {
        () = stop.cancelled() => {}
        () = datagrams => {}
        () = streams => {}
    }
    Ok(())
}

async fn serve_udp(resolver: Arc<Resolver>, socket: Arc<UdpSocket>) {
    let places = Arc::new(Semaphore::new(QUERIES_MAX));
    let mut packet = vec![0; PACKET_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (resolver, socket, query) = (resolver.clone(), socket.clone(), packet[..length].to_vec());
        tokio::spawn(async move {
            if let Some(reply) = resolver.reply(&query, true).await {
                // A client that went away loses nothing.
                let _ = socket.send_to(&reply, from).await;
            }
            drop(place);
        });
    }
}

async fn serve_tcp(resolver: Arc<Resolver>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let resolver = resolver.clone();
        tokio::spawn(async move {
            // The client's own errors end its connection and concern nobody else.
            let _ = converse(&resolver, stream).await;
            drop(place);
        });
    }
}

async fn converse(resolver: &Resolver, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let Ok(length) = tokio::time::timeout(IDLE_MAX, stream.read_u16()).await else { return Ok(()) };
        let mut query = vec![0; usize::from(length?)];
        stream.read_exact(&mut query).await?;
        let Some(reply) = resolver.reply(&query, false).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&reply).await?;
    }
}
