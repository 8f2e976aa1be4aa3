//! The Node object's labels as they are now: a pod may be sent here for a label that the node got after it registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// A node's labels.
pub type Labels = BTreeMap<String, String>;

/// Keeps `labels` current until `shutdown`.
pub async fn follow(shared: Arc<Shared>, labels: watch::Sender<Labels>, shutdown: CancellationToken) {
    let api: Api<Node> = Api::all(shared.objects.client().clone());
    let own = watcher::Config::default().fields(&format!("metadata.name={}", shared.options.node_name));
    let mut nodes = std::pin::pin!(watcher(api, own).default_backoff().applied_objects());
    loop {
        let node = tokio::select! {
            () = shutdown.cancelled() => return,
            node = nodes.next() => node,
        };
        match node {
            Some(Ok(node)) => {
                let now = node.metadata.labels.unwrap_or_default();
                labels.send_if_modified(|known| {
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
            Some(Err(error)) => tracing::debug!(%error, "the own node's watch is opened again"),
            None => return,
        }
    }
}
