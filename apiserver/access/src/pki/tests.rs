//! Certificates as strict verifiers read them, and TLS between two of ours.

use std::io::{Read, Write};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::{ClientConnection, ServerConnection};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::authn::user_of_certificate;

fn now() -> Timestamp {
    Timestamp::now()
}

fn names() -> Vec<String> {
    let address = "10.96.0.1".parse().expect("an address");
    serving_names(
        address,
        "cluster.local",
        &["n1".to_owned(), "192.0.2.1".to_owned(), "localhost".to_owned()],
    )
}

/// Extensions in short: what they are and what they hold.
fn describe(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut lines: Vec<String> = certificate
        .iter_extensions()
        .map(|extension| match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => format!("usage {usage} critical={}", extension.critical),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                format!("client={} server={}", usage.client_auth, usage.server_auth)
            }
            ParsedExtension::BasicConstraints(basic) => {
                format!("ca={} critical={}", basic.ca, extension.critical)
            }
            ParsedExtension::SubjectKeyIdentifier(_) => "ski".to_owned(),
            ParsedExtension::AuthorityKeyIdentifier(_) => "aki".to_owned(),
            ParsedExtension::SubjectAlternativeName(names) => format!("{} names", names.general_names.len()),
            other => format!("{other:?}"),
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn certificates_carry_what_strict_verifiers_ask_for() {
    let authority = Authority::create("kubernetes", now()).expect("an authority");
    let check = |issued: &Issued, want: &[&str]| {
        let (_, certificate) = X509Certificate::from_der(&issued.certificate).expect("a certificate");
        assert_eq!(describe(&certificate), want);
    };
    check(
        authority.issued(),
        &[
            "1 names",
            "ca=true critical=true",
            "ski",
            "usage Digital Signature, Key Encipherment, Key Cert Sign, CRL Sign critical=true",
        ],
    );
    let leaf = "usage Digital Signature, Key Encipherment critical=true";
    let server = authority.server("kube-apiserver", &names(), now()).expect("issued");
    check(&server, &["10 names", "aki", "ca=false critical=true", "client=false server=true", "ski", leaf]);
    let client = authority.client("admin", Some("system:masters"), now()).expect("issued");
    check(&client, &["aki", "ca=false critical=true", "client=true server=false", "ski", leaf]);
}

#[test]
fn a_client_certificate_is_a_user_with_groups() {
    let authority = Authority::create("kubernetes", now()).expect("an authority");
    let issued = authority.node_client("n1", now()).expect("issued");
    let user = user_of_certificate(&issued.certificate).expect("a certificate");
    assert_eq!(user.name, "system:node:n1");
    assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
    let credential = &user.extra["authentication.kubernetes.io/credential-id"][0];
    assert!(credential.starts_with("X509SHA256=") && credential.len() == 11 + 64);
    assert_eq!(user_of_certificate(b"nonsense"), None);
}

#[test]
fn material_is_kept_until_it_no_longer_fits() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let load = |identity: &Identity, at: Timestamp| {
        Material::load_or_create(directory.path(), identity, at).expect("material")
    };
    let identity = Identity::privileged(names());
    let first = load(&identity, now());
    let again = load(&identity, now());
    assert_eq!(first.serving.certificate, again.serving.certificate);
    assert_eq!(first.admin.certificate, again.admin.certificate);
    assert_eq!(first.authority.pin().expect("a pin"), again.authority.pin().expect("a pin"));

    let mut more = identity.clone();
    more.serving_names.push("other.example".to_owned());
    let named = load(&more, now());
    assert_ne!(named.serving.certificate, again.serving.certificate, "a name was missing");
    assert_eq!(named.admin.certificate, again.admin.certificate);
    let installed = load(&Identity::installed(more.serving_names.clone()), now());
    assert_ne!(installed.admin.certificate, again.admin.certificate, "other groups");

    let later = load(&more, now() + SignedDuration::from_hours(24 * 300));
    assert_eq!(later.authority.certificate(), first.authority.certificate(), "the authority stays");
    assert_ne!(later.scheduler.certificate, again.scheduler.certificate, "expires soon");

    std::fs::remove_file(directory.path().join("admin.key")).expect("removed");
    let broken = Material::load_or_create(directory.path(), &more, now());
    assert!(matches!(broken, Err(PkiError::Unpaired { .. })));
}

#[test]
fn a_kubeconfig_holds_everything_inline() {
    let material = Material::in_memory(&Identity::privileged(names()), now()).expect("material");
    let text = kubeconfig(&Kubeconfig {
        cluster: "kontiki",
        user: "kubernetes-admin",
        server: "https://127.0.0.1:6443",
        authority_pem: &material.authority.certificate_pem(),
        client: &material.admin,
    });
    assert!(text.contains("current-context: \"kontiki\""));
    assert!(text.contains("    server: \"https://127.0.0.1:6443\""));
    assert!(text.contains("client-key-data: "));
    let parsed =
        Issued::from_pem(material.admin.certificate_pem().as_bytes(), material.admin.key_pem().as_bytes());
    assert_eq!(parsed.expect("PEM of our own").certificate, material.admin.certificate);
}

/// Shakes hands in memory; the client certificate the server saw, or `None` when TLS failed.
fn shake(server: rustls::ServerConfig, client: rustls::ClientConfig) -> Option<Option<Vec<u8>>> {
    let name = "kubernetes.default.svc".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("written");
        server.read_tls(&mut wire.as_slice()).expect("read");
        server.process_new_packets().ok()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).expect("written");
        client.read_tls(&mut wire.as_slice()).expect("read");
        client.process_new_packets().ok()?;
    }
    client.writer().write_all(b"x").expect("written");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("written");
    server.read_tls(&mut wire.as_slice()).expect("read");
    server.process_new_packets().ok()?;
    let mut byte = [0];
    server.reader().read_exact(&mut byte).ok()?;
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    Some(server.peer_certificates().map(|chain| chain[0].to_vec()))
}

#[test]
fn tls_asks_for_a_certificate_and_takes_only_ours() {
    let ours = Authority::create("kubernetes", now()).expect("an authority");
    let other = Authority::create("kubernetes", now()).expect("an authority");
    let serving = ours.server("kube-apiserver", &names(), now()).expect("issued");
    let check = |authority: &Authority, identity: Option<Issued>| {
        let server = server_config(ours.certificate(), &serving).expect("a server");
        let mut client = client_config(authority.certificate(), identity.as_ref()).expect("a client");
        client.alpn_protocols = vec![b"h2".to_vec()];
        shake(server, client)
    };
    let admin = ours.client("admin", None, now()).expect("issued");
    assert_eq!(check(&ours, Some(admin.clone())), Some(Some(admin.certificate.to_vec())));
    assert_eq!(check(&ours, None), Some(None));
    assert_eq!(
        check(&ours, Some(other.client("admin", None, now()).expect("issued"))),
        None,
        "another authority's client"
    );
    assert_eq!(check(&ours, Some(serving.clone())), None, "a serving certificate shows nobody");
    assert_eq!(check(&other, None), None, "the client trusts another authority");
    let old = now() - SignedDuration::from_hours(24 * 400);
    assert_eq!(check(&ours, Some(ours.client("admin", None, old).expect("issued"))), None, "expired");
}
