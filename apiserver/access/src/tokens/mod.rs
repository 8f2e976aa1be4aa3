//! Service-account tokens: JSON web tokens signed with RS256.
//!
//! [`Signer`] holds the key, [`Verifier`] reads tokens back and asks whether what they are bound
//! to is still there, [`request`] decides what a TokenRequest gets, [`discovery`] publishes the
//! keys, [`kept`] knows tokens that lie in Secrets. Nothing here looks at the clock.

mod claims;
pub mod discovery;
mod jws;
pub mod kept;
pub mod request;
mod signer;
mod verifier;

pub(crate) use claims::peek_issuer;
pub use claims::{BoundTo, Claims, Reference};
pub(crate) use jws::Compact;
pub use signer::{Key, Signer, SignerError};
pub(crate) use verifier::Signed;
pub use verifier::{BoundObjects, Stored, Verified, Verifier, VerifyError};

/// The issuer, and the only audience, unless configured otherwise.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[cfg(test)]
mod tests;
