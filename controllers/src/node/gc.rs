//! Deletes pods nobody will delete otherwise: those of nodes that are gone, those
//! on their way out that never had a node, and ended ones when there are too many.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::client::PartialObject;
use runtime::{
    Cache, Client, DeleteOptions, Key, Next, PatchKind, Queue, Reconcile, View as _, failure, time,
};
use serde_json::json;

use crate::views::pod::on_node;
use crate::views::{Node, Pod};
use crate::{House, resources};

/// Ended pods that are kept, as upstream.
const ENDED_MAX: usize = 12_500;
/// A node that is gone may come back within this time.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Pause before counting ended pods, so that many make one count.
const COUNT_PAUSE: Duration = Duration::from_secs(20);

/// What to look at: a node by name, or all ended pods (empty name), or one pod.
struct PodGc {
    client: Client,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
}

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>, nodes: &Cache<Node>) {
    let queue = Queue::<Key>::new();
    let gone = queue.clone();
    nodes.on_change(move |change| {
        if change.new.is_none() {
            gone.add_after(change.latest().metadata().key(), QUARANTINE);
        }
    });
    let (changed, known) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let Some(pod) = change.new else { return };
        let node = Key::new("", pod.spec.node_name.clone());
        if node.name.is_empty() {
            if pod.metadata.deleting() {
                changed.add(pod.metadata.key());
            }
        } else if known.get(&node).is_none() {
            changed.add_after(node, QUARANTINE);
        }
        if pod.terminal() && change.old.is_none_or(|old| !old.terminal()) {
            changed.add_after(Key::default(), COUNT_PAUSE);
        }
    });
    let controller = Arc::new(PodGc {
        client: house.client("pod-garbage-collector"),
        nodes: nodes.clone(),
        pods: pods.clone(),
    });
    let (nodes, pods) = (nodes.clone(), pods.clone());
    house.work(controller, queue, 1, async move {
        nodes.synced().await;
        pods.synced().await;
    });
}

/// Ended pods beyond the limit, the oldest first.
fn surplus(pods: &[Arc<Pod>], max: usize) -> Vec<&Arc<Pod>> {
    let mut ended: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| pod.terminal() && !pod.metadata.deleting()).collect();
    ended.sort_by_key(|pod| (pod.metadata.creation_timestamp, pod.metadata.key()));
    let surplus = ended.len().saturating_sub(max);
    ended.truncate(surplus);
    ended
}

impl Reconcile for PodGc {
    type Key = Key;

    fn name(&self) -> &'static str {
        "pod-gc"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        if key.name.is_empty() {
            let pods = self.pods.all();
            for pod in surplus(&pods, ENDED_MAX) {
                self.delete(pod, "PodGC: node no longer exists").await?;
            }
        } else if key.namespace.is_empty() {
            self.collect_orphans(key).await?;
        } else if let Some(pod) = self.pods.get(key)
            && pod.spec.node_name.is_empty()
            && pod.metadata.deleting()
        {
            self.delete(&pod, "").await?;
        }
        Ok(Next::Change)
    }
}

impl PodGc {
    async fn collect_orphans(&self, node: &Key) -> Result<(), kube::Error> {
        let pods = self.pods.group(&on_node(&node.name));
        if self.nodes.get(node).is_some() || pods.is_empty() {
            return Ok(());
        }
        match self.client.get_metadata(&resources::NODES, "", &node.name).await {
            Ok(PartialObject { .. }) => return Ok(()),
            Err(error) if !failure::is_not_found(&error) => return Err(error),
            Err(_) => {}
        }
        for pod in &pods {
            self.delete(pod, "PodGC: node no longer exists").await?;
        }
        Ok(())
    }

    /// Deletes at once; a pod that has not ended is said to have failed before.
    async fn delete(&self, pod: &Pod, why: &str) -> Result<(), kube::Error> {
        let metadata = &pod.metadata;
        let (namespace, name) = (metadata.namespace.as_str(), metadata.name.as_str());
        if !pod.terminal() && !why.is_empty() {
            let condition = json!({
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": why,
                "lastTransitionTime": time::seconds(Timestamp::now()),
            });
            let patch = json!({ "metadata": { "uid": metadata.uid }, "status": { "phase": "Failed", "conditions": [condition] } });
            let path = (namespace, name, "status");
            match self.client.patch(&resources::PODS, path, PatchKind::Strategic, &patch).await {
                Err(error) if failure::is_not_found(&error) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::of(&metadata.uid) };
        match self.client.delete(&resources::PODS, namespace, name, &options).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ended_pods_go() {
        let pod = |name: &str, phase: &str, created: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": { "name": name, "creationTimestamp": created },
                    "status": { "phase": phase },
                }))
                .unwrap(),
            )
        };
        let pods = [
            pod("a", "Succeeded", "2026-01-03T00:00:00Z"),
            pod("b", "Running", "2026-01-01T00:00:00Z"),
            pod("c", "Failed", "2026-01-02T00:00:00Z"),
        ];
        let names =
            |max| surplus(&pods, max).iter().map(|pod| pod.metadata.name.clone()).collect::<Vec<String>>();
        assert_eq!(names(1), ["c"]);
        assert_eq!(names(0), ["c", "a"]);
        assert!(names(2).is_empty());
    }
}
