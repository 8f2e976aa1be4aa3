//! What a client says beside its objects: selectors, queries, tokens, certificates.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use access::tokens::{BoundObjects, Claims, Key, Signer, Stored, Verifier};
use apiserver::untrusted;
use nodeagent::server::{identity::Identity, query};
use schema::Tree;
use schema::selectors::{fields, labels};

use crate::document::cut;

/// A label selector, and its form in objects.
pub fn label_selector(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(selector) = labels::Selector::parse(&text) {
        let keys: BTreeSet<&str> = selector.requirements().iter().map(|asked| &*asked.key).collect();
        for value in [None, Some(""), Some("a"), Some("7")] {
            let each = selector.requirements().iter().all(|asked| asked.holds(value));
            assert_eq!(selector.matches(|key| value.filter(|_| keys.contains(key))), each, "{text}");
        }
        assert_eq!(selector.is_everything(), selector.requirements().is_empty());
    }
    if let Ok((tree, _)) = schema::decode::json(data) {
        let _ = labels::Selector::from_tree(Some(&tree));
    }
}

/// A field selector.
pub fn field_selector(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(selector) = fields::Selector::parse(&text) {
        selector.matches(|_| Some("a"));
        if let Some(name) = selector.required("metadata.name") {
            assert!(!selector.matches(|_| Some("")) || name.is_empty());
        }
    }
}

/// Query, content type and body as the options of every verb: `query \n content type \n body`.
pub fn options(data: &[u8]) {
    let (query, rest) = cut(data, b"\n");
    let (content_type, body) = cut(rest, b"\n");
    let refused =
        untrusted::options(&String::from_utf8_lossy(query), body, &String::from_utf8_lossy(content_type));
    for status in refused {
        let code = status["code"].as_u64().expect("a code");
        assert!((400..500).contains(&code), "{status}");
        assert_ne!(status["message"], Tree::from(""), "{status}");
    }
    untrusted::accepted(&String::from_utf8_lossy(content_type));
}

/// `METHOD /path?query`, as both servers read it.
pub fn request_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (method, target) = text.split_once(' ').unwrap_or(("GET", &text));
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let [verb, ..] = untrusted::request(method, path, raw_query);
    assert!(!verb.is_empty() || !matches!(method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE"), "{text}");
    let on_node = query::Query::parse(raw_query);
    for (name, value) in untrusted::query(raw_query) {
        // A node has no rule about semicolons; without them both read alike.
        if !raw_query.contains(';') {
            assert!(on_node.all(&name).any(|other| other == value), "{name}={value} in {raw_query}");
        }
    }
}

/// A continue token.
pub fn continue_token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok((revision, start)) = untrusted::continue_token(&text) {
        let again = untrusted::continue_token(&untrusted::continue_token_of(revision, &start));
        assert_eq!(again, Ok((revision, start)));
    }
}

/// A bearer token, then the claims of one whose signature is good.
pub fn token(data: &[u8]) {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let signer = Signer::with_key(Key::generate().expect("a key"));
        Verifier::new(signer, "https://kubernetes.default.svc", &["api".to_owned()])
    });
    let text = String::from_utf8_lossy(data);
    let verified = VERIFIER.verify(&text, &[], jiff::Timestamp::UNIX_EPOCH, &Nobody);
    assert!(verified.is_err(), "nobody has the key: {text}");
    if let Some(claims) = Claims::from_payload(data) {
        assert_eq!(Claims::from_payload(&claims.payload()), Some(claims.clone()));
        assert!(claims.user().name.starts_with("system:serviceaccount:"));
    }
}

struct Nobody;

impl BoundObjects for Nobody {
    fn service_account(&self, _: &str, _: &str) -> Option<Stored> {
        None
    }

    fn pod(&self, _: &str, _: &str) -> Option<Stored> {
        None
    }

    fn secret(&self, _: &str, _: &str) -> Option<Stored> {
        None
    }

    fn node(&self, _: &str) -> Option<Stored> {
        None
    }
}

/// A certificate, as the API server and the node agent read it. They call its owner the same.
pub fn certificate(data: &[u8]) {
    let on_server = access::authn::user_of_certificate(data);
    let on_node = Identity::from_certificate(data);
    if let (Some(user), Some(identity)) = (on_server, on_node) {
        assert_eq!(user.name, identity.name);
    }
}

/// A request for a certificate, as whoever approves and signs reads it. What can be read is signed or refused, and says
/// the same when it is read again.
pub fn certificate_request(data: &[u8]) {
    use base64::Engine as _;
    let request = base64::engine::general_purpose::STANDARD.encode(data);
    let csr = serde_json::json!({"spec": {
        "request": request, "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"],
    }});
    if let Ok(read) = apiserver::signing::read(&csr) {
        assert_eq!(apiserver::signing::read(&csr), Ok(read));
    }
}
