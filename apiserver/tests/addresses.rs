//! The addresses of Services are objects that come and go with them, and what the server keeps of its own comes back.
//! Every test runs a whole server over a store in memory.

use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Local};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tower::ServiceExt;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

struct Cluster {
    api: ApiServer,
    admin: Local,
}

impl Cluster {
    async fn start() -> Self {
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
        let api = ApiServer::new(Config::new(Signer::generate()), store);
        api.bootstrap().await;
        let admin = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        Self { api, admin }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.body(body).expect("a valid request");
        let reply = self.admin.clone().oneshot(request).await.expect("the service never fails");
        let code = reply.status().as_u16();
        let bytes = reply.into_body().collect().await.expect("a whole body").to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.ask(method, path, body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        answer
    }

    /// The addresses that are held, but for that of the `kubernetes` Service.
    async fn held(&self) -> BTreeSet<String> {
        let list = self.must("GET", ADDRESSES, Value::Null).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let names = items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned));
        names.filter(|name| name != "10.96.0.1").collect()
    }
}

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80}]);
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn an_address_comes_and_goes_with_its_service() {
    let cluster = Cluster::start().await;
    let first = cluster.must("GET", &format!("{ADDRESSES}/10.96.0.1"), Value::Null).await;
    let parent = json!({"resource": "services", "namespace": "default", "name": "kubernetes"});
    assert_eq!(first["spec"]["parentRef"], parent);

    let created = cluster.must("POST", SERVICES, service("a", json!({}))).await;
    let address = created["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    assert_eq!(cluster.held().await, BTreeSet::from([address.clone()]));
    let object = cluster.must("GET", &format!("{ADDRESSES}/{address}"), Value::Null).await;
    assert_eq!(object["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");

    let path = format!("{SERVICES}/a");
    let outside = json!({"spec": {"type": "ExternalName", "externalName": "a.example", "clusterIP": null,
        "clusterIPs": null}});
    cluster.must("PATCH", &path, outside).await;
    assert!(cluster.held().await.is_empty());
    cluster.must("PATCH", &path, json!({"spec": {"type": "ClusterIP", "externalName": null}})).await;
    assert_eq!(cluster.held().await.len(), 1);
    cluster.must("DELETE", &path, Value::Null).await;
    assert!(cluster.held().await.is_empty());
}

#[tokio::test]
async fn a_service_that_waits_for_a_finalizer_keeps_its_address() {
    let cluster = Cluster::start().await;
    let mut waiting = service("a", json!({"clusterIP": "10.96.7.7"}));
    waiting["metadata"]["finalizers"] = json!(["example.com/f"]);
    cluster.must("POST", SERVICES, waiting).await;
    cluster.must("DELETE", &format!("{SERVICES}/a"), Value::Null).await;
    assert_eq!(cluster.held().await.len(), 1);
    cluster.must("PATCH", &format!("{SERVICES}/a"), json!({"metadata": {"finalizers": null}})).await;
    assert!(cluster.held().await.is_empty());
}

#[tokio::test]
async fn an_address_is_given_once_and_out_of_a_range_that_is_there() {
    let cluster = Cluster::start().await;
    let wish = |name: &str, address: &str| service(name, json!({"clusterIP": address}));
    cluster.must("POST", SERVICES, wish("a", "10.96.7.7")).await;
    let (code, answer) = cluster.ask("POST", SERVICES, wish("b", "10.96.7.7")).await;
    assert_eq!(code, 422);
    assert!(
        answer["message"].as_str().is_some_and(|text| text.ends_with("provided IP is already allocated"))
    );
    let (code, answer) = cluster.ask("POST", SERVICES, wish("b", "10.77.0.9")).await;
    assert_eq!(code, 422);
    let text = answer["message"].as_str().expect("a message");
    assert!(text.ends_with("the provided network does not match the current range"), "{text}");

    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.77.0.0/24"]}});
    cluster.must("POST", RANGES, range).await;
    cluster.must("POST", SERVICES, wish("b", "10.77.0.9")).await;
    let (code, _) = cluster.ask("POST", SERVICES, wish("c", "10.77.0.255")).await;
    assert_eq!(code, 422, "the broadcast address is nobody's");
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    cluster.must("PATCH", &format!("{RANGES}/more/status"), unready).await;
    assert_eq!(cluster.ask("POST", SERVICES, wish("c", "10.77.0.10")).await.0, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_get_addresses_of_their_own() {
    let cluster = Cluster::start().await;
    let range = json!({"metadata": {"name": "small"}, "spec": {"cidrs": ["10.77.0.0/24"]}});
    cluster.must("POST", RANGES, range).await;
    let wishes = (0..8).map(|number| {
        cluster.ask("POST", SERVICES, service(&format!("s{number}"), json!({"clusterIP": "10.77.0.5"})))
    });
    let codes: Vec<u16> = futures::future::join_all(wishes).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1, "{codes:?}");

    let creates =
        (0..20).map(|number| cluster.ask("POST", SERVICES, service(&format!("r{number}"), json!({}))));
    let created = futures::future::join_all(creates).await;
    let addresses: BTreeSet<String> =
        created.iter().map(|(_, service)| service["spec"]["clusterIP"].to_string()).collect();
    assert_eq!(addresses.len(), 20);
    assert_eq!(cluster.held().await.len(), 21);
}

/// Before addresses were objects, a Service alone held its own.
#[tokio::test]
async fn services_without_address_objects_get_them_at_the_next_start() {
    let cluster = Cluster::start().await;
    cluster.must("POST", SERVICES, service("a", json!({"clusterIP": "10.96.7.7"}))).await;
    cluster.must("DELETE", &format!("{ADDRESSES}/10.96.7.7"), Value::Null).await;
    cluster.api.bootstrap().await;
    let object = cluster.must("GET", &format!("{ADDRESSES}/10.96.7.7"), Value::Null).await;
    assert_eq!(object["spec"]["parentRef"]["name"], "a");
}

#[tokio::test]
async fn objects_of_priority_and_fairness_come_back() {
    const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let cluster = Cluster::start().await;
    let schemas = cluster.must("GET", &format!("{GROUP}/flowschemas"), Value::Null).await;
    assert_eq!(schemas["items"].as_array().map(Vec::len), Some(11));
    let path = format!("{GROUP}/flowschemas/global-default");
    cluster.must("DELETE", &path, Value::Null).await;
    let path_of_level = format!("{GROUP}/prioritylevelconfigurations/system");
    let shares = json!({"spec": {"limited": {"nominalConcurrencyShares": 7}}});
    cluster.must("PATCH", &path_of_level, shares).await;
    cluster.api.bootstrap().await;
    cluster.must("GET", &path, Value::Null).await;
    let level = cluster.must("GET", &path_of_level, Value::Null).await;
    assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], 30);
}

#[tokio::test]
async fn an_ingress_without_a_class_gets_the_default_one() {
    let cluster = Cluster::start().await;
    let class = |name: &str| {
        let mark = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        json!({"metadata": {"name": name, "annotations": mark}, "spec": {"controller": "example.com/c"}})
    };
    let ingress = json!({"metadata": {"name": "i"},
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 1}}}}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses?dryRun=All";
    let answer = cluster.must("POST", path, ingress.clone()).await;
    assert!(answer["spec"]["ingressClassName"].is_null());
    cluster.must("POST", "/apis/networking.k8s.io/v1/ingressclasses", class("a")).await;
    let answer = cluster.must("POST", path, ingress).await;
    assert_eq!(answer["spec"]["ingressClassName"], "a");
}
