//! The node's Lease: the cheap sign of life.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use tokio_util::sync::CancellationToken;

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How soon a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// After how many seconds without renewal the node counts as lost.
const DURATION_SECONDS: i32 = 40;

/// Renews the lease of a node until `shutdown`.
pub async fn run(client: kube::Client, node: Node, shutdown: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut last: Option<Lease> = None;
    loop {
        let renewed = renew(&api, &node, last.take()).await;
        let pause = match renewed {
            Ok(lease) => {
                last = Some(lease);
                RENEW_EVERY
            }
            Err(error) => {
                tracing::debug!(%error, "the node's lease cannot be renewed");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew(api: &Api<Lease>, node: &Node, last: Option<Lease>) -> Result<Lease, kube::Error> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let lease = match last {
        Some(lease) => Some(lease),
        None => api.get_opt(&name).await?,
    };
    match lease {
        Some(mut lease) => {
            lease.spec = Some(spec(&name));
            lease.metadata.owner_references.get_or_insert_with(|| vec![owner(node)]);
            api.replace(&name, &PostParams::default(), &lease).await
        }
        None => {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some("kube-node-lease".into()),
                    owner_references: Some(vec![owner(node)]),
                    ..ObjectMeta::default()
                },
                spec: Some(spec(&name)),
            };
            api.create(&PostParams::default(), &lease).await
        }
    }
}

fn spec(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    }
}

fn owner(node: &Node) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}
