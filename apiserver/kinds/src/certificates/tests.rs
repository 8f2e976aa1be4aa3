//! Requests for certificates: what they say, who signs them, and which part of one is written how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::{Value, json};

use super::{request, signers};
use crate::{Strategy, Subresource, field, write};

fn strategy() -> &'static dyn Strategy {
    crate::strategy("certificates.k8s.io", "v1", "certificatesigningrequests").expect("registered")
}

fn pem(common_name: &str, organizations: &[&str], names: &[&str]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a DNS name")),
        })
        .collect();
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM")
}

fn csr(pem: &str) -> Value {
    json!({
        "metadata": {"name": "c", "resourceVersion": "1"},
        "spec": {
            "request": STANDARD.encode(pem), "signerName": "example.com/s", "usages": ["client auth"],
        },
        "status": {},
    })
}

#[test]
fn a_request_tells_subject_and_names() {
    let parsed = request::parse(&csr(&pem("system:node:a", &["system:nodes"], &["a.b", "10.0.0.1"])))
        .expect("a good request");
    assert_eq!(parsed.common_name, "system:node:a");
    assert_eq!(parsed.organizations, ["system:nodes"]);
    assert_eq!(parsed.dns_names, ["a.b"]);
    assert_eq!(parsed.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().expect("an address")]);
}

#[test]
fn a_request_that_another_key_signed_is_refused() {
    let text = pem("a", &[], &[]);
    let good = STANDARD
        .decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>())
        .expect("base64");
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let bad = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(bad)
    );
    assert_eq!(request::parse(&csr(&bad)), Err("x509: ECDSA verification failure".to_owned()));
}

/// A change of the status through a part of the object, and what is wrong with it.
fn change(sub: Subresource, before: Value, after: Value) -> (Value, String) {
    let mut old = csr(&pem("a", &[], &[]));
    old["status"] = before;
    let mut new = old.clone();
    new["status"] = after;
    write::prepare_update(strategy(), sub, &mut new, &old);
    let errors = strategy().validate_update(sub, &new, &old);
    (new["status"].clone(), field::summary(&errors))
}

#[test]
fn decisions_are_made_through_the_approval_only() {
    let approved = || json!({"conditions": [{"type": "Approved", "status": "True", "reason": "A"}]});
    let renamed = || json!({"conditions": [{"type": "Approved", "status": "True", "reason": "B"}]});

    assert_eq!(change(Subresource::Approval, json!({}), approved()), (approved(), String::new()));
    assert_eq!(change(Subresource::None, json!({}), approved()), (json!({}), String::new()));
    assert_eq!(
        change(Subresource::Status, json!({}), approved()).1,
        "status.conditions: Forbidden: updates may not add a condition of type \"Approved\""
    );
    // What a signer changes in a decision it repeats is dropped.
    assert_eq!(change(Subresource::Status, approved(), renamed()), (approved(), String::new()));
    assert_eq!(
        change(Subresource::Approval, approved(), json!({})).1,
        "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""
    );
}

#[test]
fn a_certificate_is_not_written_through_the_approval() {
    let (status, errors) = change(Subresource::Approval, json!({}), json!({"certificate": "AAAA"}));
    assert_eq!((status, errors.as_str()), (json!({}), ""));
}

#[test]
fn each_signer_takes_what_it_is_for() {
    let node = |names: &[&str]| {
        request::parse(&csr(&pem("system:node:a", &["system:nodes"], names))).expect("a good request")
    };
    let client: &[&str] = &["digital signature", "client auth"];
    let server: &[&str] = &["digital signature", "key encipherment", "server auth"];
    let check = |signer: &str, request: &request::Request, usages: &[&str], expected: &str| {
        assert_eq!(signers::refusal(signer, request, usages).unwrap_or_default(), expected);
    };
    check(signers::KUBELET_CLIENT, &node(&[]), client, "");
    check(signers::KUBELET_CLIENT, &node(&["a.b"]), client, "DNS subjectAltNames are not allowed");
    check(
        signers::KUBELET_CLIENT,
        &node(&[]),
        server,
        "usages did not match [client auth digital signature key encipherment]",
    );
    check(signers::KUBELET_SERVING, &node(&["10.0.0.1"]), server, "");
    check(signers::KUBELET_SERVING, &node(&[]), server, "DNS or IP subjectAltName is required");
    check(signers::CLIENT, &node(&[]), client, "");
    check(signers::CLIENT, &node(&[]), server, "invalid usage for client certificate: server auth");
    check(signers::LEGACY, &node(&[]), server, "");
    assert!(signers::refusal("example.com/s", &node(&[]), client).is_some());
}
