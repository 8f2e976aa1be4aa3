//! A Kubernetes API in memory, as small as the agent can live with: objects by path, lists, watches, status
//! patches, graceful deletion, tokens. It validates nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

type Body = BoxBody<Bytes, Infallible>;

#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    objects: Mutex<BTreeMap<String, Value>>,
    revision: Mutex<u64>,
    changes: broadcast::Sender<(String, Value)>,
}

impl Api {
    pub fn new() -> Self {
        let (changes, _) = broadcast::channel(4096);
        Api(Arc::new(Inner { objects: Mutex::default(), revision: Mutex::new(1), changes }))
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Puts an object at the path of its collection.
    pub fn put(&self, collection: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let path = format!("{collection}/{name}");
        let known = self.0.objects.lock().expect("lock").contains_key(&path);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.next()));
        }
        if object["metadata"]["creationTimestamp"].is_null() {
            object["metadata"]["creationTimestamp"] = json!("2026-07-01T10:00:00Z");
        }
        if let Some(start) = collection.find("/namespaces/") {
            let rest = &collection[start + 12..];
            object["metadata"]["namespace"] = json!(rest.split('/').next().expect("a namespace"));
        }
        self.store(&path, object, if known { "MODIFIED" } else { "ADDED" })
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.objects.lock().expect("lock").get(path).cloned()
    }

    pub fn all(&self, collection: &str) -> Vec<Value> {
        let prefix = format!("{collection}/");
        let objects = self.0.objects.lock().expect("lock");
        let belongs = |path: &str| path.starts_with(&prefix) || matches_all(collection, path);
        objects.iter().filter(|(path, _)| belongs(path)).map(|(_, object)| object.clone()).collect()
    }

    /// As `kubectl delete` does; zero seconds remove at once.
    pub fn delete(&self, path: &str, grace: i64) {
        let Some(mut object) = self.get(path) else { return };
        if grace == 0 {
            self.0.objects.lock().expect("lock").remove(path);
            object["metadata"]["resourceVersion"] = json!(self.next().to_string());
            let _ = self.0.changes.send((path.to_owned(), json!({"type": "DELETED", "object": object})));
            return;
        }
        object["metadata"]["deletionTimestamp"] = json!("2026-07-01T10:00:00Z");
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.store(path, object, "MODIFIED");
    }

    fn next(&self) -> u64 {
        let mut revision = self.0.revision.lock().expect("lock");
        *revision += 1;
        *revision
    }

    fn store(&self, path: &str, mut object: Value, kind: &str) -> Value {
        object["metadata"]["resourceVersion"] = json!(self.next().to_string());
        self.0.objects.lock().expect("lock").insert(path.to_owned(), object.clone());
        let _ = self.0.changes.send((path.to_owned(), json!({"type": kind, "object": object})));
        object
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if parts.method == Method::GET && query.contains("watch=true") {
            return self.watch(path);
        }
        if parts.method == Method::POST && path.ends_with("/token") {
            let status = json!({"token": "a.b.c", "expirationTimestamp": "2099-01-01T00:00:00Z"});
            return reply(
                StatusCode::CREATED,
                &json!({"kind": "TokenRequest", "metadata": {}, "spec": {"audiences": []}, "status": status}),
            );
        }
        let object = path.strip_suffix("/status").unwrap_or(&path).to_owned();
        match parts.method {
            Method::GET if is_collection(&path) => {
                let items = self.all(&path);
                let revision = self.0.revision.lock().expect("lock").to_string();
                reply(
                    StatusCode::OK,
                    &json!({"kind": "List", "metadata": {"resourceVersion": revision}, "items": items}),
                )
            }
            Method::GET => self.get(&object).map_or_else(not_found, |object| reply(StatusCode::OK, &object)),
            Method::POST => reply(StatusCode::CREATED, &self.put(&path, body)),
            Method::PUT => reply(StatusCode::OK, &self.store(&object, body, "MODIFIED")),
            Method::PATCH => match self.get(&object) {
                None => not_found(),
                Some(mut present) => {
                    merge(&mut present, body);
                    reply(StatusCode::OK, &self.store(&object, present, "MODIFIED"))
                }
            },
            Method::DELETE => {
                let grace = body["gracePeriodSeconds"].as_i64().unwrap_or(30);
                self.delete(&object, grace);
                reply(
                    StatusCode::OK,
                    &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
                )
            }
            _ => not_found(),
        }
    }

    fn watch(&self, collection: String) -> Response<Body> {
        let prefix = format!("{collection}/");
        let changes = BroadcastStream::new(self.0.changes.subscribe());
        // Changes between the list and the watch would be lost; the tests begin to change things later.
        let frames = changes.filter_map(move |change| {
            let line = match change {
                Ok((path, event)) if path.starts_with(&prefix) || matches_all(&collection, &path) => {
                    Some(Ok(Frame::data(Bytes::from(format!("{event}\n")))))
                }
                _ => None,
            };
            std::future::ready(line)
        });
        Response::new(BodyExt::boxed(StreamBody::new(frames)))
    }
}

/// A collection over all namespaces holds what is in each.
fn matches_all(collection: &str, path: &str) -> bool {
    let kind = collection.rsplit('/').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    !collection.contains("/namespaces/")
        && parts.contains(&"namespaces")
        && parts.iter().rev().nth(1) == Some(&kind)
}

fn is_collection(path: &str) -> bool {
    const KINDS: [&str; 8] =
        ["pods", "services", "nodes", "configmaps", "secrets", "events", "leases", "serviceaccounts"];
    path.rsplit('/').next().is_some_and(|last| KINDS.contains(&last))
}

/// Maps are merged, null removes, conditions are merged by type.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(&key)),
                    Value::Array(items) if key == "conditions" => {
                        merge_conditions(into.entry(key).or_insert(json!([])), items);
                    }
                    Value::Array(items) => {
                        let keep = |item: &Value| item.get("$patch").is_none();
                        into.insert(key, items.into_iter().filter(keep).collect());
                    }
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, patch) => {
            *into = patch;
            if let Value::Object(map) = into {
                map.retain(|_, value| !value.is_null());
            }
        }
    }
}

fn merge_conditions(into: &mut Value, items: Vec<Value>) {
    let list = into.as_array_mut().expect("a list");
    for item in items {
        match list.iter_mut().find(|other| other["type"] == item["type"]) {
            Some(other) => merge(other, item),
            None => list.push(item),
        }
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(body).expect("a response")
}

fn not_found() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "not found", "reason": "NotFound", "code": 404});
    reply(StatusCode::NOT_FOUND, &status)
}
