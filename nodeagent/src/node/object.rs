//! The Node object: what it holds at registration, and its status. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proto::cri::Image;

use super::facts::Facts;
use crate::Options;

/// Images that are listed; the largest are chosen.
const IMAGES_MAX: usize = 50;
/// Names that are listed of one image.
const NAMES_MAX: usize = 5;

/// What is observed at one moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Why pods cannot run now; none when they can.
    pub not_ready: Option<String>,
    /// Images on the node.
    pub images: Vec<Image>,
    /// The runtime, as `containerd://1.6.20`.
    pub runtime_version: String,
    /// The port of the HTTPS server; none when there is none.
    pub port: Option<u16>,
    /// The time.
    pub now: Timestamp,
}

/// Labels that a node has by itself.
pub fn own_labels(options: &Options, facts: &Facts) -> BTreeMap<String, String> {
    let arch = facts.architecture.as_str();
    let own = [
        ("kubernetes.io/hostname", options.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.chain(options.node_labels.iter().cloned()).collect()
}

/// The object as it is first created.
pub fn fresh(options: &Options, facts: &Facts, moment: &Moment) -> Node {
    let annotation = "volumes.kubernetes.io/controller-managed-attach-detach";
    Node {
        metadata: ObjectMeta {
            name: Some(options.node_name.clone()),
            labels: Some(own_labels(options, facts)),
            annotations: Some([(annotation.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(k8s_openapi::api::core::v1::NodeSpec::default()),
        status: Some(status(options, facts, moment, &NodeStatus::default())),
    }
}

/// The status at a moment; `old` keeps the times of changes.
pub fn status(options: &Options, facts: &Facts, moment: &Moment, old: &NodeStatus) -> NodeStatus {
    let quantities = |memory: u64, disk: u64| -> BTreeMap<String, Quantity> {
        let cpu = match facts.cpu_millis % 1000 {
            0 => (facts.cpu_millis / 1000).to_string(),
            _ => format!("{}m", facts.cpu_millis),
        };
        [
            ("cpu", cpu),
            ("memory", format!("{}Ki", memory / 1024)),
            (
                "ephemeral-storage",
                if disk == facts.disk_bytes { format!("{}Ki", disk / 1024) } else { disk.to_string() },
            ),
            ("pods", options.max_pods.to_string()),
            ("hugepages-1Gi", "0".to_owned()),
            ("hugepages-2Mi", "0".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Quantity(value)))
        .collect()
    };
    let address = |type_: &str, address: String| NodeAddress { address, type_: type_.to_owned() };
    let ips = std::iter::once(options.node_ip).chain(options.node_ip_secondary);
    let mut addresses: Vec<NodeAddress> = ips.map(|ip| address("InternalIP", ip.to_string())).collect();
    addresses.push(address("Hostname", options.node_name.clone()));
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(quantities(facts.memory_bytes, facts.disk_bytes)),
        // A tenth of the disk is kept back: the hard eviction threshold.
        allocatable: Some(quantities(facts.allocatable_memory(), facts.disk_bytes / 10 * 9)),
        conditions: Some(conditions(moment, old.conditions.as_deref().unwrap_or_default())),
        daemon_endpoints: moment
            .port
            .map(|port| NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }) }),
        images: Some(images(&moment.images)),
        node_info: Some(NodeSystemInfo {
            architecture: facts.architecture.clone(),
            boot_id: facts.boot_id.clone(),
            container_runtime_version: moment.runtime_version.clone(),
            kernel_version: facts.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: options.version.clone(),
            machine_id: facts.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: facts.os_image.clone(),
            swap: None,
            system_uuid: facts.system_uuid.clone(),
        }),
        ..NodeStatus::default()
    }
}

fn conditions(moment: &Moment, old: &[NodeCondition]) -> Vec<NodeCondition> {
    let ready = match &moment.not_ready {
        None => ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(why) => ("Ready", false, "KubeletNotReady", why.clone()),
    };
    let fine = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ];
    let fine = fine.map(|(kind, reason, message)| (kind, false, reason, message.to_owned()));
    let all = fine.into_iter().chain([ready]);
    all.map(|(kind, status, reason, message)| {
        let status = if status { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == kind && condition.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(Time(moment.now)),
            last_transition_time: before
                .and_then(|before| before.last_transition_time.clone())
                .or(Some(Time(moment.now))),
        }
    })
    .collect()
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut listed: Vec<ContainerImage> = images
        .iter()
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.iter().chain(&image.repo_tags).take(NAMES_MAX).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    listed.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    listed.truncate(IMAGES_MAX);
    listed
}

/// Whether two statuses differ in more than the time of the last heartbeat.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    still(a) != still(b)
}
