//! How a server ends: it says first that it is not ready, takes nobody new, ends streams as they end by themselves, and
//! answers what was begun.

use access::pki::Authority;
use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Tls};
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use raft_store::{Options, Seams, Store};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt as _;

/// HTTP/2 wants whole URLs; the port stands in none of them.
const URL: &str = "https://127.0.0.1";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Server {
    api: ApiServer,
    port: u16,
    serving: JoinHandle<()>,
    connector: TlsConnector,
}

impl Server {
    async fn start() -> Self {
        let now = jiff::Timestamp::now();
        let authority = Authority::create("kubernetes", now).expect("an authority");
        let own = authority.server("localhost", &["127.0.0.1".to_owned()], now).expect("a certificate");
        let admin = authority.client("admin", Some(groups::MASTERS), now).expect("a certificate");
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a store");
        let mut config = Config::new(Signer::generate());
        config.tls = Some(Tls {
            chain: vec![own.certificate.clone()],
            key: own.key(),
            client_roots: vec![authority.certificate().clone()],
        });
        let api = ApiServer::new(config, store);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = api.clone();
        let serving = tokio::spawn(async move { server.serve(listener).await.expect("it serves") });
        api.bootstrap().await;
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![admin.certificate.clone()], admin.key())
            .expect("a certificate with its key");
        client.alpn_protocols = vec![b"h2".to_vec()];
        Self { api, port, serving, connector: TlsConnector::from(Arc::new(client)) }
    }

    async fn connect(&self) -> std::io::Result<SendRequest<Body>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = self.connector.connect(name, stream).await?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_it_began() {
    let mut server = Server::start().await;
    let mut client = server.connect().await.expect("a connection");
    let watch = Request::get(format!("{URL}{CONFIG_MAPS}?watch=1")).body(Body::empty()).expect("a request");
    let watch = client.send_request(watch).await.expect("a watch");
    assert_eq!(watch.status(), 200);

    // A create whose body is still on its way.
    let (parts, body) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
    let map = json!({"metadata": {"name": "late"}}).to_string();
    let (begin, end) = map.split_at(10);
    let create = Request::post(format!("{URL}{CONFIG_MAPS}"))
        .header("content-type", "application/json")
        .body(Body::from_stream(ReceiverStream::new(body)))
        .expect("a request");
    let creating = tokio::spawn(client.send_request(create));
    parts.send(Ok(Bytes::copy_from_slice(begin.as_bytes()))).await.expect("somebody reads");
    // The watch hears of this one, so the server has taken the one before.
    let other = json!({"metadata": {"name": "early"}}).to_string();
    let other = Request::post(format!("{URL}{CONFIG_MAPS}"))
        .header("content-type", "application/json")
        .body(Body::from(other))
        .expect("a request");
    assert_eq!(client.send_request(other).await.expect("an answer").status(), 201);

    server.api.stop();
    assert!(!server.api.ready());
    let inside = server.api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
    let health = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let reply = inside.clone().oneshot(request).await.expect("never fails");
        let code = reply.status().as_u16();
        let text = reply.into_body().collect().await.expect("whole").to_bytes();
        (code, String::from_utf8(text.to_vec()).expect("text"))
    };
    let (code, text) = health("/readyz").await;
    assert_eq!(code, 500);
    assert!(text.contains("[-]shutdown failed: reason withheld\n"), "{text}");
    assert_eq!(health("/livez").await, (200, "ok".to_owned()));

    let frames = watch.into_body().collect().await.expect("a stream that ends is whole").to_bytes();
    let frames: Vec<serde_json::Value> = frames
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("whole events only"))
        .collect();
    let last = frames.last().expect("what was created before");
    assert_eq!((&last["type"], &last["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("early")));

    parts.send(Ok(Bytes::copy_from_slice(end.as_bytes()))).await.expect("somebody reads");
    drop(parts);
    let created = creating.await.expect("no panic").expect("what was begun is answered");
    assert_eq!(created.status(), 201);
    drop((client, created));
    (&mut server.serving).await.expect("it ends by itself");
    assert!(server.connect().await.is_err(), "nobody listens any more");
}
