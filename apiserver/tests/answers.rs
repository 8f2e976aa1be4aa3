//! Answers of the whole API in memory where no pure function holds the cause: one table for each, against a fresh server.
//!
//! A step is `METHOD PATH BODY | CODE PLACE=VALUE ...`. BODY may be left out. A PLACE is a JSON pointer into the answer,
//! VALUE its JSON, or `-` for what must be absent. A path beginning with `NAME@` is asked for as that user.

use access::tokens::Signer;
use access::{UserInfo, groups, users};
use apiserver::{ApiServer, Config};
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use raft_store::{Options, Seams, Store};
use serde_json::Value;
use tower::Service as _;

struct Step<'a> {
    user: &'a str,
    method: &'a str,
    path: &'a str,
    body: &'a str,
    code: u16,
    places: Vec<(&'a str, &'a str)>,
}

impl<'a> Step<'a> {
    fn parse(line: &'a str) -> Self {
        let (request, answer) = line.split_once(" | ").expect("a request and an answer");
        let mut words = request.trim().splitn(3, ' ');
        let method = words.next().expect("a method");
        let path = words.next().expect("a path");
        let (user, path) = path.split_once('@').unwrap_or((users::ADMIN, path));
        let mut answer = answer.split_whitespace();
        let code = answer.next().expect("a code").parse().expect("a number");
        let places = answer.map(|place| place.split_once('=').expect("PLACE=VALUE")).collect();
        Self { user, method, path, body: words.next().unwrap_or_default(), code, places }
    }

    fn request(&self) -> Request<Body> {
        let media = if self.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("content-type", media)
            .body(Body::from(self.body.to_owned()))
            .expect("a request")
    }
}

async fn ask(api: &ApiServer, step: &Step<'_>) -> (u16, Value) {
    let group = match step.user {
        users::ADMIN => groups::MASTERS,
        user if user.starts_with("system:node:") => "system:nodes",
        _ => "nobody",
    };
    let mut client = api.local(UserInfo::authenticated(step.user, &[group]), "table/1");
    let answer: Response<Body> = match client.call(step.request()).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn check(steps: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a store");
        let api = ApiServer::new(Config::new(Signer::generate()), store.clone());
        api.bootstrap().await;
        for line in steps.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let step = Step::parse(line);
            let (code, body) = ask(&api, &step).await;
            assert_eq!(code, step.code, "{line}\n{body}");
            for (place, wanted) in &step.places {
                let got = body.pointer(place).map_or_else(|| "-".to_owned(), Value::to_string);
                assert_eq!(got, *wanted, "{line}\n{place} in {body}");
            }
        }
        api.stop();
        store.shutdown().await;
    });
}

#[test]
fn an_empty_list_comes_back_from_the_store_as_null() {
    check(
        r#"
        POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles {"metadata":{"name":"r"},"rules":[]} | 201 /rules=null
        POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles?dryRun=All {"metadata":{"name":"d"},"rules":[]} | 201 /rules=null
        GET /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/r | 200 /rules=null
        "#,
    );
}

#[test]
// A dry run needs no signing key, which takes its time to be made.
fn reviews_and_token_requests_tell_who_asked() {
    check(
        r#"
        POST /apis/authentication.k8s.io/v1/tokenreviews {"spec":{"token":"x"}} | 201 /metadata/managedFields/0/manager="table"
        POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews {"spec":{"namespace":"default"}} | 201 /metadata/managedFields=- /spec={}
        POST /api/v1/namespaces/default/serviceaccounts {"metadata":{"name":"a"}} | 201
        POST /api/v1/namespaces/default/serviceaccounts/a/token?dryRun=All {} | 201 /metadata/managedFields/0/subresource="token" /metadata/managedFields/0/fieldsV1={"f:spec":{"f:expirationSeconds":{}}}
        "#,
    );
}

/// What every pod of these tables is made of.
const POD: &str = r#""spec":{"automountServiceAccountToken":false,"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]"#;

fn with_pods(steps: &str) -> String {
    let accounts = r#"POST /api/v1/namespaces/default/serviceaccounts {"metadata":{"name":"default"}} | 201"#;
    format!("{accounts}\n{}", steps.replace("POD", POD))
}

