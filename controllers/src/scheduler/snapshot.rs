//! The cluster as the scheduler counts it; changed by each change, never rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::request::{Amounts, Request};
use super::view::{Node, Pod};

/// A port a pod has on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) ip: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

impl HostPort {
    /// Whether both cannot be had on one node.
    pub(crate) fn collides(&self, other: &HostPort) -> bool {
        let same = self.port == other.port && self.protocol == other.protocol;
        same && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

fn any(ip: &str) -> bool {
    ip.is_empty() || ip == "0.0.0.0" || ip == "::"
}

/// Ports a pod wants on its node.
pub(crate) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    ports
        .filter(|port| port.host_port > 0)
        .map(|port| HostPort {
            ip: port.host_ip.clone(),
            protocol: port.protocol.clone(),
            port: port.host_port,
        })
        .collect()
}

/// A pod counted on a node.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) pod: Arc<Pod>,
    pub(crate) request: Request,
    pub(crate) ports: Vec<HostPort>,
}

/// A node and what is on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeState {
    /// `None` while pods name a node that is not there.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) allocatable: Amounts,
    pub(crate) requested: Amounts,
    pub(crate) nonzero: Amounts,
    /// Pods by uid.
    pub(crate) pods: BTreeMap<String, Placed>,
}

impl NodeState {
    fn put(&mut self, placed: Placed) {
        self.requested.add(&placed.request.exact);
        self.nonzero.add(&placed.request.nonzero);
        self.pods.insert(placed.pod.metadata.uid.clone(), placed);
    }

    fn take(&mut self, uid: &str) {
        if let Some(placed) = self.pods.remove(uid) {
            self.requested.subtract(&placed.request.exact);
            self.nonzero.subtract(&placed.request.nonzero);
        }
    }
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    nodes: BTreeMap<String, NodeState>,
    /// Node of each counted pod, by uid.
    placed: BTreeMap<String, String>,
    /// Number of nodes that have an image, by its name.
    images: BTreeMap<String, usize>,
}

impl Snapshot {
    /// Nodes that are there, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Node, &NodeState)> {
        self.nodes.values().filter_map(|state| Some((state.node.as_deref()?, state)))
    }

    pub(crate) fn nodes_with_image(&self, name: &str) -> usize {
        self.images.get(name).copied().unwrap_or(0)
    }

    /// Takes in a node that was created or changed.
    pub(crate) fn put_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone();
        self.count_images(&name, false);
        let state = self.nodes.entry(name.clone()).or_default();
        state.allocatable = Amounts::of(&node.status.allocatable);
        state.node = Some(node);
        self.count_images(&name, true);
    }

    /// Takes out a node; its pods are counted until they are gone themselves.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.count_images(name, false);
        if let Some(state) = self.nodes.get_mut(name) {
            state.node = None;
        }
        self.drop_if_empty(name);
    }

    /// Counts a pod on a node, wherever it was counted before.
    pub(crate) fn place(&mut self, pod: Arc<Pod>, node: &str) {
        let uid = pod.metadata.uid.clone();
        self.unplace(&uid);
        let placed = Placed { request: Request::of(&pod), ports: host_ports(&pod), pod };
        self.nodes.entry(node.to_owned()).or_default().put(placed);
        self.placed.insert(uid, node.to_owned());
    }

    /// Counts a pod no more.
    pub(crate) fn unplace(&mut self, uid: &str) {
        let Some(node) = self.placed.remove(uid) else { return };
        if let Some(state) = self.nodes.get_mut(&node) {
            state.take(uid);
        }
        self.drop_if_empty(&node);
    }

    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    fn drop_if_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|state| state.node.is_none() && state.pods.is_empty()) {
            self.nodes.remove(name);
        }
    }

    fn count_images(&mut self, name: &str, there: bool) {
        let Some(node) = self.nodes.get(name).and_then(|state| state.node.clone()) else { return };
        for image in node.status.images.iter().flat_map(|image| &image.names) {
            let count = self.images.entry(image.clone()).or_default();
            *count = if there { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.images.remove(image);
            }
        }
    }
}
