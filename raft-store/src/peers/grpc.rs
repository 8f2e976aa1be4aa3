//! gRPC over mutual TLS, the way members speak in production.
//!
//! Whoever shows a certificate of the peers' authority is a member; all of them answer to one name, [`PEER_NAME`],
//! because what matters is who issued it and not where it runs. That authority issues nothing else, so that no user's
//! or node's certificate opens this door.

mod chunks;
mod client;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use client::Grpc;
pub use server::serve;

/// The name in every member's certificate.
pub const PEER_NAME: &str = "peer.kontiki";

/// The largest message: a request of 32 MiB of log entries, and what stands around them.
const MESSAGE_BYTES_MAX: usize = 40 << 20;

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks between a disk and a connection.
const CHUNKS_MAX: usize = 8;

/// How long a connection may take to open, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A silent connection is asked this often whether it lives, and given up when it does not answer as long.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
