//! Watches over nodes: gives up the silent, taints the unfit, evicts who does not tolerate it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runtime::{
    Cache, Client, DeleteOptions, Key, Next, PatchKind, Queue, Reconcile, Recorder, Regarding, Severity,
    Source, View as _, failure, time,
};
use serde_json::{Value, json};

use super::eviction::leave_at;
use super::health::{self, Plan, Readiness, View, may_evict};
use crate::views::node::Taint;
use crate::views::pod::on_node;
use crate::views::{Lease, Node, Pod};
use crate::{House, resources};

/// Nodes whose pods are asked to leave: one in this time, as upstream.
const EVICTION_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Why a node's pods are not asked to leave yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    No,
    /// Too many nodes are down; looked at again when that changes.
    ForCluster,
    /// Another node was drained just now.
    Until(Timestamp),
}

#[derive(Debug, Clone, PartialEq)]
struct Heard {
    /// What it last said: renewal of its lease and heartbeat of its Ready condition.
    words: (Option<Timestamp>, Option<Timestamp>),
    at: Timestamp,
    was_ready: bool,
}

struct Lifecycle {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    heard: Mutex<BTreeMap<String, Heard>>,
    next_eviction: Mutex<Timestamp>,
}

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>, nodes: &Cache<Node>) {
    let queue = Queue::<Key>::new();
    let leases = Cache::<Lease>::new();
    let changed = queue.clone();
    let others = nodes.clone();
    nodes.on_change(move |change| {
        changed.add(change.latest().metadata().key());
        // Whether a node may be drained depends on how many others are down.
        let readiness = |node: Option<&Arc<Node>>| node.map(|node| health::readiness(node));
        if readiness(change.old) != readiness(change.new) {
            let down = others.all().into_iter().filter(|node| health::readiness(node) != Readiness::Ready);
            for node in down {
                changed.add(node.metadata().key());
            }
        }
    });
    let renewed = queue.clone();
    leases.on_change(move |change| renewed.add(Key::new("", change.latest().metadata.name.clone())));
    let (placed, tainted) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let Some(pod) = change.new.filter(|pod| !pod.spec.node_name.is_empty()) else { return };
        let key = Key::new("", pod.spec.node_name.clone());
        let executes = tainted
            .get(&key)
            .is_some_and(|node| node.spec.taints.iter().any(|taint| taint.effect == "NoExecute"));
        if executes {
            placed.add(key);
        }
    });
    let namespace = format!("metadata.namespace={LEASE_NAMESPACE}");
    house.follow(&leases, Source::selected(&resources::LEASES, &namespace));
    let client = house.client("node-controller");
    let controller = Arc::new(Lifecycle {
        recorder: house.recorder(&client, "node-controller"),
        client,
        nodes: nodes.clone(),
        leases: leases.clone(),
        pods: pods.clone(),
        heard: Mutex::default(),
        next_eviction: Mutex::new(Timestamp::MIN),
    });
    let (nodes, pods) = (nodes.clone(), pods.clone());
    house.work(controller, queue, 4, async move {
        nodes.synced().await;
        pods.synced().await;
        leases.synced().await;
    });
}

impl Reconcile for Lifecycle {
    type Key = Key;

    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(node) = self.nodes.get(key) else {
            self.lock().remove(&key.name);
            return Ok(Next::Change);
        };
        let heard = self.listen(&node, now);
        let hold = self.hold(&node, now);
        let plan = health::plan(&View { node: &node, heard: heard.at, may_evict: hold == Hold::No, now });
        self.write(&node, &plan).await?;
        if plan.readiness != Readiness::Ready && heard.was_ready {
            let text = format!("Node {} status is now: NodeNotReady", key.name);
            let regarding = Regarding::new(&resources::NODES, &node.metadata);
            self.recorder.event(regarding, Severity::Normal, "NodeNotReady", text);
        }
        if plan.readiness == Readiness::Unknown || (plan.readiness == Readiness::NotReady && heard.was_ready)
        {
            self.mark_pods_not_ready(&key.name).await?;
        }
        if let Some(heard) = self.lock().get_mut(&key.name) {
            heard.was_ready = plan.readiness == Readiness::Ready;
        }
        let taints = plan.taints.as_deref().unwrap_or(&node.spec.taints);
        let evict_at = self.evict(&key.name, taints, now).await?;
        let turn = match hold {
            Hold::Until(at) if plan.readiness != Readiness::Ready => Some(at),
            _ => None,
        };
        let wake_at = [plan.wake_at, evict_at, turn].into_iter().flatten().min();
        Ok(match wake_at {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Next::Change,
        })
    }
}

