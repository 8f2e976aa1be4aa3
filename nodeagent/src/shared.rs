//! What all workers of one agent use together.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::Options;
use crate::container::downward::Place;
use crate::events::Recorder;
use crate::images::Images;
use crate::node::facts::Facts;
use crate::objects::Objects;
use crate::pod::spec;
use crate::runtime::Runtime;

/// Handles and facts; nothing in it changes.
pub struct Shared {
    /// How the agent was set up.
    pub options: Options,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// The runtime's name, which stands before every container id.
    pub runtime_name: String,
    /// ConfigMaps, Secrets, Services, tokens.
    pub objects: Objects,
    /// Pulls images.
    pub images: Images,
    /// Takes events.
    pub recorder: Recorder,
    /// The machine.
    pub facts: Facts,
}

impl Shared {
    /// The node's addresses, the main one first.
    pub fn node_ips(&self) -> Vec<String> {
        let second = self.options.node_ip_secondary;
        std::iter::once(self.options.node_ip).chain(second).map(|ip| ip.to_string()).collect()
    }

    /// What a pod with these addresses may learn about where it is.
    pub fn place(&self, pod: &Pod, pod_ips: &[String]) -> Place {
        let host_ips = self.node_ips();
        let pod_ips = if spec::host_network(pod) { host_ips.clone() } else { pod_ips.to_vec() };
        Place {
            host_ips,
            pod_ips,
            allocatable_cpu: i128::from(self.facts.cpu_millis),
            allocatable_memory: i128::from(self.facts.allocatable_memory()),
        }
    }
}
