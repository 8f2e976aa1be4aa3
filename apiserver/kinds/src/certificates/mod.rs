//! Kinds of the certificates.k8s.io group.
//!
//! [`request`] reads what is inside a request for a certificate; [`signers`] knows the signers that every cluster has and
//! which requests they take.

mod pem;
pub mod request;
mod signer_name;
pub mod signers;
mod signing_request;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&signing_request::CertificateSigningRequests]
}

#[cfg(test)]
mod tests;
