//! The Endpoints object of a service: what there was before slices, still read by some.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::TRIGGER_TIME;
use super::ports::{address_of, counts, find_port, shows_hostname};
use crate::views::{Endpoints, Pod, Service, Whole};

/// Addresses an object holds at most; beyond it is cut and says so.
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Create(Value),
    Update(Value),
}

/// Whether an object was made here.
pub(super) fn is_managed(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// The write that brings the object up to date, if one is needed.
pub(crate) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    current: Option<&Whole<Endpoints>>,
    trigger: Option<Timestamp>,
) -> Option<Action> {
    let (subsets, truncated) = truncate(subsets(service, pods));
    let labels = labels(service);
    if let Some(current) = current {
        let noted = current.metadata.annotations.contains_key(OVER_CAPACITY);
        let same = current.subsets.as_deref().unwrap_or_default() == subsets.as_slice();
        if same && current.metadata.labels == labels && noted == truncated {
            return None;
        }
    }
    let mut tree = match current {
        Some(current) => current.tree.clone(),
        None => json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": { "name": service.metadata.name, "namespace": service.metadata.namespace },
        }),
    };
    tree["metadata"]["labels"] = json!(labels);
    tree["subsets"] = json!(subsets);
    annotate(&mut tree, truncated, trigger);
    Some(if current.is_some() { Action::Update(tree) } else { Action::Create(tree) })
}

fn annotate(tree: &mut Value, truncated: bool, trigger: Option<Timestamp>) {
    if let Some(trigger) = trigger {
        tree["metadata"]["annotations"][TRIGGER_TIME] = runtime::time::seconds(trigger).into();
    }
    if truncated {
        tree["metadata"]["annotations"][OVER_CAPACITY] = "truncated".into();
    } else if let Some(annotations) = tree["metadata"]["annotations"].as_object_mut() {
        annotations.remove(OVER_CAPACITY);
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Ready or not, and the address.
type Address = (bool, Value);
/// Addresses by IP and uid.
type Addresses = BTreeMap<(String, String), Address>;

/// Addresses for each port; ports with the same addresses make one subset.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<Value> {
    let ipv6 = service.spec.ip_families.first().is_some_and(|family| family == "IPv6");
    let mut by_port = Vec::<(Option<Value>, Addresses)>::new();
    for pod in pods.iter().filter(|pod| counts(pod, service.spec.publish_not_ready_addresses)) {
        let Some(ip) = address_of(pod, ipv6) else { continue };
        let ready = pod.ready() || service.spec.publish_not_ready_addresses;
        for port in ports_of(service, pod) {
            let address = (ready, address(service, pod, &ip));
            let at = by_port.iter().position(|(have, _)| *have == port);
            let at = at.unwrap_or_else(|| {
                by_port.push((port, Addresses::new()));
                by_port.len() - 1
            });
            by_port[at].1.insert((ip.clone(), pod.metadata.uid.clone()), address);
        }
    }
    let mut merged = Vec::<(Vec<Value>, Addresses)>::new();
    for (port, addresses) in by_port {
        match merged.iter_mut().find(|(_, have)| *have == addresses) {
            Some((ports, _)) => ports.extend(port),
            None => merged.push((port.into_iter().collect(), addresses)),
        }
    }
    merged.into_iter().map(|(ports, addresses)| subset(ports, addresses)).collect()
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<Option<Value>> {
    if service.spec.ports.is_empty() {
        return if service.headless() { vec![None] } else { Vec::new() };
    }
    let found = service.spec.ports.iter().filter_map(|port| Some((port, find_port(pod, port)?)));
    found
        .map(|(port, number)| {
            let mut tree = json!({ "port": number, "protocol": port.protocol });
            if !port.name.is_empty() {
                tree["name"] = port.name.as_str().into();
            }
            if let Some(protocol) = &port.app_protocol {
                tree["appProtocol"] = protocol.as_str().into();
            }
            Some(tree)
        })
        .collect()
}

fn address(service: &Service, pod: &Pod, ip: &str) -> Value {
    let metadata = &pod.metadata;
    let mut address = json!({
        "ip": ip,
        "targetRef": { "kind": "Pod", "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid },
    });
    if !pod.spec.node_name.is_empty() {
        address["nodeName"] = pod.spec.node_name.as_str().into();
    }
    if shows_hostname(pod, service) {
        address["hostname"] = pod.spec.hostname.as_str().into();
    }
    address
}

fn subset(ports: Vec<Value>, addresses: Addresses) -> Value {
    let (ready, not_ready): (Vec<Address>, Vec<Address>) =
        addresses.into_values().partition(|(ready, _)| *ready);
    let mut subset = json!({});
    for (field, list) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        if !list.is_empty() {
            subset[field] = list.into_iter().map(|(_, address)| address).collect();
        }
    }
    if !ports.is_empty() {
        subset["ports"] = ports.into();
    }
    subset
}

/// Cuts off what is too much; addresses that are not ready go first.
fn truncate(mut subsets: Vec<Value>) -> (Vec<Value>, bool) {
    let count = |subsets: &[Value], field: &str| -> usize {
        subsets.iter().filter_map(|subset| subset[field].as_array()).map(Vec::len).sum()
    };
    let total = count(&subsets, "addresses") + count(&subsets, "notReadyAddresses");
    if total <= ADDRESSES_MAX {
        return (subsets, false);
    }
    let mut room = ADDRESSES_MAX;
    for field in ["addresses", "notReadyAddresses"] {
        for subset in &mut subsets {
            if let Some(list) = subset[field].as_array_mut() {
                list.truncate(room);
                room -= list.len();
            }
            if subset[field].as_array().is_some_and(Vec::is_empty) || subset[field].is_null() {
                subset.as_object_mut().expect("made above").remove(field);
            }
        }
    }
    subsets.retain(|subset| !subset["addresses"].is_null() || !subset["notReadyAddresses"].is_null());
    (subsets, true)
}
