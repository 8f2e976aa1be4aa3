//! Credentials that this server itself knows: tokens that lie in Secrets, and those of a file.

use access::authn::TokenFile;
use access::tokens::kept::SecretClaims;
use access::tokens::{Reference, Signer};
use access::{UserInfo, groups};
use apiserver::{ApiServer, Config, Local, Remotes};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use raft_store::{Options, Seams, Store};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/robot";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

struct Server {
    admin: Local,
    signer: Signer,
}

impl Server {
    async fn start() -> Self {
        let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
        let signer = Signer::generate();
        let mut config = Config::new(signer.clone());
        let file = TokenFile::read("a-token,jane,7,\"a,b\"").expect("a file of tokens");
        config.remotes = Remotes::default().with_file(file);
        let api = ApiServer::new(config, store);
        api.bootstrap().await;
        let admin = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
        signer.wait().await.expect("a key");
        Self { admin, signer }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (HeaderMap, Value) {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(body)
            .expect("a request");
        let reply = self.admin.clone().oneshot(request).await.expect("never fails");
        let (parts, body) = reply.into_parts();
        let bytes = body.collect().await.expect("whole").to_bytes();
        let tree = serde_json::from_slice(&bytes).expect("JSON");
        assert!(parts.status.is_success(), "{method} {path}: {tree}");
        (parts.headers, tree)
    }

    /// A service account, and a Secret with a token of it.
    async fn keep(&self) -> String {
        let account = json!({"metadata": {"name": "robot"}});
        let (_, account) = self.send("POST", "/api/v1/namespaces/default/serviceaccounts", &account).await;
        let uid = account["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let reference = Reference { name: "robot".to_owned(), uid };
        let key = self.signer.key().expect("waited for");
        let token = key.sign_kept(&SecretClaims::new("default", &reference, "robot-token"));
        let secret = json!({
            "metadata": {
                "name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"},
            },
            "type": "kubernetes.io/service-account-token",
            "data": {"token": STANDARD.encode(&token)},
        });
        self.send("POST", SECRETS, &secret).await;
        token
    }

    async fn review(&self, token: &str) -> (HeaderMap, Value) {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let (headers, review) =
            self.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &review).await;
        (headers, review["status"].clone())
    }
}

#[tokio::test]
async fn a_token_in_a_secret_is_good_while_it_lies_there() {
    let server = Server::start().await;
    let token = server.keep().await;
    let (headers, status) = server.review(&token).await;
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(status["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(headers.get("warning"), None);
    let secret = format!("{SECRETS}/robot-token");
    let (_, noted) = server.send("GET", &secret, &Value::Null).await;
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    assert_eq!(noted["metadata"]["labels"][LAST_USED], *today);
    let (_, again) = server.send("GET", &secret, &Value::Null).await;
    server.review(&token).await;
    assert_eq!(again["metadata"]["resourceVersion"], noted["metadata"]["resourceVersion"], "once a day");

    server.send("PATCH", ACCOUNT, &json!({"secrets": [{"name": "robot-token"}]})).await;
    let (headers, status) = server.review(&token).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(
        headers["warning"],
        "299 - \"Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.\""
    );

    let label = json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}});
    server.send("PATCH", &secret, &label).await;
    let (_, status) = server.review(&token).await;
    let error = status["error"].as_str().expect("a reason");
    assert!(error.contains("the token in secret default/robot-token for service account default/robot has been marked invalid"), "{error}");

    server.send("DELETE", &secret, &Value::Null).await;
    let (_, status) = server.review(&token).await;
    assert_eq!(status["error"], "[invalid bearer token, Token has been invalidated]");
}

#[tokio::test]
async fn the_cluster_tells_since_when_uses_are_noted() {
    let server = Server::start().await;
    let path =
        "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
    let (_, map) = server.send("GET", path, &Value::Null).await;
    let since = map["data"]["since"].as_str().expect("a day");
    assert!(jiff::civil::Date::strptime("%Y-%m-%d", since).is_ok(), "{since}");
}

#[tokio::test]
async fn a_token_of_the_file_names_its_user() {
    let server = Server::start().await;
    let (_, status) = server.review("a-token").await;
    let user = json!({"username": "jane", "uid": "7", "groups": ["a", "b", "system:authenticated"]});
    assert_eq!(status["user"], user);
    let (_, status) = server.review("another").await;
    assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
}

/// The key is made while the server starts: who asks for it before then waits, and is not refused.
#[tokio::test]
async fn a_key_that_is_being_made_is_waited_for() {
    let store = Store::open(Options::in_memory(), Seams::system()).await.expect("a memory store opens");
    let signer = Signer::generate();
    let api = ApiServer::new(Config::new(signer.clone()), store);
    let admin = api.local(UserInfo::authenticated("admin", &[groups::MASTERS]), "test");
    let server = Server { admin, signer };

    let (_, keys) = server.send("GET", "/openid/v1/jwks", &Value::Null).await;

    assert_eq!(keys["keys"][0]["kid"], server.signer.key().expect("it is there now").id());
}
