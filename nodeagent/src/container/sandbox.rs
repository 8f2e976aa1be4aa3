//! The sandbox of a pod, as CRI is told.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Pod, Sysctl};
use proto::cri::{
    DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol,
};

use super::{NODE_LABEL, files, labels, security};
use crate::Options;
use crate::pod::{resources, spec};

/// The sandbox's configuration. It is the same for the whole life of a sandbox but for the attempt.
pub fn config(pod: &Pod, attempt: u32, dns: DnsConfig, options: &Options) -> PodSandboxConfig {
    let (name, namespace, uid) = (spec::name(pod), spec::namespace(pod), spec::uid(pod));
    let mut labels: HashMap<String, String> =
        pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend([
        (labels::POD_NAME.to_owned(), name.to_owned()),
        (labels::POD_NAMESPACE.to_owned(), namespace.to_owned()),
        (labels::POD_UID.to_owned(), uid.to_owned()),
        (NODE_LABEL.to_owned(), options.node_name.clone()),
    ]);
    // In the node's network the name is the node's, and the runtime refuses another.
    let hostname =
        if spec::host_network(pod) { String::new() } else { files::hostname(pod, &options.cluster_domain) };
    let sysctls = spec::spec(pod).security_context.as_ref().and_then(|context| context.sysctls.clone());
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            attempt,
        }),
        hostname,
        log_directory: options.pod_log_dir(namespace, name, uid).to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: port_mappings(pod),
        labels,
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(&options.cgroup_root, pod),
            security_context: Some(security::of_sandbox(pod)),
            sysctls: sysctls
                .unwrap_or_default()
                .into_iter()
                .map(|Sysctl { name, value }| (name, value))
                .collect(),
            overhead: None,
            resources: None,
        }),
    }
}

/// Ports that shall answer on the node as well.
fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if spec::host_network(pod) {
        return Vec::new();
    }
    let ports = spec::containers(pod).flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(PortMapping {
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp.into(),
                    Some("SCTP") => Protocol::Sctp.into(),
                    _ => Protocol::Tcp.into(),
                },
                container_port: port.container_port,
                host_port: port.host_port.filter(|port| *port > 0)?,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}
