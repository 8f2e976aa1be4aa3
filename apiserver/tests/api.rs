//! Promises of the API server that the recorded answers cannot show: what
//! happens under concurrency, what the store gets to see, who is let in.
//! Every test runs a whole server over a store in memory.

use access::seal::{Keyring, SystemRandom};
use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Fence, Local};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tower::ServiceExt;

/// A server and a way to ask it.
struct Cluster {
    api: ApiServer,
    store: Store,
    admin: Local,
}

impl Cluster {
    async fn start() -> Self {
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
        let mut config = Config::new(Signer::generate());
        config.keyring = Some(Arc::new(Keyring::generate(&mut SystemRandom)));
        let api = ApiServer::new(config, store.clone());
        api.bootstrap().await;
        let admin = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        Self { api, store, admin }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        ask(self.admin.clone(), method, path, body).await
    }

    /// Asks and insists on success.
    async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.ask(method, path, body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        answer
    }
}

async fn ask(client: Local, method: &str, path: &str, body: Value) -> (u16, Value) {
    send(client, request(method, path, body)).await
}

fn request(method: &str, path: &str, body: Value) -> Request<Body> {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(body)
        .expect("a valid request")
}

async fn send(client: Local, request: Request<Body>) -> (u16, Value) {
    let reply = client.oneshot(request).await.expect("the service never fails");
    let code = reply.status().as_u16();
    let bytes = reply.into_body().collect().await.expect("a whole body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Reads events of a watch until `count` have come.
async fn events(cluster: &Cluster, path: &str, count: usize) -> Vec<Value> {
    let reply = cluster
        .admin
        .clone()
        .oneshot(request("GET", path, Value::Null))
        .await
        .expect("the service never fails");
    let mut body = reply.into_body();
    let mut events = Vec::new();
    while events.len() < count {
        let frame = body.frame().await.expect("the watch goes on").expect("frames do not fail");
        let bytes = frame.into_data().expect("data");
        events.extend(
            bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice::<Value>(line).expect("JSON")),
        );
    }
    events
}

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_without_a_revision_all_survive() {
    let cluster = Cluster::start().await;
    cluster.must("POST", CONFIGMAPS, json!({"metadata": {"name": "a"}})).await;
    // More writers than attempts of one write: those who lose every time are told so, and nobody is told a lie.
    let writes = (0..12).map(|number| {
        let client = cluster.admin.clone();
        tokio::spawn(async move {
            let key = format!("k{number}");
            loop {
                let patch = json!({"data": {key.as_str(): "v"}});
                match ask(client.clone(), "PATCH", &format!("{CONFIGMAPS}/a"), patch).await {
                    (200, _) => return,
                    (409, _) => {}
                    (code, answer) => panic!("{code} {answer}"),
                }
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.expect("no panic");
    }
    let stored = cluster.must("GET", &format!("{CONFIGMAPS}/a"), Value::Null).await;
    assert_eq!(stored["data"].as_object().map(serde_json::Map::len), Some(12));
}

#[tokio::test]
async fn a_stale_revision_is_a_conflict_and_a_no_op_keeps_the_revision() {
    let cluster = Cluster::start().await;
    let first =
        cluster.must("POST", CONFIGMAPS, json!({"metadata": {"name": "a"}, "data": {"k": "1"}})).await;
    let second = cluster
        .must("PUT", &format!("{CONFIGMAPS}/a"), json!({"metadata": {"name": "a"}, "data": {"k": "2"}}))
        .await;
    let same = cluster
        .must("PUT", &format!("{CONFIGMAPS}/a"), json!({"metadata": {"name": "a"}, "data": {"k": "2"}}))
        .await;
    assert_eq!(second["metadata"]["resourceVersion"], same["metadata"]["resourceVersion"]);
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    let (code, answer) = cluster.ask("PUT", &format!("{CONFIGMAPS}/a"), first).await;
    assert_eq!((code, answer["reason"].as_str()), (409, Some("Conflict")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_never_share_an_address_or_a_port() {
    let cluster = Cluster::start().await;
    let creates = (0..24).map(|number| {
        let client = cluster.admin.clone();
        tokio::spawn(async move {
            let service = json!({"metadata": {"name": format!("s{number}")}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
            let (code, answer) = ask(client, "POST", "/api/v1/namespaces/default/services", service).await;
            assert_eq!(code, 201, "{answer}");
            (answer["spec"]["clusterIP"].to_string(), answer["spec"]["ports"][0]["nodePort"].to_string())
        })
    });
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for create in creates.collect::<Vec<_>>() {
        let (address, port) = create.await.expect("no panic");
        assert!(addresses.insert(address));
        assert!(ports.insert(port));
    }
    let wanted =
        json!({"metadata": {"name": "taken"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}});
    let (code, answer) = cluster.ask("POST", "/api/v1/namespaces/default/services", wanted).await;
    assert_eq!(code, 422);
    let message = answer["message"].as_str().expect("a message");
    assert!(message.contains("provided IP is already allocated"), "{message}");
}

#[tokio::test]
async fn a_secret_is_sealed_before_the_store_sees_it() {
    const CANARY: &str = "Y2FuYXJ5LTQy";
    let cluster = Cluster::start().await;
    let secret = json!({"metadata": {"name": "s"}, "data": {"k": CANARY}});
    cluster.must("POST", "/api/v1/namespaces/default/secrets", secret).await;
    let view = cluster.store.view();
    let entry = view.list("secrets", None, None).next().expect("the secret is stored");
    assert!(entry.object.sealing.is_some());
    assert!(!entry.object.bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    let list = cluster.must("GET", "/api/v1/secrets", Value::Null).await;
    assert_eq!(list["items"][0]["data"]["k"], CANARY);
}

#[tokio::test]
async fn an_object_that_leaves_a_selector_is_deleted_with_its_old_content() {
    let cluster = Cluster::start().await;
    let made = cluster
        .must(
            "POST",
            CONFIGMAPS,
            json!({"metadata": {"name": "a", "labels": {"w": "in"}}, "data": {"k": "1"}}),
        )
        .await;
    let from = made["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
    let left = cluster
        .must(
            "PATCH",
            &format!("{CONFIGMAPS}/a"),
            json!({"metadata": {"labels": {"w": "out"}}, "data": {"k": "2"}}),
        )
        .await;
    cluster.must("PATCH", &format!("{CONFIGMAPS}/a"), json!({"metadata": {"labels": {"w": "in"}}})).await;
    let seen =
        events(&cluster, &format!("{CONFIGMAPS}?watch=1&resourceVersion={from}&labelSelector=w%3Din"), 2)
            .await;
    assert_eq!((&seen[0]["type"], &seen[0]["object"]["data"]["k"]), (&json!("DELETED"), &json!("1")));
    assert_eq!(seen[0]["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    assert_eq!(seen[1]["type"], "ADDED");
}

#[tokio::test]
async fn pages_show_one_revision_whatever_happens_in_between() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "c"] {
        cluster.must("POST", CONFIGMAPS, json!({"metadata": {"name": name, "labels": {"p": "1"}}})).await;
    }
    let first = cluster.must("GET", &format!("{CONFIGMAPS}?labelSelector=p&limit=1"), Value::Null).await;
    cluster.must("DELETE", &format!("{CONFIGMAPS}/b"), Value::Null).await;
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let rest =
        cluster.must("GET", &format!("{CONFIGMAPS}?labelSelector=p&continue={token}"), Value::Null).await;
    let names: Vec<&str> = rest["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(first["metadata"]["resourceVersion"], rest["metadata"]["resourceVersion"]);
    assert!(rest["items"][0].get("kind").is_none());
}

#[tokio::test]
async fn a_write_of_another_term_is_refused() {
    let cluster = Cluster::start().await;
    let term = cluster.store.term().expect("the only member leads").0;
    for (fence, expected) in [(term + 1, 503), (term, 201)] {
        let mut request = request("POST", CONFIGMAPS, json!({"metadata": {"name": "fenced"}}));
        request.extensions_mut().insert(Fence(fence));
        let (code, answer) = send(cluster.admin.clone(), request).await;
        assert_eq!(code, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_binding_counts_from_the_next_request_on() {
    let cluster = Cluster::start().await;
    let alice = cluster.api.local(UserInfo::authenticated("alice", &[]), "test");
    let (code, answer) = ask(alice.clone(), "GET", CONFIGMAPS, Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "configmaps is forbidden: User \"alice\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    cluster.must("POST", &format!("{group}/roles"), role).await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]});
    cluster.must("POST", &format!("{group}/rolebindings"), binding).await;
    assert_eq!(ask(alice.clone(), "GET", CONFIGMAPS, Value::Null).await.0, 200);
    cluster.must("DELETE", &format!("{group}/rolebindings/b"), Value::Null).await;
    assert_eq!(ask(alice, "GET", CONFIGMAPS, Value::Null).await.0, 403);
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_goes() {
    let cluster = Cluster::start().await;
    cluster.must("POST", "/api/v1/namespaces", json!({"metadata": {"name": "gone"}})).await;
    cluster.must("DELETE", "/api/v1/namespaces/gone", Value::Null).await;
    let (code, answer) = cluster
        .ask("POST", "/api/v1/namespaces/gone/configmaps", json!({"metadata": {"name": "late"}}))
        .await;
    assert_eq!(code, 403);
    assert_eq!(answer["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let (code, answer) = cluster.ask("DELETE", "/api/v1/namespaces/default", Value::Null).await;
    assert_eq!(
        (code, answer["message"].as_str()),
        (403, Some("namespaces \"default\" is forbidden: this namespace may not be deleted"))
    );
}

#[tokio::test]
async fn a_body_above_three_mebibytes_is_too_large() {
    let cluster = Cluster::start().await;
    let big = json!({"metadata": {"name": "big"}, "data": {"k": "x".repeat(3 * 1024 * 1024)}});
    let (code, answer) = cluster.ask("POST", CONFIGMAPS, big).await;
    assert_eq!((code, answer["message"].as_str()), (413, Some("Request entity too large: limit is 3145728")));
}

#[tokio::test]
async fn a_watch_ends_when_the_server_stops() {
    let cluster = Cluster::start().await;
    let reply = cluster
        .admin
        .clone()
        .oneshot(request("GET", &format!("{CONFIGMAPS}?watch=1&resourceVersion=1"), Value::Null))
        .await;
    let body = reply.expect("the service never fails").into_body();
    cluster.api.stop();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), body.collect()).await;
    assert!(ended.expect("the stream ends").is_ok());
    assert!(!cluster.api.ready());
}

/// Rules taken apart, as they are put back: a group, a resource and a verb each.
fn single_rights(rules: &Value) -> Vec<Value> {
    let mut rights = Vec::new();
    let list = |rule: &Value, name: &str| rule[name].as_array().cloned().unwrap_or_default();
    for rule in rules.as_array().expect("rules") {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                rights.extend(
                    list(rule, "verbs")
                        .into_iter()
                        .map(|verb| json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]})),
                );
            }
        }
    }
    rights
}

/// Roles of an older version, or ones somebody took a rule from, are completed at the next start. What was added stays,
/// and the annotation says hands off.
#[tokio::test]
async fn a_start_puts_back_what_shipped_roles_lack() {
    const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let cluster = Cluster::start().await;
    let read = async |path: String| cluster.must("GET", &path, Value::Null).await;
    let own = json!({"verbs": ["get"], "apiGroups": ["own"], "resources": ["own"]});
    let shipped = read(format!("{ROLES}/system:node-proxier")).await["rules"].clone();
    cluster.must("PATCH", &format!("{ROLES}/system:node-proxier"), json!({"rules": [own]})).await;
    let hands_off = json!({"rules": [], "metadata": {"annotations": {
        "rbac.authorization.kubernetes.io/autoupdate": "false",
    }}});
    cluster.must("PATCH", &format!("{ROLES}/system:basic-user"), hands_off).await;
    let binding = read(format!("{BINDINGS}/system:discovery")).await;
    let mut other = json!({"metadata": {"name": "system:discovery"}, "subjects": []});
    other["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    cluster.must("DELETE", &format!("{BINDINGS}/system:discovery"), Value::Null).await;
    cluster.must("POST", BINDINGS, other).await;
    let untouched = read(format!("{ROLES}/admin")).await;

    cluster.api.bootstrap().await;

    let rules = read(format!("{ROLES}/system:node-proxier")).await["rules"].clone();
    let rules = rules.as_array().expect("rules");
    assert_eq!(rules[0], own);
    assert_eq!(rules[1..], single_rights(&shipped));
    let kept = read(format!("{ROLES}/system:basic-user")).await;
    assert!(kept["rules"].as_array().is_none_or(Vec::is_empty), "{kept}");
    let rebound = read(format!("{BINDINGS}/system:discovery")).await;
    assert_eq!(rebound["roleRef"], binding["roleRef"]);
    assert_eq!(rebound["subjects"], binding["subjects"]);
    assert_eq!(read(format!("{ROLES}/admin")).await, untouched);
}