#[test]
fn evictions_are_admitted_as_evictions_and_leave_a_mark() {
    check(&with_pods(
        r#"
        POST /api/v1/nodes {"metadata":{"name":"n"}} | 201
        POST /api/v1/namespaces/default/pods {"metadata":{"name":"p"},POD,"nodeName":"other"}} | 201
        POST system:node:n@/api/v1/namespaces/default/pods/p/eviction {"metadata":{"name":"p"}} | 403 /details/name="p"
        POST /api/v1/namespaces/default/pods/p/eviction {"apiVersion":"policy/v1beta1","kind":"Eviction","metadata":{"name":"p"}} | 201
        GET /api/v1/namespaces/default/pods/p | 200 /status/conditions/0/type="DisruptionTarget" /metadata/deletionGracePeriodSeconds=30
        "#,
    ));
}

#[test]
fn a_resize_needs_a_node_that_is_there_and_large_enough() {
    let resize = r#"{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"2"}}}]}}"#;
    check(&with_pods(&format!(
        r#"
        POST /api/v1/namespaces/default/pods {{"metadata":{{"name":"p"}},POD,"nodeName":"n"}}}} | 201
        PATCH /api/v1/namespaces/default/pods/p/resize {resize} | 403
        POST /api/v1/nodes {{"metadata":{{"name":"n"}},"status":{{"allocatable":{{"cpu":"1500m"}}}}}} | 201
        PATCH /api/v1/namespaces/default/pods/p/resize {resize} | 403 /details/causes/0/reason="NodeCapacity"
        PATCH /api/v1/nodes/n/status {{"status":{{"allocatable":{{"cpu":"2"}}}}}} | 200
        PATCH /api/v1/namespaces/default/pods/p/resize {resize} | 200
        "#
    )));
}

#[test]
fn a_dry_run_asks_whether_a_node_port_is_taken_but_not_for_its_range() {
    check(
        r#"
        POST /api/v1/namespaces/default/services {"metadata":{"name":"a"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30555}]}} | 201
        POST /api/v1/namespaces/default/services?dryRun=All {"metadata":{"name":"b"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30555}]}} | 422 /details/causes/0/field="spec.ports[0].nodePort"
        POST /api/v1/namespaces/default/services?dryRun=All {"metadata":{"name":"b"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":80}]}} | 201
        "#,
    );
}

#[test]
fn events_are_found_by_the_fields_of_either_group() {
    check(
        r#"
        POST /apis/events.k8s.io/v1/namespaces/default/events {"metadata":{"name":"e"},"regarding":{"kind":"Pod","namespace":"default","name":"p"},"reason":"R","type":"Normal","action":"A","reportingController":"a.io/c","reportingInstance":"i","eventTime":"2020-01-01T00:00:00.000001Z"} | 201
        GET /api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3DR | 200 /items/0/metadata/name="e"
        GET /apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp | 200 /items/0/metadata/name="e"
        "#,
    );
}

#[test]
fn proxies_go_only_where_pods_are() {
    check(&with_pods(
        r#"
        POST /api/v1/namespaces/default/pods {"metadata":{"name":"p"},POD}} | 201
        GET /api/v1/namespaces/default/pods/p/proxy/ | 400 /reason="BadRequest"
        GET /api/v1/namespaces/default/services/none/proxy/ | 404 /details/kind="services"
        POST /api/v1/namespaces/default/endpoints {"metadata":{"name":"e"}} | 201
        GET /api/v1/namespaces/default/services/e/proxy/ | 503
        GET /api/v1/namespaces/default/services/ftp:e:80/proxy/ | 400
        "#,
    ));
}

#[test]
fn pods_keep_to_the_standard_of_their_namespace() {
    check(&with_pods(
        r#"
        POST /api/v1/namespaces {"metadata":{"name":"x","labels":{"pod-security.kubernetes.io/enforce":"strict"}}} | 422
        PATCH /api/v1/namespaces/default {"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}} | 200
        POST /api/v1/namespaces/default/pods {"metadata":{"name":"p"},POD,"hostPID":true}} | 403 /details/name="p"
        POST /api/v1/namespaces/default/pods {"metadata":{"name":"p"},POD}} | 201
        PATCH /api/v1/namespaces/default {"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}} | 200
        PATCH /api/v1/namespaces/default/pods/p {"metadata":{"labels":{"a":"b"}}} | 200
        "#,
    ));
}
