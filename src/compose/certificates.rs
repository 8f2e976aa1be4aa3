//! The cluster's authority, as the controllers use it: they decide what is signed, it signs.

use std::fmt;
use std::sync::Arc;

use access::pki::Authority;
use apiserver::signing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controllers::{Certificates, RequestFacts};
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
