//! What a request for a certificate says: its subject, its names and the key that signed it.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::pem;
use crate::tree::str_at;

/// A request, read and with its signature checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Common name of the subject; of several the last counts.
    pub common_name: String,
    /// Organizations of the subject.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The request itself, DER.
    pub der: Vec<u8>,
}

/// The request in `spec.request`, or what is wrong with it.
pub fn parse(csr: &Value) -> Result<Request, String> {
    let pem = STANDARD.decode(str_at(csr, "spec.request")).unwrap_or_default();
    let block = pem::blocks(&pem).into_iter().next().filter(|block| block.label == "CERTIFICATE REQUEST");
    let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (rest, request) = X509CertificationRequest::from_der(&block.bytes)
        .map_err(|_| "asn1: structure error: tags don't match".to_owned())?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    request.verify_signature().map_err(|_| signature_text(&request).to_owned())?;
    let mut parsed = read(&request);
    parsed.der = block.bytes;
    Ok(parsed)
}

/// What Go's library says of a signature that does not fit.
fn signature_text(request: &X509CertificationRequest<'_>) -> &'static str {
    match request.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.112" => "x509: Ed25519 verification failure",
        oid if oid.starts_with("1.2.840.10045.") => "x509: ECDSA verification failure",
        oid if oid.starts_with("1.2.840.113549.1.1.") => "crypto/rsa: verification error",
        _ => "x509: cannot verify signature: algorithm unimplemented",
    }
}

fn read(request: &X509CertificationRequest<'_>) -> Request {
    let subject = &request.certification_request_info.subject;
    let common_name = subject.iter_common_name().last().and_then(|name| name.as_str().ok());
    let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
    let mut parsed = Request {
        common_name: common_name.unwrap_or_default().to_owned(),
        organizations: organizations.map(str::to_owned).collect(),
        ..Request::default()
    };
    let extensions = request.requested_extensions().into_iter().flatten();
    for extension in extensions {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            names.general_names.iter().for_each(|name| parsed.add(name));
        }
    }
    parsed
}

impl Request {
    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => self.addresses.extend(address(bytes)),
            _ => {}
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// What is wrong with the certificate that a signer has put into a status: PEM, certificates only.
pub(super) fn certificate_problem(base64: &str) -> Option<String> {
    if base64.is_empty() {
        return None;
    }
    let blocks = pem::blocks(&STANDARD.decode(base64).unwrap_or_default());
    if blocks.is_empty() {
        return Some("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    blocks.iter().find_map(block_problem)
}

fn block_problem(block: &pem::Block) -> Option<String> {
    if block.label != "CERTIFICATE" {
        let label = crate::field::quote(&block.label);
        return Some(format!("only CERTIFICATE PEM blocks are allowed, found {label}"));
    }
    if block.has_headers {
        return Some("no PEM block headers are permitted".to_owned());
    }
    if block.bytes.is_empty() {
        return Some("found CERTIFICATE PEM block containing 0 certificates".to_owned());
    }
    let mut rest = block.bytes.as_slice();
    while !rest.is_empty() {
        match x509_parser::parse_x509_certificate(rest) {
            Ok((after, _)) => rest = after,
            Err(_) => return Some("x509: malformed certificate".to_owned()),
        }
    }
    None
}
