//! The Leases by which one sees who controls and schedules.
//!
//! They decide nothing: writes of a former leader are refused by the store, whatever a Lease says. They are renewed far
//! less often than where everything hangs on them, because each renewal is a write.

use std::time::Duration;

use jiff::Timestamp;
use kinds::coordination::until_renewal;
use runtime::{Client, failure, time};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::resources;

const NAMESPACE: &str = "kube-system";
/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How soon a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long a renewal counts. Upstream's default, which tools may compare with the time of renewal.
const DURATION_SECONDS: i64 = 15;

/// Who this process is to those who look: the machine's name.
pub(crate) fn holder() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Keeps the lease of a component until cancelled.
pub(crate) async fn keep(client: Client, name: &'static str, holder: String, cancel: CancellationToken) {
    let mut last: Option<Value> = None;
    loop {
        let pause = match renew(&client, name, &holder, last.take()).await {
            Ok(lease) => {
                last = Some(lease);
                until_renewal(Timestamp::now(), RENEW_EVERY)
            }
            Err(error) => {
                tracing::debug!(%error, name, "a lease cannot be renewed");
                RETRY
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew(client: &Client, name: &str, holder: &str, last: Option<Value>) -> Result<Value, kube::Error> {
    let found = match last {
        Some(lease) => Ok(lease),
        None => client.get(&resources::LEASES, NAMESPACE, name).await,
    };
    match found {
        Ok(lease) => {
            let lease = renewed(lease, holder, Timestamp::now());
            client.update_whole(&resources::LEASES, (NAMESPACE, name, ""), &lease).await
        }
        Err(error) if failure::is_not_found(&error) => {
            let lease = renewed(new(name), holder, Timestamp::now());
            client.create_whole(&resources::LEASES, (NAMESPACE, "", ""), &lease).await
        }
        Err(error) => Err(error),
    }
}

fn new(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {},
    })
}

/// The lease as `holder` has it from now on. Another holder than before is a transition.
fn renewed(mut lease: Value, holder: &str, now: Timestamp) -> Value {
    let now = time::micros(now);
    let before = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    if before != holder {
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
        let is_first = before.is_empty();
        lease["spec"]["holderIdentity"] = json!(holder);
        lease["spec"]["acquireTime"] = json!(now);
        lease["spec"]["leaseTransitions"] = json!(transitions + i64::from(!is_first));
    }
    lease["spec"]["leaseDurationSeconds"] = json!(DURATION_SECONDS);
    lease["spec"]["renewTime"] = json!(now);
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_tells_who_holds_it_and_how_often_that_changed() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let first = renewed(new("kube-scheduler"), "a", at(0));
        assert_eq!(
            first["spec"],
            json!({
                "holderIdentity": "a",
                "acquireTime": "1970-01-01T00:00:00.000000Z",
                "leaseTransitions": 0,
                "leaseDurationSeconds": 15,
                "renewTime": "1970-01-01T00:00:00.000000Z",
            })
        );
        let same = renewed(first, "a", at(10));
        assert_eq!(same["spec"]["acquireTime"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(same["spec"]["renewTime"], "1970-01-01T00:00:10.000000Z");
        let other = renewed(same, "b", at(20));
        assert_eq!(other["spec"]["holderIdentity"], "b");
        assert_eq!(other["spec"]["acquireTime"], "1970-01-01T00:00:20.000000Z");
        assert_eq!(other["spec"]["leaseTransitions"], 1);
    }
}
