//! Watches over a WebSocket, by a real handshake on a connection in memory.

use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Local};
use axum::body::Body;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{ACCEPT, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower::ServiceExt as _;

const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Da";

async fn admin() -> Local {
    let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
    let api = ApiServer::new(Config::new(Signer::generate()), store);
    api.bootstrap().await;
    api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test")
}

async fn connect(
    client: Local,
    path: &str,
    headers: &[(http::HeaderName, &'static str)],
) -> Result<(WebSocketStream<DuplexStream>, Response<Option<Vec<u8>>>), Error> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(client);
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(connection.with_upgrades());
    let mut request = format!("ws://kubernetes{path}").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
    }
    tokio_tungstenite::client_async(request, near).await
}

async fn write(client: &Local, method: &str, path: &str, body: Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let reply = client.clone().oneshot(request).await.expect("never fails");
    assert!(reply.status().is_success(), "{method} {path}: {}", reply.status());
}

async fn config_map(client: &Local) {
    let body = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}});
    write(client, "POST", "/api/v1/namespaces/default/configmaps", body).await;
}

#[tokio::test]
async fn every_event_is_a_message_of_text() {
    let client = admin().await;
    config_map(&client).await;
    let (mut socket, _) =
        connect(client.clone(), WATCH, &[(ORIGIN, "http://localhost")]).await.expect("a socket");
    write(&client, "DELETE", "/api/v1/namespaces/default/configmaps/a", json!({})).await;
    for word in ["ADDED", "DELETED"] {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no message of text") };
        let event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(word), &json!("a")));
    }
}

#[tokio::test]
async fn protobuf_comes_in_binary_messages_without_a_length() {
    let client = admin().await;
    config_map(&client).await;
    let headers = [(ORIGIN, "null"), (ACCEPT, "application/vnd.kubernetes.protobuf;stream=watch")];
    let (mut socket, _) = connect(client, WATCH, &headers).await.expect("a socket");
    let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("no binary message") };
    assert_eq!(&bytes[..7], b"\x0a\x05ADDED");
}

#[tokio::test]
async fn a_watch_ends_with_the_socket_s_close() {
    let path = format!("{WATCH}&timeoutSeconds=1");
    let (mut socket, _) = connect(admin().await, &path, &[(ORIGIN, "null")]).await.expect("a socket");
    socket.send(Message::Ping(vec![1].into())).await.expect("sent");
    assert!(matches!(socket.next().await, Some(Ok(Message::Pong(_)))));
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn a_handshake_needs_an_origin_and_knows_one_protocol() {
    let client = admin().await;
    let refused = |result: Result<_, Error>| match result {
        Err(Error::Http(reply)) => reply.status().as_u16(),
        _ => panic!("a refusal"),
    };
    assert_eq!(refused(connect(client.clone(), WATCH, &[]).await), 403);
    let two = [(ORIGIN, "null"), (SEC_WEBSOCKET_PROTOCOL, "a, b")];
    assert_eq!(refused(connect(client.clone(), WATCH, &two).await), 400);
    let one = [(ORIGIN, "null"), (SEC_WEBSOCKET_PROTOCOL, "base64.binary.k8s.io")];
    let (_, reply) = connect(client, WATCH, &one).await.expect("a socket");
    assert_eq!(reply.headers()[SEC_WEBSOCKET_PROTOCOL], "base64.binary.k8s.io");
}

/// What is counted, and recorded, of a stream ends when its socket does, not when the handshake is answered.
#[tokio::test]
async fn a_socket_counts_as_long_as_it_lasts() {
    let client = admin().await;
    let running = async || {
        let request = Request::get("/metrics").body(Body::empty()).expect("a request");
        let reply = client.clone().oneshot(request).await.expect("never fails");
        let bytes = reply.into_body().collect().await.expect("whole").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        text.lines().filter(|line| line.starts_with("apiserver_longrunning_requests{")).count()
    };
    let (socket, _) = connect(client.clone(), WATCH, &[(ORIGIN, "null")]).await.expect("a socket");
    assert_eq!(running().await, 1);
    drop(socket);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while running().await > 0 {
        assert!(std::time::Instant::now() < deadline, "the socket is gone, and still counted");
        tokio::task::yield_now().await;
    }
}
