//! Which pods stand behind a service, and on which ports.

use std::net::IpAddr;

use crate::views::pod::Container;
use crate::views::service::ServicePort;
use crate::views::{Pod, Service};

/// The number of a service's port on a pod; `None` if the pod has no port of that name.
pub(super) fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    if let Some(name) = port.target_port.as_str() {
        let sidecars =
            pod.spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
        let containers = pod.spec.containers.iter().chain(sidecars);
        return containers.flat_map(|container: &Container| &container.ports).find_map(|have| {
            (have.name == name && have.protocol == port.protocol).then_some(have.container_port)
        });
    }
    match port.target_port.as_i64() {
        None | Some(0) => Some(port.port),
        Some(number) => i32::try_from(number).ok(),
    }
}

/// Whether a pod has an address that may be published at all.
pub(super) fn counts(pod: &Pod, with_terminating: bool) -> bool {
    !pod.terminal() && !pod.addresses().is_empty() && (with_terminating || !pod.metadata.deleting())
}

/// The pod's first address of a family.
pub(super) fn address_of(pod: &Pod, ipv6: bool) -> Option<String> {
    let parsed = pod.addresses().into_iter().filter_map(|text| text.parse::<IpAddr>().ok());
    parsed.filter(|address| address.is_ipv6() == ipv6).map(|address| address.to_string()).next()
}

/// Whether the pod's host name is published by this service.
pub(super) fn shows_hostname(pod: &Pod, service: &Service) -> bool {
    !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name
}
