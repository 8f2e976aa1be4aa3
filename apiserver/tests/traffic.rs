//! What is recorded and counted of requests.

use access::tokens::Signer;
use access::{UserInfo, groups};
use apiserver::{ApiServer, Audit, AuditLimits, Config, Local};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use std::path::PathBuf;
use tower::ServiceExt as _;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

struct Server {
    api: ApiServer,
    admin: Local,
    folder: PathBuf,
}

impl Server {
    async fn start(name: &str, policy: Option<&str>) -> Self {
        let folder = std::env::temp_dir().join(format!("kontiki-traffic-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
        let mut config = Config::new(Signer::generate());
        let audit = Audit::open(policy, &folder.join("audit.log"), AuditLimits::default());
        config.audit = Some(audit.expect("an audit log"));
        let api = ApiServer::new(config, store);
        api.bootstrap().await;
        let admin = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        Self { api, admin, folder }
    }

    async fn send(&self, request: http::request::Builder, body: Value) -> (u16, Body) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = request.header("content-type", JSON).body(body).expect("a request");
        let reply = self.admin.clone().oneshot(request).await.expect("never fails");
        (reply.status().as_u16(), reply.into_body())
    }

    async fn text(&self, path: &str) -> String {
        let (code, body) = self.send(Request::get(path), Value::Null).await;
        assert_eq!(code, 200, "{path}");
        String::from_utf8(body.collect().await.expect("whole").to_bytes().to_vec()).expect("text")
    }

    /// What was recorded of requests of this test; the server has some of its own.
    async fn recorded(&self) -> Vec<Value> {
        self.api.flush_audit().await;
        let text = std::fs::read_to_string(self.folder.join("audit.log")).expect("a log");
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.filter(|event| event["userAgent"] == "test").collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn short(event: &Value) -> String {
    let text = |pointer: &str| {
        event.pointer(pointer).map_or(String::new(), |value| value.to_string().replace('"', ""))
    };
    format!(
        "{} {} {} {} {}",
        text("/stage"),
        text("/verb"),
        text("/objectRef/resource"),
        text("/objectRef/name"),
        text("/responseStatus/code")
    )
}

#[tokio::test]
async fn metadata_of_every_request_is_recorded_once_and_of_a_stream_twice() {
    let server = Server::start("metadata", None).await;
    let map = json!({"metadata": {"generateName": "map-"}});
    let (code, body) = server.send(Request::post(CONFIG_MAPS), map).await;
    assert_eq!(code, 201);
    let created: Value =
        serde_json::from_slice(&body.collect().await.expect("whole").to_bytes()).expect("JSON");
    let name = created["metadata"]["name"].as_str().expect("a name");
    let (code, _) = server.send(Request::get("/api/v1/namespaces/default/pods/x"), Value::Null).await;
    assert_eq!(code, 404);
    let (_, watch) = server.send(Request::get(format!("{CONFIG_MAPS}?watch=1")), Value::Null).await;
    drop(watch);
    server.text("/readyz").await;
    let events = server.recorded().await;
    let lines: Vec<String> = events.iter().map(short).collect();
    assert_eq!(
        lines,
        [
            format!("ResponseComplete create configmaps {name} 201"),
            "ResponseComplete get pods x 404".to_owned(),
            "ResponseStarted watch configmaps  200".to_owned(),
            "ResponseComplete watch configmaps  200".to_owned(),
        ]
    );
    assert_eq!(events[1]["responseStatus"]["reason"], "NotFound");
    assert_eq!(events[0]["user"]["username"], "admin");
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(events[0].get("requestObject"), None);
}

#[tokio::test]
async fn the_object_in_a_body_is_named_even_if_it_is_refused() {
    let server = Server::start("named", None).await;
    let map = json!({"metadata": {"name": "a"}});
    let (code, body) = server.send(Request::post(CONFIG_MAPS), map.clone()).await;
    assert_eq!(code, 201);
    let stored: Value =
        serde_json::from_slice(&body.collect().await.expect("whole").to_bytes()).expect("JSON");
    let (code, _) = server.send(Request::post(CONFIG_MAPS), map).await;
    assert_eq!(code, 409);
    let item = format!("{CONFIG_MAPS}/a");
    let (code, _) = server.send(Request::put(&item), stored.clone()).await;
    assert_eq!(code, 200);
    let mut old = stored.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    let (code, _) = server.send(Request::put(&item), old).await;
    assert_eq!(code, 409);
    let events = server.recorded().await;
    let object = |uid: &Value, version: &Value| {
        json!({"resource": "configmaps", "namespace": "default", "name": "a",
        "apiVersion": "v1", "uid": uid, "resourceVersion": version})
    };
    let metadata = &stored["metadata"];
    let unnamed = json!({"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"});
    let references: Vec<&Value> = events.iter().map(|event| &event["objectRef"]).collect();
    assert_eq!(
        references,
        [
            &unnamed,
            &unnamed,
            &object(&metadata["uid"], &metadata["resourceVersion"]),
            &object(&metadata["uid"], &json!("1")),
        ]
    );
}

#[tokio::test]
async fn a_policy_asks_for_bodies_in_any_encoding() {
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitManagedFields: true, rules: [
        {level: RequestResponse, resources: [{resources: [configmaps]}], verbs: [create, get]}]}";
    let server = Server::start("bodies", Some(policy)).await;
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let (code, _) = server.send(Request::post(CONFIG_MAPS).header("accept", PROTOBUF), map.clone()).await;
    assert_eq!(code, 201);
    server.text("/api/v1/namespaces/default/configmaps").await;
    let (_, body) =
        server.send(Request::get(format!("{CONFIG_MAPS}/a")).header("accept", JSON), Value::Null).await;
    assert!(!body.collect().await.expect("the answer is passed on").to_bytes().is_empty());
    let events = server.recorded().await;
    let stages: Vec<String> = events.iter().map(short).collect();
    assert_eq!(
        stages,
        [
            "RequestReceived create configmaps  ",
            "ResponseComplete create configmaps a 201",
            "RequestReceived get configmaps a ",
            "ResponseComplete get configmaps a 200",
        ]
    );
    assert_eq!(events[1]["requestObject"], map);
    let response = &events[1]["responseObject"];
    assert_eq!((&response["kind"], &response["data"]), (&json!("ConfigMap"), &json!({"k": "v"})));
    assert_eq!(response["metadata"].get("managedFields"), None);
    assert_eq!(events[3]["responseObject"]["metadata"]["name"], "a");
}

#[tokio::test]
async fn somebody_who_acts_for_another_is_recorded_with_both() {
    let server = Server::start("impersonated", None).await;
    let request =
        Request::get(CONFIG_MAPS).header("impersonate-user", "jane").header("x-forwarded-for", "10.1.2.3");
    assert_eq!(server.send(request, Value::Null).await.0, 403);
    let events = server.recorded().await;
    assert_eq!(events[0]["user"]["username"], "admin");
    assert_eq!(events[0]["impersonatedUser"]["username"], "jane");
    assert_eq!(events[0]["sourceIPs"], json!(["10.1.2.3", "::1"]));
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn requests_are_counted_under_upstream_s_names() {
    let server = Server::start("metrics", None).await;
    server.text(CONFIG_MAPS).await;
    server.text(CONFIG_MAPS).await;
    let (_, watch) = server.send(Request::get(format!("{CONFIG_MAPS}?watch=1")), Value::Null).await;
    let labels = |verb: &str| {
        format!(
            "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"{verb}\",version=\"v1\""
        )
    };
    let text = server.text("/metrics").await;
    for line in [
        format!("apiserver_request_total{{code=\"200\",{}}} 2\n", labels("LIST")),
        format!("apiserver_request_duration_seconds_count{{{}}} 2\n", labels("LIST")),
        format!("apiserver_longrunning_requests{{{}}} 1\n", labels("WATCH")),
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n".to_owned(),
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\n".to_owned(),
        "apiserver_storage_objects{resource=\"namespaces\"} 4\n".to_owned(),
        "apiserver_audit_error_total{plugin=\"log\"} 0\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    drop(watch);
    let text = server.text("/metrics").await;
    assert!(!text.contains("apiserver_longrunning_requests{"), "{text}");
}

#[tokio::test]
async fn answers_tell_the_schema_and_level_they_were_served_under() {
    let server = Server::start("flow", None).await;
    let uid = async |path: &str| {
        let object: Value = serde_json::from_str(&server.text(path).await).expect("JSON");
        object["metadata"]["uid"].as_str().expect("a uid").to_owned()
    };
    let base = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let schema = uid(&format!("{base}/flowschemas/global-default")).await;
    let level = uid(&format!("{base}/prioritylevelconfigurations/global-default")).await;
    let jane = server.api.local(UserInfo::authenticated("jane", &[]), "test");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    // The table follows the store; it is there soon after the server has started.
    let told = loop {
        let request = Request::get("/version").body(Body::empty()).expect("a request");
        let reply = jane.clone().oneshot(request).await.expect("never fails");
        let header = |name: &str| {
            reply.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let told = (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"));
        if !told.0.is_empty() || std::time::Instant::now() > deadline {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(told, (schema, level));
    let text = server.text("/metrics").await;
    let executing = "apiserver_flowcontrol_current_executing_requests{flow_schema=\"exempt\",priority_level=\"exempt\"} 1\n";
    assert!(text.contains(executing), "{text}");
}

#[tokio::test]
async fn a_server_says_that_it_is_there() {
    let server = Server::start("presence", None).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity%3Dkube-apiserver";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let leases = loop {
        let list: Value = serde_json::from_str(&server.text(path).await).expect("JSON");
        let leases = list["items"].as_array().expect("items").clone();
        if !leases.is_empty() || std::time::Instant::now() > deadline {
            break leases;
        }
        tokio::task::yield_now().await;
    };
    let [lease] = leases.as_slice() else { panic!("one server") };
    let name = lease["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("apiserver-"), "{name}");
    let holder = lease["spec"]["holderIdentity"].as_str().expect("a holder");
    assert!(holder.starts_with(&format!("{name}_")), "{holder}");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
    assert!(
        server.text("/livez?verbose").await.contains("[+]poststarthook/priority-and-fairness-filter ok\n")
    );
}

/// Seats are taken before anybody asks whether the user may: a refusal, too, tells under which schema it was answered.
#[tokio::test]
async fn whoever_may_not_has_taken_seats_all_the_same() {
    let server = Server::start("refused", None).await;
    let jane = server.api.local(UserInfo::authenticated("jane", &[]), "test");
    let request = Request::get("/api/v1/pods").body(Body::empty()).expect("a request");
    let reply = jane.clone().oneshot(request).await.expect("never fails");
    assert_eq!(reply.status(), 403);
    let text = server.text("/metrics").await;
    let labels = "flow_schema=\"global-default\",priority_level=\"global-default\"";
    for line in [
        format!("apiserver_flowcontrol_dispatched_requests_total{{{labels}}} 1\n"),
        format!("apiserver_flowcontrol_work_estimated_seats_count{{{labels}}} 1\n"),
        format!("apiserver_flowcontrol_request_execution_seconds_count{{{labels},type=\"regular\"}} 1\n"),
        "apiserver_flowcontrol_upper_limit_seats{priority_level=\"global-default\"} 600\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    let page = "/debug/api_priority_and_fairness/dump_priority_levels";
    let request = Request::get(page).body(Body::empty()).expect("a request");
    assert_eq!(jane.oneshot(request).await.expect("never fails").status(), 403);
    let text = server.text(page).await;
    let row = text.lines().find(|line| line.starts_with("global-default,")).expect("a level");
    let cells: Vec<&str> = row.split(',').map(str::trim).collect();
    assert_eq!(cells, ["global-default", "0", "true", "false", "0", "0", "2", "0", "0", "0"]);
}

/// A watch holds seats until its first state is sent, and is counted for writers for as long as it lasts.
#[tokio::test]
async fn a_watch_gives_its_seats_back_and_writers_pay_for_it() {
    let server = Server::start("watchers", None).await;
    let jane = server.api.local(UserInfo::authenticated("jane", &[groups::MASTERS]), "test");
    let mut watches = Vec::new();
    for _ in 0..12 {
        let request = Request::get(format!("{CONFIG_MAPS}?watch=1")).body(Body::empty()).expect("a request");
        watches.push(jane.clone().oneshot(request).await.expect("never fails").into_body());
    }
    let map = json!({"metadata": {"name": "paid"}});
    assert_eq!(server.send(Request::post(CONFIG_MAPS), map).await.0, 201);
    let text = server.text("/metrics").await;
    let bucket = "apiserver_flowcontrol_watch_count_samples_bucket{flow_schema=\"exempt\",priority_level=\"exempt\",le=\"10\"} ";
    let count = |text: &str, start: &str| -> u64 {
        let line =
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
        line[start.len()..].parse().expect("a number")
    };
    let all = bucket.replace("le=\"10\"", "le=\"+Inf\"");
    assert_eq!(count(&text, &all), count(&text, bucket) + 1, "one write concerned twelve watches");
    drop(watches);
}
