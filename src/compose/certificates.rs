//! The cluster's authority and the key of tokens, as the controllers use them: they decide what is signed, these sign.

use std::fmt;
use std::sync::Arc;

use access::pki::Authority;
use access::tokens::Reference;
use access::tokens::kept::SecretClaims;
use apiserver::signing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controllers::{Certificates, RequestFacts, Tokens};
use jiff::Timestamp;
use serde_json::Value;

/// The authority, and the reader of requests that the API server has.
pub(super) struct Signer(pub(super) Arc<Authority>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Certificates for Signer {
    fn read(&self, csr: &Value) -> Result<RequestFacts, String> {
        let request = signing::read(csr)?;
        Ok(RequestFacts {
            common_name: request.common_name,
            is_kubelet_client: request.is_kubelet_client,
            refusal: request.refusal,
        })
    }

    fn sign(&self, csr: &Value, now: Timestamp) -> Result<String, String> {
        let request = signing::read(csr)?;
        let usages = csr["spec"]["usages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let usages: Vec<&str> = usages.iter().filter_map(Value::as_str).collect();
        let seconds = csr["spec"]["expirationSeconds"].as_i64();
        let pem = self.0.sign_request(&request.der, &usages, seconds, now);
        pem.map(|pem| STANDARD.encode(pem)).map_err(|error| error.to_string())
    }
}

/// The key of service accounts' tokens.
pub(super) struct TokenSigner(pub(super) access::tokens::Signer);

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSigner")
    }
}

impl Tokens for TokenSigner {
    fn token(&self, namespace: &str, (name, uid): (&str, &str), secret: &str) -> Option<String> {
        let account = Reference { name: name.to_owned(), uid: uid.to_owned() };
        let claims = SecretClaims::new(namespace, &account, secret);
        self.0.key().map(|key| key.sign_kept(&claims))
    }
}
