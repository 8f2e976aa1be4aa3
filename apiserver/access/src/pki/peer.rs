//! The certificates members of the store show each other.
//!
//! Their authority is one of its own: whatever the cluster's authority signs, a node's or a user's certificate, does not
//! open the peers' door.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};

use super::material::{Wanted, load, save};
use super::tls::{client_config, provider, roots};
use super::{Authority, Issued, PkiError, Purpose, hex};

/// A member's certificate and the authority it is from.
pub struct PeerMaterial {
    authority: Authority,
    member: Issued,
}

impl PeerMaterial {
    /// The material of `directory`; `name` is in every member's certificate. What is missing or expires soon is made
    /// anew; the authority is never replaced.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn load_or_create(directory: &Path, name: &str, now: Timestamp) -> Result<PeerMaterial, PkiError> {
        let authority = match load(directory, "peer-ca")? {
            Some(issued) => Authority::from_issued(issued)?,
            None => {
                let authority = Authority::create("kontiki-peers", now)?;
                save(directory, "peer-ca", authority.issued())?;
                authority
            }
        };
        let names = [name.to_owned()];
        let wanted = Wanted {
            file: "peer",
            authority: authority.certificate(),
            name: "kontiki-peer",
            group: None,
            names: &names,
        };
        let member = match load(directory, wanted.file)?.filter(|issued| wanted.is_met_by(issued, now)) {
            Some(issued) => issued,
            None => {
                let issued = authority.issue(Purpose::Peer, wanted.name, None, &names, now)?;
                save(directory, wanted.file, &issued)?;
                issued
            }
        };
        Ok(PeerMaterial { authority, member })
    }

    /// What names the cluster among others: it is as unique as the authority's key.
    pub fn cluster(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.authority.certificate());
        hex(&digest.as_ref()[..16])
    }

    /// For calling members.
    ///
    /// # Errors
    /// TLS does not take the certificate.
    pub fn client(&self) -> Result<ClientConfig, PkiError> {
        client_config(self.authority.certificate(), Some(&self.member))
    }

    /// For answering members, and nobody else.
    ///
    /// # Errors
    /// TLS does not take the certificate.
    pub fn server(&self) -> Result<ServerConfig, PkiError> {
        let trusted = Arc::new(roots(self.authority.certificate())?);
        let verifier = WebPkiClientVerifier::builder_with_provider(trusted, provider()).build()?;
        Ok(ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.member.certificate.clone()], self.member.key())?)
    }
}
