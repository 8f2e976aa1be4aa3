//! A service from a row's words.

use std::time::Duration;

use netproxy::model::{Endpoint, Port, Protocol, Range, Service, ServiceId, Slice};

use crate::net::{FAMILIES, Net, PORT};

/// What clients use.
pub const SERVICE_PORT: u16 = 80;
/// What clients use at a node's addresses.
pub const NODE_PORT: u16 = 30_080;
/// How long `affinity` lasts: the shortest the API takes.
pub const AFFINITY: Duration = Duration::from_secs(1);

/// The service of every case.
pub fn id() -> ServiceId {
    ServiceId { namespace: "default".into(), name: "web".into() }
}

/// The objects that `words` describe, as `cases` explains them.
pub fn objects(net: &Net, words: &str) -> (Service, Slice) {
    let (letters, policies) = words.split_once(' ').unwrap_or((words, ""));
    let has = |policy: &str| policies.split(' ').any(|word| word == policy);
    let to = |destination: &str| FAMILIES.map(|family| net.destination(destination, family).ip());
    let sources = |host: &str| {
        FAMILIES.map(|family| {
            let address = net.address(host, family);
            Range::parse(&format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })).expect("a range")
        })
    };
    let source_ranges = match () {
        () if has("client-only") => sources("client").to_vec(),
        () if has("a-only") => sources("a").to_vec(),
        () => Vec::new(),
    };
    let service = Service {
        id: id(),
        cluster: to("cluster").to_vec(),
        external: [to("external"), to("balancer")].concat(),
        balancer: to("balancer").to_vec(),
        source_ranges,
        ports: ports(),
        affinity: has("affinity").then_some(AFFINITY),
        internal_local: has("internal-local"),
        external_local: has("external-local"),
    };
    let endpoints = letters.chars().filter(|letter| *letter != '-').flat_map(|letter| endpoints(net, letter));
    (service, Slice { service: id(), name: "web-1".into(), endpoints: endpoints.collect() })
}

fn ports() -> Vec<Port> {
    let port = |protocol: Protocol| Port {
        name: protocol.name().into(),
        protocol,
        port: SERVICE_PORT,
        node_port: Some(NODE_PORT),
    };
    vec![port(Protocol::Tcp), port(Protocol::Udp)]
}

fn endpoints(net: &Net, letter: char) -> Vec<Endpoint> {
    let host = if letter == 'n' { "node".to_owned() } else { letter.to_string() };
    let mut found = Vec::new();
    for family in FAMILIES {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            found.push(Endpoint {
                port_name: protocol.name().into(),
                protocol,
                address: (net.address(&host, family), PORT).into(),
                node: Some(if letter == 'c' { "there" } else { "here" }.to_owned()),
                ready: true,
                serving_while_terminating: false,
            });
        }
    }
    found
}
