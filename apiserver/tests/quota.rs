//! Quotas under writers that race: together they never get more than there is, and nobody is refused what is left.

use access::tokens::Signer;
use access::{UserInfo, groups, users};
use apiserver::{ApiServer, Config};
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use tower::Service as _;

/// Writers that ask at the same time.
const WRITERS: usize = 40;
/// Objects the quota allows.
const ALLOWED: usize = 7;

const QUOTA: &str = "/api/v1/namespaces/crowd/resourcequotas/q";

async fn ask(api: &ApiServer, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mut client = api.local(UserInfo::authenticated(users::ADMIN, &[groups::MASTERS]), "crowd/1");
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(Body::from(body.to_string()))
        .expect("a request");
    let answer: Response<Body> = match client.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A server with a namespace whose quota has been counted: no controller runs here.
async fn crowd(hard: Value, used: Value) -> ApiServer {
    let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a store");
    let api = ApiServer::new(Config::new(Signer::generate()), store);
    api.bootstrap().await;
    ask(&api, "POST", "/api/v1/namespaces", json!({"metadata": {"name": "crowd"}})).await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    let (code, quota) = ask(&api, "POST", "/api/v1/namespaces/crowd/resourcequotas", quota).await;
    assert_eq!(code, 201, "{quota}");
    let status = json!({"status": {"hard": hard, "used": used}});
    let (code, quota) = ask(&api, "PATCH", &format!("{QUOTA}/status"), status).await;
    assert_eq!(code, 200, "{quota}");
    api
}

async fn used(api: &ApiServer) -> Value {
    ask(api, "GET", QUOTA, Value::Null).await.1["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_race_never_get_more_than_there_is() {
    let api = crowd(json!({"count/secrets": ALLOWED.to_string()}), json!({"count/secrets": "0"})).await;
    let tasks = (0..WRITERS).map(|writer| {
        let api = api.clone();
        tokio::spawn(async move {
            let secret = json!({"metadata": {"name": format!("s{writer}")}});
            ask(&api, "POST", "/api/v1/namespaces/crowd/secrets", secret).await
        })
    });
    let answers = futures::future::join_all(tasks).await;
    let codes: Vec<u16> = answers.into_iter().map(|answer| answer.expect("no panic").0).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), ALLOWED, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), WRITERS - ALLOWED, "{codes:?}");
    assert_eq!(used(&api).await, json!({"count/secrets": ALLOWED.to_string()}));
    let (_, list) = ask(&api, "GET", "/api/v1/namespaces/crowd/secrets", Value::Null).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(ALLOWED));
}

/// An update that names no resourceVersion is not in conflict with the writers of other objects, although each of them
/// changes the quota it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_pay_in_turn() {
    let hard = json!({"services.nodeports": "6", "services": "100"});
    let api = crowd(hard, json!({"services.nodeports": "0", "services": "0"})).await;
    let services = "/api/v1/namespaces/crowd/services";
    for writer in 0..10 {
        let service = json!({"metadata": {"name": format!("s{writer}")}, "spec": {"ports": [{"port": 80}]}});
        let (code, answer) = ask(&api, "POST", services, service).await;
        assert_eq!(code, 201, "{answer}");
    }
    let tasks = (0..10).map(|writer| {
        let api = api.clone();
        tokio::spawn(async move {
            let path = format!("{services}/s{writer}");
            ask(&api, "PATCH", &path, json!({"spec": {"type": "NodePort"}})).await.0
        })
    });
    let answers = futures::future::join_all(tasks).await;
    let codes: Vec<u16> = answers.into_iter().map(|answer| answer.expect("no panic")).collect();
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 6, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 4, "{codes:?}");
    assert_eq!(used(&api).await, json!({"services.nodeports": "6", "services": "10"}));
}

#[tokio::test]
async fn a_dry_run_and_a_refused_object_cost_nothing() {
    let api = crowd(json!({"count/configmaps": "2"}), json!({"count/configmaps": "0"})).await;
    let maps = "/api/v1/namespaces/crowd/configmaps";
    let map = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(ask(&api, "POST", &format!("{maps}?dryRun=All"), map("a")).await.0, 201);
    assert_eq!(ask(&api, "POST", maps, map("No_Name")).await.0, 422);
    assert_eq!(used(&api).await, json!({"count/configmaps": "0"}));
    assert_eq!(ask(&api, "POST", maps, map("a")).await.0, 201);
    assert_eq!(ask(&api, "POST", maps, map("a")).await.0, 409);
    assert_eq!(used(&api).await, json!({"count/configmaps": "1"}));
    assert_eq!(ask(&api, "POST", maps, map("b")).await.0, 201);
    assert_eq!(ask(&api, "POST", &format!("{maps}?dryRun=All"), map("c")).await.0, 403);
}

/// What a quota limits is unknown until somebody has counted it, and until then nothing is let in.
#[tokio::test]
async fn a_quota_that_was_not_counted_lets_nothing_in() {
    let api = crowd(json!({"count/secrets": "1"}), json!({})).await;
    let (code, answer) =
        ask(&api, "POST", "/api/v1/namespaces/crowd/secrets", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "secrets \"a\" is forbidden: status unknown for quota: q, resources: count/secrets"
    );
}
