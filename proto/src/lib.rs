//! Wire contracts: replicated commands, stored records and peer RPC.
//!
//! This crate decides field numbers and nothing else. It never interprets a message: `mvcc` turns
//! commands into state, `raft-store` speaks to peers.

/// The first byte of every stored record. A reader that meets another value refuses the record instead
/// of guessing, so that a downgrade fails loudly.
pub const FORMAT_VERSION: u8 = 1;

pub use kontiki::peer::v1 as peer;
pub use kontiki::store::v1 as store;

/// The packages as generated: their paths follow the package names, because messages of one package
/// name those of another by relative path.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented in the .proto files")]
pub mod kontiki {
    /// Replicated commands and stored records.
    pub mod store {
        /// First version, and so far the only one.
        pub mod v1 {
            tonic::include_proto!("kontiki.store.v1");
        }
    }

    /// What members of one cluster say to each other.
    pub mod peer {
        /// First version, and so far the only one.
        pub mod v1 {
            tonic::include_proto!("kontiki.peer.v1");
        }
    }
}

/// The container runtime interface, `runtime.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented in cri.proto")]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// containerd's own event stream.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented in containerd.proto")]
pub mod containerd {
    tonic::include_proto!("containerd.services.events.v1");
}

/// The standard gRPC health check.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented in health.proto")]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
