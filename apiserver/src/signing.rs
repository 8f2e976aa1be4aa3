//! What is inside a CertificateSigningRequest, for whoever approves and signs.

use kinds::certificates::{request, signers};
use kinds::tree;
use schema::Tree;

/// A request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Common name of its subject.
    pub common_name: String,
    /// Whether a node agent asks for its client certificate, in the form that is approved by rule.
    pub is_kubelet_client: bool,
    /// Why its signer does not take it, if it does not.
    pub refusal: Option<String>,
    /// The request itself.
    pub der: Vec<u8>,
}

/// Reads the request of a CertificateSigningRequest, and checks that whoever made it has the key.
pub fn read(csr: &Tree) -> Result<Request, String> {
    let parsed = request::parse(csr)?;
    let usages = tree::strings_at(csr, "spec.usages");
    let signer = tree::str_at(csr, "spec.signerName");
    Ok(Request {
        common_name: parsed.common_name.clone(),
        is_kubelet_client: signer == signers::KUBELET_CLIENT && signers::is_kubelet_client(&parsed, &usages),
        refusal: signers::refusal(signer, &parsed, &usages),
        der: parsed.der,
    })
}
