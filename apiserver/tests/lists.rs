//! Large lists and old continue tokens.

use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Local};
use axum::body::Body;
use flate2::read::GzDecoder;
use http::Request;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use raft_store::{Limits, Options, Seams, Store};
use serde_json::{Value, json};
use std::io::Read as _;
use tower::ServiceExt as _;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn admin(options: Options) -> Local {
    let store = Store::open(options, Seams::system()).await.expect("a memory store opens");
    let api = ApiServer::new(Config::new(Signer::generate()), store);
    api.bootstrap().await;
    api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test")
}

async fn create(client: &Local, name: &str, bytes: usize) {
    let body = json!({"metadata": {"name": name}, "data": {"text": "x".repeat(bytes)}});
    let request = Request::post(CONFIG_MAPS).header(CONTENT_TYPE, JSON).body(Body::from(body.to_string()));
    let reply = client.clone().oneshot(request.expect("a request")).await.expect("never fails");
    assert!(reply.status().is_success());
}

/// An answer's code and body, and in how many parts it came.
async fn get(client: &Local, path: &str, accept: &str, encoding: &str) -> (u16, Value, usize) {
    let request = Request::get(path).header(ACCEPT, accept).header(ACCEPT_ENCODING, encoding);
    let request = request.body(Body::empty()).expect("a request");
    let reply = client.clone().oneshot(request).await.expect("never fails");
    let code = reply.status().as_u16();
    assert_eq!(reply.headers().get(CONTENT_ENCODING).is_some(), encoding == "gzip");
    let (mut body, mut bytes, mut parts) = (reply.into_body(), Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame.expect("whole").into_data().expect("data"));
        parts += 1;
    }
    let mut plain = Vec::new();
    if encoding == "gzip" {
        GzDecoder::new(&*bytes).read_to_end(&mut plain).expect("gzip");
    } else {
        plain = bytes;
    }
    (code, serde_json::from_slice(&plain).expect("JSON"), parts)
}

#[tokio::test]
async fn a_large_list_comes_in_parts_and_is_the_same_list() {
    let client = admin(Options::in_memory()).await;
    for index in 0..9 {
        create(&client, &format!("map-{index}"), 200_000).await;
    }
    for (accept, items) in [(JSON, "items"), (TABLE, "rows"), (PARTIAL_LIST, "items")] {
        let (code, plain, parts) = get(&client, CONFIG_MAPS, accept, "identity").await;
        assert_eq!((code, plain[items].as_array().map(Vec::len)), (200, Some(9)), "{accept}");
        assert_eq!(parts > 4, accept == JSON, "{accept} came in {parts} parts");
        let (_, packed, _) = get(&client, CONFIG_MAPS, accept, "gzip").await;
        assert_eq!(packed, plain, "{accept}");
    }
    // A page of it is small again, and its items are those of the large list.
    let (_, all, _) = get(&client, CONFIG_MAPS, JSON, "identity").await;
    let (_, page, parts) = get(&client, &format!("{CONFIG_MAPS}?limit=3"), JSON, "identity").await;
    assert_eq!((parts, &page["metadata"]["remainingItemCount"]), (1, &json!(6)));
    assert_eq!(page["items"].as_array().expect("items")[..], all["items"].as_array().expect("items")[..3]);
}

/// Upstream gives a client whose token's revision is forgotten the choice: start again, or go on with what is there now.
#[tokio::test]
async fn an_expired_token_comes_with_one_that_goes_on() {
    let options = Options::in_memory();
    let limits = Limits { history_changes_max: 16, ..options.limits };
    let client = admin(Options { limits, ..options }).await;
    for name in ["a", "b", "c", "d"] {
        create(&client, name, 1).await;
    }
    let (_, page, _) = get(&client, &format!("{CONFIG_MAPS}?limit=2"), JSON, "identity").await;
    let token = page["metadata"]["continue"].as_str().expect("a token").to_owned();
    for index in 0..64 {
        create(&client, &format!("later-{index}"), 1).await;
    }
    let path = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let (status, refused) = loop {
        let (code, body, _) = get(&client, &path, JSON, "identity").await;
        if code != 200 {
            break (code, body);
        }
        assert!(std::time::Instant::now() < deadline, "history was never forgotten");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!((status, &refused["reason"]), (410, &json!("Expired")));
    let next = refused["metadata"]["continue"].as_str().expect("another token");
    let (code, rest, _) = get(&client, &format!("{CONFIG_MAPS}?continue={next}"), JSON, "identity").await;
    let names: Vec<&str> = rest["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    // In the order of names: what was created since is in it, what was seen is not.
    assert_eq!((code, names[0], names.len()), (200, "c", 66));
}

/// A selector of a namespace is the namespace, for whoever reads across all.
#[tokio::test]
async fn a_namespace_is_selected_like_a_field() {
    let client = admin(Options::in_memory()).await;
    create(&client, "here", 1).await;
    let names = async |selector: &str| {
        let path = format!("/api/v1/configmaps?fieldSelector={selector}");
        let (code, list, _) = get(&client, &path, JSON, "identity").await;
        assert_eq!(code, 200, "{list}");
        let items = list["items"].as_array().expect("items").iter();
        items.map(|item| item["metadata"]["namespace"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("metadata.namespace%3Ddefault,metadata.name%3Dhere").await, ["\"default\""]);
    assert!(names("metadata.namespace%3Dkube-system").await.iter().all(|name| name == "\"kube-system\""));
    assert!(!names("metadata.namespace!%3Ddefault").await.is_empty());
    for nowhere in ["metadata.namespace%3Ddefault,metadata.namespace%3Dkube-system", "metadata.namespace%3D"]
    {
        assert_eq!(names(nowhere).await, Vec::<String>::new(), "{nowhere}");
    }
    let path = "/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.namespace%3Ddefault";
    let (_, list, _) = get(&client, path, JSON, "identity").await;
    assert_eq!(list["items"], json!([]), "the path and the selector contradict each other");
}
