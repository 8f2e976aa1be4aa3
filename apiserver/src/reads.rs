//! What reading costs, as far as it can be counted: stored bytes are served as they are, other forms are made once.

use crate::chain::{self, Origin};
use crate::identity::Caller;
use crate::negotiate::Format;
use crate::{ApiServer, Config};
use access::seal::{Keyring, SystemRandom};
use access::tokens::Signer;
use access::{UserInfo, groups};
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tower::ServiceExt as _;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

struct Server(ApiServer);

impl Server {
    async fn start() -> Self {
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
        let mut config = Config::new(Signer::generate());
        config.keyring = Some(Arc::new(Keyring::generate(&mut SystemRandom)));
        let api = ApiServer::new(config, store);
        api.bootstrap().await;
        Self(api)
    }

    async fn send(&self, method: &str, path: &str, accept: &str, body: Value) -> Body {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", JSON).header("accept", accept);
        let client = self.0.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        let reply = client.oneshot(request.body(body).expect("a request")).await.expect("never fails");
        assert!(reply.status().is_success(), "{method} {path}: {}", reply.status());
        reply.into_body()
    }

    async fn get(&self, path: &str, accept: &str) -> Bytes {
        let body = self.send("GET", path, accept, Value::Null).await;
        body.collect().await.expect("a whole body").to_bytes()
    }

    /// The first frame of a watch that begins after a revision.
    async fn frame(&self, path: &str, accept: &str, after: u64) -> Bytes {
        let path = format!("{path}?watch=true&resourceVersion={after}");
        let mut body = self.send("GET", &path, accept, Value::Null).await;
        body.frame().await.expect("a frame").expect("frames do not fail").into_data().expect("data")
    }

    fn decodes(&self) -> usize {
        self.0.inner.codec.decodes.load(Ordering::Relaxed)
    }

    /// Trees that were made of stored bytes while something was done.
    async fn counted<T>(&self, done: impl Future<Output = T>) -> usize {
        let before = self.decodes();
        done.await;
        self.decodes() - before
    }
}

/// Creates three objects; gives the revision before the last one.
async fn create_three(server: &Server, path: &str, body: impl Fn(&str) -> Value) -> u64 {
    let mut before = 0;
    for name in ["a", "b", "c"] {
        before = server.0.inner.store.view().revision().0;
        drop(server.send("POST", path, JSON, body(name)).await);
    }
    before
}

#[tokio::test]
async fn stored_bytes_are_served_without_a_decode() {
    let server = Server::start().await;
    let body = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "v"}});
    let before = create_three(&server, CONFIG_MAPS, body).await;
    let one = format!("{CONFIG_MAPS}/a");
    let reads = server.counted(async {
        for accept in [JSON, PARTIAL] {
            server.get(&one, accept).await;
        }
        for path in [CONFIG_MAPS, "/api/v1/configmaps", &format!("{CONFIG_MAPS}?limit=1")] {
            server.get(path, JSON).await;
            server.get(path, PARTIAL_LIST).await;
        }
        for accept in [JSON, PARTIAL, Format::Protobuf.media_type()] {
            server.get(&one, accept).await;
            server.frame(CONFIG_MAPS, accept, before).await;
        }
    });
    assert_eq!(reads.await, 0);
}

#[tokio::test]
async fn another_form_is_made_once() {
    let server = Server::start().await;
    let event = |name: &str| {
        json!({"metadata": {"name": name}, "reportingController": "x.example/y", "reportingInstance": "z",
            "action": "a", "reason": "r", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z"})
    };
    create_three(&server, CONFIG_MAPS, |name| json!({"metadata": {"name": name}})).await;
    create_three(&server, SECRETS, |name| json!({"metadata": {"name": name}, "data": {"k": "dg=="}})).await;
    create_three(&server, EVENTS, event).await;
    let protobuf = Format::Protobuf.media_type();
    // With what a change of one of the three objects makes anew.
    for (path, accept, anew) in [
        (CONFIG_MAPS, TABLE, 1),
        (SECRETS, TABLE, 2),
        (SECRETS, JSON, 0),
        (SECRETS, protobuf, 0),
        // The answer to the change has made it.
        (EVENTS, JSON, 0),
        (EVENTS, TABLE, 1),
        (EVENTS, protobuf, 1),
    ] {
        let first = server.get(path, accept).await;
        let again = server.counted(async {
            let second = server.get(path, accept).await;
            // The ages of a Table go on.
            assert!(accept == TABLE || first == second, "{path} as {accept}");
        });
        assert_eq!(again.await, 0, "{path} as {accept} is kept");
        let label = format!("{}-{}", accept.len(), path.len());
        patched(&server, &format!("{path}/a"), json!({"metadata": {"labels": {"for": label}}})).await;
        assert_eq!(server.counted(server.get(path, accept)).await, anew, "{path} as {accept} after a change");
    }
}

async fn patched(server: &Server, path: &str, patch: Value) {
    let request = Request::builder().method("PATCH").uri(path);
    let request = request.header("content-type", "application/merge-patch+json");
    let request = request.body(Body::from(patch.to_string())).expect("a request");
    let client = server.0.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
    let reply = client.oneshot(request).await.expect("never fails");
    assert!(reply.status().is_success(), "{path}: {}", reply.status());
}

#[tokio::test]
async fn watchers_of_one_encoding_share_the_frame() {
    let server = Server::start().await;
    let body = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "v"}});
    let before = create_three(&server, CONFIG_MAPS, body).await;
    let protobuf_partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    for accept in [JSON, PARTIAL, Format::Protobuf.media_type(), protobuf_partial] {
        let (one, other) = tokio::join!(
            server.frame(CONFIG_MAPS, accept, before),
            server.frame(CONFIG_MAPS, accept, before)
        );
        assert!(std::ptr::eq(one.as_ptr(), other.as_ptr()), "{accept}: one encoding for both");
    }
}

#[tokio::test]
async fn a_token_is_checked_without_a_decode() {
    let server = Server::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let pods = "/api/v1/namespaces/default/pods";
    drop(server.send("POST", accounts, JSON, json!({"metadata": {"name": "robot"}})).await);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "robot",
        "containers": [{"name": "c", "image": "i"}]}});
    drop(server.send("POST", pods, JSON, pod).await);
    let uid = server.get(&format!("{pods}/p"), JSON).await;
    let uid = serde_json::from_slice::<Value>(&uid).expect("JSON")["metadata"]["uid"].clone();
    let bound = json!({"spec": {"audiences": [], "boundObjectRef":
        {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    let token = server.send("POST", &format!("{accounts}/robot/token"), JSON, bound).await;
    let token = token.collect().await.expect("a whole body").to_bytes();
    let token = serde_json::from_slice::<Value>(&token).expect("JSON")["status"]["token"].clone();
    let ask = async || {
        let request = Request::get(format!("{CONFIG_MAPS}/x"));
        let header = format!("Bearer {}", token.as_str().expect("a token"));
        let request = request.header("authorization", header).body(Body::empty()).expect("a request");
        let origin = Origin { caller: Caller::Unknown, peer: None };
        chain::answer(server.0.inner.clone(), origin, request).await.status()
    };
    // Who is known may still not read that.
    assert_eq!(ask().await, 403);
    assert_eq!(server.counted(async { assert_eq!(ask().await, 403) }).await, 0);
    let gone = format!("{pods}/p?gracePeriodSeconds=0");
    drop(server.send("DELETE", &gone, JSON, Value::Null).await);
    assert_eq!(ask().await, 401, "with its pod the token has gone");
}
