//! From the API's Service and EndpointSlice to the few fields the proxy decides on.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

use super::{Port, Protocol, Range, Service, ServiceId};

const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "None";
/// Upstream's default for a service with client affinity and no number.
const AFFINITY_SECONDS: i32 = 10_800;

/// One backend of one service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The port's name in the service.
    pub port_name: String,
    /// The port's protocol.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
    /// The node it is on.
    pub node: Option<String>,
    /// It takes traffic.
    pub ready: bool,
    /// It still answers while it ends.
    pub serving_while_terminating: bool,
}

/// One EndpointSlice, flattened to backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The service it belongs to.
    pub service: ServiceId,
    /// The slice's own name.
    pub name: String,
    /// Its backends.
    pub endpoints: Vec<Endpoint>,
}

/// The proxy's view of a Service; `None` when it needs none: headless, an external name, or another proxy's.
pub fn service(service: &core::Service) -> Option<Service> {
    let id = id_of(service.metadata.namespace.as_ref()?, service.metadata.name.as_ref()?);
    if service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let headless = spec.cluster_ip.as_deref().is_none_or(|address| address.is_empty() || address == HEADLESS);
    if headless || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let cluster = spec.cluster_ips.clone().unwrap_or_else(|| spec.cluster_ip.iter().cloned().collect());
    let balancer = balancer_addresses(service);
    let mut external = addresses(spec.external_ips.iter().flatten());
    external.extend(&balancer);
    Some(Service {
        id,
        cluster: addresses(cluster.iter()),
        external,
        balancer,
        source_ranges: spec
            .load_balancer_source_ranges
            .iter()
            .flatten()
            .filter_map(|text| Range::parse(text))
            .collect(),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        affinity: affinity(spec),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
    })
}

fn balancer_addresses(service: &core::Service) -> Vec<IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    // A balancer in proxy mode terminates connections itself: its address must not be short-cut on the node.
    let virtual_addresses = ingress
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref());
    addresses(virtual_addresses)
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn affinity(spec: &core::ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

fn port(port: &core::ServicePort) -> Option<Port> {
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref())?,
        port: u16::try_from(port.port).ok()?,
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
    })
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The backends of an EndpointSlice; `None` when it belongs to no service or holds names instead of addresses.
pub fn slice(slice: &discovery::EndpointSlice) -> Option<Slice> {
    let labels = slice.metadata.labels.as_ref()?;
    let service = id_of(slice.metadata.namespace.as_ref()?, labels.get(SERVICE_LABEL)?);
    let mut endpoints = Vec::new();
    for port in slice.ports.iter().flatten() {
        let (Some(protocol), Some(number)) = (protocol(port.protocol.as_deref()), port.port) else {
            continue;
        };
        let Ok(number) = u16::try_from(number) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(address) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let terminating = conditions.terminating == Some(true);
            endpoints.push(Endpoint {
                port_name: port.name.clone().unwrap_or_default(),
                protocol,
                address: SocketAddr::new(address, number),
                node: endpoint.node_name.clone(),
                ready: conditions.ready != Some(false),
                serving_while_terminating: terminating && conditions.serving != Some(false),
            });
        }
    }
    Some(Slice { service, name: slice.metadata.name.clone()?, endpoints })
}

fn id_of(namespace: &str, name: &str) -> ServiceId {
    ServiceId { namespace: namespace.to_owned(), name: name.to_owned() }
}
