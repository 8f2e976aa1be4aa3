//! Reflectors against a server that answers from a script.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{Cache, Client, Expectations, Key, Metadata, Resource, Source, View};

static THINGS: Resource = Resource::namespaced("", "v1", "things", "Thing");

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Thing {
    metadata: Metadata,
}

impl View for Thing {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn groups(&self) -> Vec<String> {
        self.metadata.labels.get("group").cloned().into_iter().collect()
    }
}

fn thing(word: &str) -> Arc<Thing> {
    Arc::new(serde_json::from_value(tree(word)).expect("a thing"))
}

/// `NAME@VERSION` with an optional `=GROUP`.
fn tree(word: &str) -> serde_json::Value {
    let (word, group) = word.split_once('=').unwrap_or((word, "none"));
    let (name, version) = word.split_once('@').expect("a version");
    json!({ "metadata": {
        "name": name, "namespace": "a", "uid": format!("u-{name}"), "resourceVersion": version, "labels": { "group": group },
    } })
}

/// One answer: `list VERSION WORD...`, or `watch` and events: `+WORD`, `-WORD`,
/// `bookmark@VERSION`, `gone`, or `fail` with nothing else.
fn answer(script: &str) -> Response<Body> {
    let mut words = script.split_whitespace();
    let body = match words.next() {
        Some("list") => {
            let version = words.next().expect("a version");
            let items: Vec<serde_json::Value> = words.map(tree).collect();
            json!({ "metadata": { "resourceVersion": version }, "items": items }).to_string()
        }
        Some("watch") => words.map(|word| format!("{}\n", event(word))).collect(),
        _ => {
            let body = json!({ "kind": "Status", "status": "Failure", "code": 500, "message": "no", "reason": "InternalError" });
            let response = Response::builder().status(500).body(Body::from(body.to_string().into_bytes()));
            return response.expect("a response");
        }
    };
    Response::new(Body::from(body.into_bytes()))
}

fn event(word: &str) -> serde_json::Value {
    if word == "gone" {
        return json!({ "type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired", "message": "too old",
        } });
    }
    if let Some(version) = word.strip_prefix("bookmark@") {
        return json!({ "type": "BOOKMARK", "object": {
            "kind": "Thing", "apiVersion": "v1", "metadata": { "resourceVersion": version },
        } });
    }
    match word.split_at(1) {
        ("-", word) => json!({ "type": "DELETED", "object": tree(word) }),
        (_, word) => json!({ "type": "MODIFIED", "object": tree(word) }),
    }
}

/// Follows the script to its end; gives the requests made, the changes told, and the cache.
async fn follow(script: &[&'static str]) -> (Vec<String>, Vec<String>, Cache<Thing>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (asked, answers) = (Arc::clone(&requests), script.to_vec());
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut asked = asked.lock().expect("no panic");
        let query = request.uri().query().unwrap_or_default();
        let from = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
        asked.push(from.map_or("list".to_owned(), |from| format!("watch {from}")));
        let next = answers.get(asked.len() - 1).copied();
        let stop = stop.clone();
        async move {
            match next {
                Some(script) => Ok::<_, Infallible>(answer(script)),
                None => {
                    stop.cancel();
                    std::future::pending().await
                }
            }
        }
    });
    let cache = Cache::<Thing>::new();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&changes);
    cache.on_change(move |change| {
        let mark = match (change.old, change.new) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        told.lock().expect("no panic").push(format!("{mark}{}", change.latest().metadata.name));
    });
    let client = Client::new(kube::Client::new(service, "default"));
    cache.clone().follow(client, Source::all(&THINGS), cancel).await;
    let requests = requests.lock().expect("no panic").clone();
    let changes = changes.lock().expect("no panic").clone();
    (requests, changes, cache)
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_is_resumed_and_a_forgotten_place_listed_again() {
    let script = [
        "list 10 x@5 y@6=g",
        "watch +z@11 bookmark@15",
        "fail",
        "watch -x@16",
        "watch gone",
        "list 30 y@20 z@11",
    ];
    let (requests, changes, cache) = follow(&script).await;
    assert_eq!(requests, ["list", "watch 10", "watch 15", "watch 15", "watch 16", "list", "watch 30"]);
    assert_eq!(changes, ["+x", "+y", "+z", "-x", "~y"]);
    assert_eq!(cache.position(), 30);
    let names: Vec<String> = cache.all().iter().map(|thing| thing.metadata.name.clone()).collect();
    assert_eq!(names, ["y", "z"]);
    assert!(cache.group("g").is_empty());
    assert_eq!(cache.group("none").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_again() {
    let (requests, changes, _) = follow(&["fail", "fail", "list 3 x@2", "watch"]).await;
    assert_eq!(requests, ["list", "list", "list", "watch 3", "watch 3"]);
    assert_eq!(changes, ["+x"]);
}

#[test]
fn expectations_hold_until_the_cache_has_seen_the_writes() {
    let (cache, expectations) = (Cache::<Thing>::new(), Expectations::default());
    let key = Key::new("a", "owner");
    let at = |second| Timestamp::from_second(second).expect("in range");
    cache.replace(vec![thing("x@5")], 5);
    assert!(expectations.satisfied(&key, &cache, at(0)));
    expectations.wrote(&key, 7, at(0));
    expectations.deleted(&key, Key::new("a", "x"), "u-x".to_owned(), at(0));
    cache.put(thing("y@7"));
    assert!(!expectations.satisfied(&key, &cache, at(1)));
    cache.remove(&Key::new("a", "x"), 8);
    assert!(expectations.satisfied(&key, &cache, at(2)));
    expectations.wrote(&key, 99, at(2));
    assert!(!expectations.satisfied(&key, &cache, at(3)));
    assert!(expectations.satisfied(&key, &cache, at(400)));
}
