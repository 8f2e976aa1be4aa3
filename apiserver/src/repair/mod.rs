//! Addresses of Services are kept in IPAddress objects, and anybody may delete or change those: every three minutes the server
//! that leads puts back what is missing, takes away what belongs to nobody, and says so in events. What is to be done is
//! decided by the pure [`plan`]; it is done through the same chain as every client's requests.

mod plan;

use crate::admission::service_addresses;
use crate::catalog;
use crate::clock;
use crate::local::Local;
use crate::server::Inner;
use access::{UserInfo, groups, users};
use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use kinds::tree::str_at;
use plan::{Note, Repair};
use schema::Tree;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// How often all of them are looked at, as upstream.
const PERIOD: Duration = Duration::from_secs(180);
/// Who says it in events.
const REPORTER: &str = "ipallocator-repair-controller";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

/// Repairs until the server stops.
pub(crate) async fn run(server: Arc<Inner>) {
    let user = UserInfo::authenticated(users::APISERVER, &[groups::MASTERS]);
    let client = Local::new(server.clone(), user, "kube-apiserver");
    loop {
        if server.store.term().is_some() {
            once(&server, &client).await;
        }
        tokio::select! {
            () = server.stopping.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Looks at everything once.
async fn once(server: &Arc<Inner>, client: &Local) {
    let now = clock::now(&server.seams);
    let looking = server.clone();
    // Every Service is read: that is not for a thread that answers requests.
    let planned = tokio::task::spawn_blocking(move || {
        let all = |group: &str, plural: &str| -> Vec<Tree> {
            let Some(kind) = catalog::find(group, "v1", plural) else { return Vec::new() };
            let view = looking.store.view();
            view.list(&kind.stored_as, None, None)
                .filter_map(|entry| looking.codec.tree(kind, entry, entry.revision).ok())
                .collect()
        };
        plan::plan(&all("", "services"), &all("networking.k8s.io", "ipaddresses"), now)
    });
    // A panic in it was logged where it happened; the next look comes.
    for repair in planned.await.unwrap_or_default() {
        perform(server, client, &repair, now).await;
    }
}

async fn perform(server: &Inner, client: &Local, repair: &Repair, now: Timestamp) {
    let note = repair.note();
    tracing::warn!(note = %note.text, "repairing the address of a service");
    tell(server, client, note, now).await;
    if let Some(old) = repair.removed() {
        let options = json!({"preconditions": {
            "uid": str_at(old, "metadata.uid"), "resourceVersion": str_at(old, "metadata.resourceVersion"),
        }});
        let path = format!("{ADDRESSES}/{}", str_at(old, "metadata.name"));
        // Refused when somebody has changed it since: the next look sees how.
        if !ask(client, Request::delete(path), &options).await {
            return;
        }
    }
    if let Some((service, address)) = repair.made() {
        ask(client, Request::post(ADDRESSES), &service_addresses::object(service, address)).await;
    }
}

async fn tell(server: &Inner, client: &Local, note: &Note, now: Timestamp) {
    let namespace = match str_at(&note.about, "namespace") {
        "" => "default",
        namespace => namespace,
    };
    let time = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let nanoseconds = now.as_nanosecond();
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("{}.{nanoseconds:x}", str_at(&note.about, "name")), "namespace": namespace},
        "eventTime": time, "type": "Warning", "reason": note.reason, "action": note.action, "note": note.text,
        "regarding": note.about,
        "reportingController": REPORTER,
        "reportingInstance": format!("{REPORTER}-{}", server.config.hostname),
    });
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    ask(client, Request::post(path), &event).await;
}

/// Whether it was granted.
async fn ask(client: &Local, request: http::request::Builder, body: &Tree) -> bool {
    let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()));
    let Ok(request) = request else { return false };
    let Ok(reply) = client.clone().oneshot(request).await;
    reply.status().is_success()
}
