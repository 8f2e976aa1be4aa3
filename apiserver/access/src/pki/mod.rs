//! The cluster's certificate authority and what it signs.
//!
//! All keys are ECDSA P-256; all certificates carry subject and authority key identifiers and
//! key usages, which strict verifiers ask for. An authority is valid for ten years, what it
//! signs for one, both from five minutes ago (as kubeadm does, for clocks that lag). The time is
//! an argument; only the keys come from the system's randomness.

mod authority;
mod join;
mod kubeconfig;
mod material;
mod peer;
mod sign;
mod tls;

pub use authority::{Authority, Issued, Purpose};
pub(crate) use authority::{hex, pem};
pub use join::JoinToken;
pub use kubeconfig::{Kubeconfig, kubeconfig};
pub use material::{Identity, Material, serving_names};
pub use peer::PeerMaterial;
pub use tls::{client_config, provider, server_config};

use std::path::PathBuf;

/// Why a key or certificate could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} does not hold a {expected} in PEM", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// A certificate of the directory is there without its key, or the other way round.
    #[error("{} is there without its counterpart", path.display())]
    Unpaired {
        /// The one that is there.
        path: PathBuf,
    },
    /// A request for a certificate cannot be signed: it is none, or the authority has expired.
    #[error("cannot sign the request for a certificate")]
    Request,
    /// The certificate could not be built.
    #[error("cannot issue a certificate")]
    Issue(#[from] rcgen::Error),
    /// TLS does not accept the key or certificate.
    #[error("cannot configure TLS")]
    Tls(#[from] rustls::Error),
    /// TLS does not accept the authority as a verifier of clients.
    #[error("cannot verify client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

#[cfg(test)]
mod tests;
