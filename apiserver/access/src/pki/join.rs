//! What lets a server into a cluster: a token that names the cluster's authority and proves the right to join.
//!
//! ```text
//! KT1.<SHA-256 of the authority's public key, hex>.<secret, hex>
//! ```
//!
//! The joiner trusts a server whose certificate comes from that authority and no other, so that it never shows its
//! secret to a stranger.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::tls::{provider, roots};
use super::{Authority, PkiError, hex};
use crate::private_file;

const PREFIX: &str = "KT1";
const SECRET_BYTES: usize = 16;

/// A token that lets servers join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the authority's public key.
    pin: String,
    secret: String,
}

impl JoinToken {
    /// A new one for the cluster of an authority.
    ///
    /// # Errors
    /// The authority's key cannot be read.
    pub fn generate(authority: &Authority) -> Result<JoinToken, PkiError> {
        let mut secret = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut secret).expect("the operating system has randomness");
        Ok(JoinToken { pin: pin(authority)?, secret: hex(&secret) })
    }

    /// Reads a token; `None` if the text is none.
    pub fn parse(text: &str) -> Option<JoinToken> {
        let mut parts = text.trim().split('.');
        let (prefix, pin, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str, bytes| text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit());
        let fits =
            prefix == PREFIX && is_hex(pin, 32) && is_hex(secret, SECRET_BYTES) && parts.next().is_none();
        fits.then(|| JoinToken { pin: pin.to_lowercase(), secret: secret.to_lowercase() })
    }

    /// The token in a file, or a new one that is written there.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load_or_create(path: &Path, authority: &Authority) -> Result<JoinToken, PkiError> {
        let failed = |source| PkiError::File { path: path.to_owned(), source };
        match private_file::read(path).map_err(failed)? {
            Some(text) => JoinToken::parse(&String::from_utf8_lossy(&text))
                .ok_or_else(|| PkiError::Malformed { path: path.to_owned(), expected: "token" }),
            None => {
                let token = JoinToken::generate(authority)?;
                private_file::write(path, format!("{token}\n").as_bytes()).map_err(failed)?;
                Ok(token)
            }
        }
    }

    /// Whether a text that somebody shows is this token.
    pub fn is(&self, shown: &str) -> bool {
        let Some(shown) = JoinToken::parse(shown) else { return false };
        let same = aws_lc_rs::constant_time::verify_slices_are_equal;
        same(shown.secret.as_bytes(), self.secret.as_bytes()).is_ok() && shown.pin == self.pin
    }

    /// Whether it names that authority.
    pub fn is_for(&self, authority: &Authority) -> bool {
        pin(authority).is_ok_and(|pin| pin == self.pin)
    }

    /// Trusts servers of the pinned authority, which they have to show along with their certificate.
    ///
    /// # Errors
    /// TLS has no protocol to speak.
    pub fn client(&self) -> Result<ClientConfig, PkiError> {
        let verifier = Arc::new(PinVerifier { pin: self.pin.clone(), provider: provider() });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}.{}.{}", self.pin, self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}.{}.…", self.pin)
    }
}

fn pin(authority: &Authority) -> Result<String, PkiError> {
    let pin = authority.pin()?;
    Ok(pin.trim_start_matches("sha256:").to_owned())
}

/// Verifies a server against the authority it shows, if that is the pinned one.
#[derive(Debug)]
struct PinVerifier {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
        let key = parsed.tbs_certificate.subject_pki.raw;
        hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key).as_ref()) == self.pin
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|certificate| self.is_pinned(certificate));
        let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let trusted = roots(&pinned.clone().into_owned())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority::create("kubernetes", jiff::Timestamp::now()).expect("an authority")
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let token = JoinToken::generate(&authority()).expect("a token");
        let text = token.to_string();
        assert_eq!(JoinToken::parse(&format!("{text}\n")), Some(token.clone()));
        assert!(token.is(&text));
        assert!(!token.is(&text.replace("KT1", "KT2")));
        let mut other = text.clone();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        assert!(!token.is(&other), "another secret");
        assert!(!format!("{token:?}").contains(&token.secret));
    }

    #[test]
    fn only_the_pinned_authority_is_trusted() {
        let now = jiff::Timestamp::now();
        let (ours, theirs) = (authority(), authority());
        let token = JoinToken::generate(&ours).expect("a token");
        let verifier = PinVerifier { pin: token.pin.clone(), provider: provider() };
        let check = |issuer: &Authority, shown: &Authority| {
            let leaf =
                issuer.server("kube-apiserver", &["localhost".to_owned()], now).expect("a certificate");
            let name = ServerName::try_from("localhost").expect("a name");
            let chain = [shown.certificate().clone()];
            verifier.verify_server_cert(&leaf.certificate, &chain, &name, &[], UnixTime::now()).is_ok()
        };
        assert!(check(&ours, &ours));
        assert!(!check(&theirs, &theirs), "another authority");
        assert!(!check(&theirs, &ours), "a certificate of another authority beside ours");
    }
}
