//! Tokens that others know: an issuer with its keys, and a webhook, both on loopback and over TLS, asked by a server that is
//! reached over TLS itself.

use access::authn::Anonymous;
use access::authn::configuration::AuthenticationConfiguration;
use access::pki::{Authority, Issued};
use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Remotes, Tls, TokenWebhook};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use raft_store::{Options, Seams, Store};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::ServiceExt;

fn authority() -> Authority {
    Authority::create("outside", jiff::Timestamp::now()).expect("an authority")
}

fn serving(authority: &Authority) -> Issued {
    authority.server("localhost", &["127.0.0.1".to_owned()], jiff::Timestamp::now()).expect("a certificate")
}

/// Answers every request with what `answer` makes of its path and body; gives back the port.
async fn outside(
    authority: &Authority,
    answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static,
) -> u16 {
    let issued = serving(authority);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate.clone()], issued.key())
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.expect("a body").to_bytes();
                        let (code, body) = answer(&path, &serde_json::from_slice(&body).unwrap_or_default());
                        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                        *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
                // The client goes when it has its answer.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

/// A server that is reached over TLS.
struct Server {
    api: ApiServer,
    store: Store,
    port: u16,
    connector: TlsConnector,
}

impl Server {
    async fn start(remotes: Remotes, anonymous: Anonymous) -> Self {
        let own = authority();
        let issued = serving(&own);
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a store");
        let mut config = Config::new(Signer::generate());
        config.tls = Some(Tls {
            chain: vec![issued.certificate.clone()],
            key: issued.key(),
            client_roots: vec![own.certificate().clone()],
        });
        config.remotes = remotes;
        config.anonymous = anonymous;
        let api = ApiServer::new(config, store.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = api.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        api.bootstrap().await;
        let mut roots = RootCertStore::empty();
        roots.add(own.certificate().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { api, store, port, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// What a request with a token (or without one) gets.
    async fn get(&self, path: &str, token: &str) -> u16 {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = self.connector.connect(name, stream).await.expect("TLS");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().uri(path).header("host", "127.0.0.1");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        sender.send_request(request).await.expect("an answer").status().as_u16()
    }

    /// The status of a TokenReview.
    async fn review(&self, token: &str) -> Value {
        let admin = self.api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        let review = json!({"spec": {"token": token}}).to_string();
        let request = Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header("content-type", "application/json")
            .body(Body::from(review))
            .expect("a request");
        let answer: Response<Body> = admin.oneshot(request).await.expect("an answer");
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice::<Value>(&bytes).expect("JSON")["status"].take()
    }

    async fn stop(self) {
        self.api.stop();
        self.store.shutdown().await;
    }
}

/// A key of an issuer.
struct IssuerKey {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl IssuerKey {
    fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key") }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    fn token(&self, claims: &Value) -> String {
        let encode = |tree: &Value| URL_SAFE_NO_PAD.encode(tree.to_string());
        let input = format!("{}.{}", encode(&json!({"alg": "ES256", "kid": self.id})), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).expect("signed");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn issuer_file(url: &str, authority_pem: &str) -> AuthenticationConfiguration {
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["kontiki"], "certificateAuthority": authority_pem},
            "claimMappings": {
                "username": {"claim": "sub", "prefix": "oidc:"},
                "groups": {"claim": "groups", "prefix": "oidc:"},
            },
        }],
    });
    AuthenticationConfiguration::read(&file, &[]).expect("a good file")
}

/// Asks again until the answer is the wanted one: keys are fetched by a task of its own.
async fn eventually(mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not become true");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_tokens_are_good_and_its_new_keys_are_found() {
    let outside_authority = authority();
    let old = IssuerKey::new("old");
    let published = Arc::new(Mutex::new(vec![old.public()]));
    let url = Arc::new(Mutex::new(String::new()));
    let (documents, issuer) = (published.clone(), url.clone());
    let port = outside(&outside_authority, move |path, _| {
        let url = issuer.lock().expect("no panic").clone();
        match path {
            "/.well-known/openid-configuration" => {
                (200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
            }
            "/keys" => (200, json!({"keys": *documents.lock().expect("no panic")})),
            _ => (404, Value::Null),
        }
    })
    .await;
    let address = format!("https://127.0.0.1:{port}");
    url.lock().expect("no panic").clone_from(&address);
    let file = issuer_file(&address, &outside_authority.certificate_pem());
    let remotes = Remotes::new(&file.jwt, None).expect("usable");
    let server = Server::start(remotes, Anonymous::default()).await;

    let expires = jiff::Timestamp::now().as_second() + 600;
    let claims = json!({"iss": address, "aud": "kontiki", "sub": "jane", "groups": ["dev"], "exp": expires});
    let good = old.token(&claims);
    eventually(async || server.get("/api", &good).await == 200).await;
    let status = server.review(&good).await;
    assert_eq!(status["user"]["username"], "oidc:jane");
    assert_eq!(status["user"]["groups"], json!(["oidc:dev", "system:authenticated"]));
    assert_eq!(status["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(server.get("/api/v1/nodes", &good).await, 403, "known, and without rights");

    let rotated = IssuerKey::new("new");
    let fresh = rotated.token(&claims);
    assert_eq!(server.get("/api", &fresh).await, 401, "a key the issuer does not publish");
    *published.lock().expect("no panic") = vec![rotated.public()];
    eventually(async || server.get("/api", &fresh).await == 200).await;

    let mut other = claims.clone();
    other["aud"] = "somebody".into();
    assert_eq!(server.get("/api", &rotated.token(&other)).await, 401);
    assert_eq!(
        server.review(&rotated.token(&other)).await["error"],
        "[invalid bearer token, oidc: verify token: oidc: expected audience \"kontiki\" got [\"somebody\"]]",
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_asked_once_about_a_token() {
    let outside_authority = authority();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let port = outside(&outside_authority, move |path, review| {
        let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
        seen.lock().expect("no panic").push(format!("{path} {token} {}", review["spec"]["audiences"]));
        let status = match token.as_str() {
            "good" => json!({"authenticated": true, "user": {"username": "hook", "groups": ["a"]}}),
            _ => json!({"authenticated": false, "error": "who?"}),
        };
        (200, json!({"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status}))
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("hook.yaml");
    let data = STANDARD.encode(outside_authority.certificate_pem());
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:{port}/review', certificate-authority-data: {data}}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).expect("written");
    let webhook = TokenWebhook { kubeconfig, version: "v1".to_owned(), cache_ttl: Duration::from_secs(120) };
    let remotes = Remotes::new(&[], Some(&webhook)).expect("usable");
    let server = Server::start(remotes, Anonymous::default()).await;

    assert_eq!(server.get("/api", "good").await, 200);
    assert_eq!(server.get("/api", "good").await, 200);
    assert_eq!(server.get("/api", "bad").await, 401);
    assert_eq!(server.review("good").await["user"]["groups"], json!(["a", "system:authenticated"]));
    assert_eq!(server.review("bad").await["error"], "[invalid bearer token, who?]");
    let audiences = r#"["https://kubernetes.default.svc.cluster.local"]"#;
    assert_eq!(
        *asked.lock().expect("no panic"),
        [format!("/review good {audiences}"), format!("/review bad {audiences}")],
        "once each: the rest came from what was kept",
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_requests_reach_only_the_paths_they_may() {
    let anonymous: Anonymous =
        serde_json::from_value(json!({"enabled": true, "conditions": [{"path": "/livez"}]}))
            .expect("its shape");
    let server = Server::start(Remotes::default(), anonymous).await;
    assert_eq!(server.get("/livez", "").await, 200);
    assert_eq!(server.get("/readyz", "").await, 401);
    assert_eq!(server.get("/version", "").await, 401);
    server.stop().await;

    let nobody = Anonymous { enabled: false, ..Anonymous::default() };
    let server = Server::start(Remotes::default(), nobody).await;
    assert_eq!(server.get("/livez", "").await, 401);
    server.stop().await;
}
