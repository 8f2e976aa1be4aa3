//! The identity Lease of this server: kube-system tells which API servers there are. Decides its name and when another's is
//! too old to be believed; it is written through the same chain as every client's.

use crate::local::Local;
use crate::server::Inner;
use access::{UserInfo, groups, users};
use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use kinds::coordination::until_renewal;
use kinds::tree::{int_at, list_at, str_at};
use schema::Tree;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// Seconds after which a Lease that nobody renewed says nothing any more, as upstream's.
const LEASE_SECONDS: i64 = 3600;
/// How often it is renewed. Upstream does so every ten seconds, but a renewal is a write on every server, and a Lease that
/// lasts an hour says as much when it is a minute old.
const RENEW: Duration = Duration::from_secs(60);
/// How often the leader looks for those of servers that are gone, as upstream.
const LOOK: Duration = Duration::from_secs(3600);
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const COMPONENT: &str = "kube-apiserver";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Renews the Lease, and on the leader removes those of servers that are gone, until the server stops.
pub(crate) async fn run(server: Arc<Inner>) {
    let user = UserInfo::authenticated(users::APISERVER, &[groups::MASTERS]);
    let client = Local::new(server.clone(), user, COMPONENT);
    let name = name(&server.config.identity);
    let holder = format!("{name}_{}", crate::clock::uid(&server.seams));
    let (mut held, mut looked) = (None, None);
    loop {
        held = renew(&server, &client, &name, &holder, held).await;
        let now = server.seams.clock.now();
        let is_due = looked.is_none_or(|at| now.saturating_sub(at) >= LOOK);
        if held.is_some() && is_due && server.store.term().is_some() {
            remove_old(&server, &client).await;
            looked = Some(now);
        }
        let now = crate::clock::now(&server.seams);
        let pause = if held.is_some() { until_renewal(now, RENEW) } else { RETRY };
        tokio::select! {
            () = server.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The Lease as it is after it was renewed, and unless somebody else wrote it, as it is next time.
async fn renew(server: &Inner, client: &Local, name: &str, holder: &str, held: Option<Tree>) -> Option<Tree> {
    let path = format!("{LEASES}/{name}");
    let found = match held {
        Some(lease) => Some(lease),
        None => ask(client, Request::get(&path), &Tree::Null).await,
    };
    let is_there = found.is_some();
    let mut lease = found.unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-system"},
        })
    });
    lease["metadata"]["labels"][LABEL] = json!(COMPONENT);
    lease["metadata"]["labels"]["kubernetes.io/hostname"] = json!(server.config.hostname);
    lease["spec"]["holderIdentity"] = json!(holder);
    lease["spec"]["leaseDurationSeconds"] = json!(LEASE_SECONDS);
    let now = crate::clock::now(&server.seams).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    lease["spec"]["renewTime"] = json!(now);
    let request = if is_there { Request::put(path) } else { Request::post(LEASES) };
    ask(client, request.header(CONTENT_TYPE, "application/json"), &lease).await
}

async fn remove_old(server: &Inner, client: &Local) {
    let path = format!("{LEASES}?labelSelector={LABEL}%3D{COMPONENT}");
    let Some(list) = ask(client, Request::get(path), &Tree::Null).await else { return };
    let now = crate::clock::now(&server.seams);
    for lease in list_at(&list, "items").iter().filter(|lease| is_old(lease, now)) {
        let path = format!("{LEASES}/{}", str_at(lease, "metadata.name"));
        let options =
            json!({"preconditions": {"resourceVersion": str_at(lease, "metadata.resourceVersion")}});
        // Refused when its server has come back just now.
        let _ = ask(client, Request::delete(path).header(CONTENT_TYPE, "application/json"), &options).await;
    }
}

/// The answer's object, if the request was granted.
async fn ask(client: &Local, request: http::request::Builder, body: &Tree) -> Option<Tree> {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let Ok(reply) = client.clone().oneshot(request.body(body).ok()?).await;
    let succeeded = reply.status().is_success();
    let bytes = reply.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&bytes).ok().filter(|_| succeeded)
}

/// `apiserver-` and the first sixteen bytes of the identity's hash in base 32, as upstream names them.
fn name(identity: &str) -> String {
    let digest = Sha256::digest(identity);
    let (mut text, mut bits, mut count) = (String::from("apiserver-"), 0_u32, 0);
    for byte in &digest[..16] {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count) & 31) as usize]));
    }
    text
}

/// A Lease that does not say when it ends is none of a server's.
fn is_old(lease: &Tree, now: Timestamp) -> bool {
    let lasts = int_at(lease, "spec.leaseDurationSeconds").map(SignedDuration::from_secs);
    let renewed = str_at(lease, "spec.renewTime").parse::<Timestamp>();
    match (lasts, renewed) {
        (Some(lasts), Ok(renewed)) => now.duration_since(renewed) > lasts,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_hash_in_base_32() {
        // SHA-256 of nothing begins e3b0c44298fc1c149afbf4c8996fb924.
        assert_eq!(name(""), "apiserver-4oymiquy7qobjgx36tejs35zeq");
        assert_ne!(name("a"), name("b"));
    }

    #[test]
    fn a_lease_is_old_when_its_time_is_over() {
        let lease = json!({"spec": {"leaseDurationSeconds": 10, "renewTime": "1970-01-01T00:00:05.000000Z"}});
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert!(!is_old(&lease, at(15)));
        assert!(is_old(&lease, at(16)));
        assert!(is_old(&json!({"spec": {}}), at(16)), "it does not say when it ends");
    }
}