impl Lifecycle {
    /// Notes when the node was last heard of. Our own clock counts, so that a node
    /// with a wrong one is not given up.
    fn listen(&self, node: &Node, now: Timestamp) -> Heard {
        let lease = self.leases.get(&Key::new(LEASE_NAMESPACE, node.metadata.name.clone()));
        let ready = node.condition("Ready");
        // A condition we wrote ourselves has the old heartbeat and so says nothing.
        let words = (
            lease.and_then(|lease| lease.spec.renew_time),
            ready.and_then(|ready| ready.last_heartbeat_time),
        );
        let mut all = self.lock();
        let heard = all.entry(node.metadata.name.clone()).or_insert_with(|| Heard {
            words,
            at: now,
            was_ready: health::readiness(node) == Readiness::Ready,
        });
        if heard.words != words {
            heard.words = words;
            heard.at = now;
        }
        heard.clone()
    }

    /// Writes conditions and taints; the taints only if nobody else changed the node meanwhile.
    async fn write(&self, node: &Node, plan: &Plan) -> Result<(), kube::Error> {
        let name = node.metadata.name.as_str();
        let mut version: Value = node.metadata.resource_version.as_str().into();
        if !plan.conditions.is_empty() {
            let patch = json!({ "status": { "conditions": plan.conditions } });
            let path = ("", name, "status");
            let written = self.client.patch(&resources::NODES, path, PatchKind::Strategic, &patch).await?;
            version = written.metadata.resource_version.into();
        }
        if let Some(taints) = &plan.taints {
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
            self.client.patch(&resources::NODES, ("", name, ""), PatchKind::Merge, &patch).await?;
        }
        Ok(())
    }

    /// Whether evicting the node's pods must wait: for the cluster to recover, or for its turn.
    fn hold(&self, node: &Node, now: Timestamp) -> Hold {
        let all = self.nodes.all();
        if !may_evict(node, all.iter().map(Arc::as_ref)) {
            return Hold::ForCluster;
        }
        let begun =
            |taint: &Taint| taint.effect == "NoExecute" && taint.key.starts_with("node.kubernetes.io/");
        if health::readiness(node) == Readiness::Ready || node.spec.taints.iter().any(begun) {
            return Hold::No;
        }
        let mut next = self.next_eviction.lock().expect("no holder panics");
        if now < *next {
            return Hold::Until(*next);
        }
        *next = now + EVICTION_PAUSE;
        Hold::No
    }

    /// Pods of a node that is silent are no longer known to be ready.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), kube::Error> {
        for pod in self.pods.group(&on_node(node)).iter().filter(|pod| pod.ready()) {
            let condition = json!({
                "type": "Ready",
                "status": "False",
                "lastTransitionTime": time::seconds(Timestamp::now()),
            });
            self.patch_pod(pod, json!({ "conditions": [condition] })).await?;
            let regarding = Regarding::new(&resources::PODS, &pod.metadata);
            self.recorder.event(regarding, Severity::Warning, "NodeNotReady", "Node is not ready".to_owned());
        }
        Ok(())
    }

    /// Evicts pods whose patience is over; tells when the next one's is.
    async fn evict(
        &self,
        node: &str,
        taints: &[Taint],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, kube::Error> {
        let mut next: Option<Timestamp> = None;
        if !taints.iter().any(|taint| taint.effect == "NoExecute") {
            return Ok(None);
        }
        for pod in self.pods.group(&on_node(node)).iter().filter(|pod| !pod.metadata.deleting()) {
            match leave_at(taints, &pod.spec.tolerations, now) {
                None => {}
                Some(at) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
                Some(_) => self.evict_one(pod).await?,
            }
        }
        Ok(next)
    }

    async fn evict_one(&self, pod: &Pod) -> Result<(), kube::Error> {
        let key = pod.metadata.key();
        let text = format!("Marking for deletion Pod {key}");
        self.recorder.event(
            Regarding::new(&resources::PODS, &pod.metadata),
            Severity::Normal,
            "TaintManagerEviction",
            text,
        );
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": time::seconds(Timestamp::now()),
        });
        self.patch_pod(pod, json!({ "conditions": [condition] })).await?;
        let options = DeleteOptions::of(&pod.metadata.uid);
        match self.client.delete(&resources::PODS, &key.namespace, &key.name, &options).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn patch_pod(&self, pod: &Pod, status: Value) -> Result<(), kube::Error> {
        let metadata = &pod.metadata;
        let patch = json!({ "metadata": { "uid": metadata.uid }, "status": status });
        let path = (metadata.namespace.as_str(), metadata.name.as_str(), "status");
        match self.client.patch(&resources::PODS, path, PatchKind::Strategic, &patch).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Heard>> {
        self.heard.lock().expect("no holder panics")
    }
}
