//! The slices a service should have, with as few writes as possible.
//!
//! Endpoints stay in the slice they are in; new ones fill slices that are
//! written anyway, then slices with room, then new slices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runtime::OwnerReference;
use serde_json::{Value, json};

use super::TRIGGER_TIME;
use super::ports::{address_of, counts, find_port, shows_hostname};
use crate::views::service::SERVICE_NAME;
use crate::views::{EndpointSlice, Pod, Service, Whole};

/// Endpoints in a slice, as upstream.
const ENDPOINTS_MAX: usize = 100;
/// Label that says who manages a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on slices made here.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What a plan is made from.
pub(crate) struct View<'a> {
    pub(crate) service: &'a Service,
    /// Pods the service selects.
    pub(crate) pods: &'a [Arc<Pod>],
    /// Zone of each node that has one.
    pub(crate) zones: &'a BTreeMap<String, String>,
    /// Slices of the service that are managed here.
    pub(crate) slices: &'a [Arc<Whole<EndpointSlice>>],
    /// What to say set the change off.
    pub(crate) trigger: Option<Timestamp>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Create(Value),
    Update { name: String, tree: Value },
    Delete { name: String, uid: String },
}

/// Endpoints by pod uid.
type Wanted = BTreeMap<String, Value>;

/// Whether a slice is managed here.
pub(super) fn is_managed(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// The writes that bring the slices up to date.
pub(crate) fn plan(view: &View<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut families = vec![];
    for ipv6 in [false, true] {
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        if view.service.spec.ip_families.iter().any(|have| have == family) {
            families.push(family);
            plan_family(view, ipv6, family, &mut actions);
        }
    }
    for slice in view.slices.iter().filter(|slice| !families.contains(&slice.address_type.as_str())) {
        actions.push(delete(slice));
    }
    actions
}

fn plan_family(view: &View<'_>, ipv6: bool, family: &str, actions: &mut Vec<Action>) {
    let mut groups = wanted(view, ipv6);
    let slices: Vec<&Whole<EndpointSlice>> = view
        .slices
        .iter()
        .map(Arc::as_ref)
        .filter(|slice| slice.address_type == family && !slice.metadata.deleting())
        .collect();
    if groups.is_empty() {
        // A service without endpoints says so with one empty slice.
        let ports = slices.iter().map(|slice| slice.ports.clone().unwrap_or_default()).find(Vec::is_empty);
        groups.insert(key_of(&ports.unwrap_or_default()), (Vec::new(), Wanted::new()));
    }
    let mut used = BTreeSet::new();
    for (key, (ports, endpoints)) in groups {
        let own: Vec<&Whole<EndpointSlice>> = slices
            .iter()
            .copied()
            .filter(|slice| key_of(slice.ports.as_deref().unwrap_or_default()) == key)
            .collect();
        used.extend(own.iter().map(|slice| slice.metadata.name.clone()));
        plan_group(view, family, &ports, endpoints, &own, actions);
    }
    actions.extend(
        slices.iter().filter(|slice| !used.contains(&slice.metadata.name)).map(|slice| delete(slice)),
    );
}

/// Endpoints of a family, grouped by the ports their pods have.
fn wanted(view: &View<'_>, ipv6: bool) -> BTreeMap<String, (Vec<Value>, Wanted)> {
    let mut groups = BTreeMap::<String, (Vec<Value>, Wanted)>::new();
    for pod in view.pods.iter().filter(|pod| counts(pod, true)) {
        let Some(address) = address_of(pod, ipv6) else { continue };
        let ports = ports_of(view.service, pod);
        if ports.is_empty() && !(view.service.spec.ports.is_empty() && view.service.headless()) {
            continue;
        }
        let group = groups.entry(key_of(&ports)).or_insert_with(|| (ports, Wanted::new()));
        group.1.insert(pod.metadata.uid.clone(), endpoint(view, pod, &address));
    }
    groups
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<Value> {
    let found = service.spec.ports.iter().filter_map(|port| Some((port, find_port(pod, port)?)));
    found
        .map(|(port, number)| {
            let mut tree = json!({ "name": port.name, "port": number, "protocol": port.protocol });
            if let Some(protocol) = &port.app_protocol {
                tree["appProtocol"] = protocol.as_str().into();
            }
            tree
        })
        .collect()
}

/// Ports in an order of their own, so that slices compare however they list them.
fn key_of(ports: &[Value]) -> String {
    let mut keys: Vec<String> = ports
        .iter()
        .map(|port| {
            let text = |field: &str| port[field].as_str().unwrap_or_default();
            format!("{}|{}|{}|{}", text("name"), port["port"], text("protocol"), text("appProtocol"))
        })
        .collect();
    keys.sort();
    keys.join(",")
}

fn endpoint(view: &View<'_>, pod: &Pod, address: &str) -> Value {
    let (serving, terminating) = (pod.ready(), pod.metadata.deleting());
    let ready = view.service.spec.publish_not_ready_addresses || (serving && !terminating);
    let metadata = &pod.metadata;
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "targetRef": { "kind": "Pod", "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid },
    });
    let node = &pod.spec.node_name;
    if !node.is_empty() {
        endpoint["nodeName"] = node.as_str().into();
    }
    if let Some(zone) = view.zones.get(node) {
        endpoint["zone"] = zone.as_str().into();
    }
    if shows_hostname(pod, view.service) {
        endpoint["hostname"] = pod.spec.hostname.as_str().into();
    }
    let distribution = view.service.spec.traffic_distribution.as_str();
    if ready && matches!(distribution, "PreferClose" | "PreferSameZone" | "PreferSameNode") {
        if let Some(zone) = view.zones.get(node) {
            endpoint["hints"]["forZones"] = json!([{ "name": zone }]);
        }
        if distribution == "PreferSameNode" && !node.is_empty() {
            endpoint["hints"]["forNodes"] = json!([{ "name": node }]);
        }
    }
    endpoint
}

struct Draft<'a> {
    slice: &'a Whole<EndpointSlice>,
    endpoints: Vec<Value>,
    changed: bool,
}

fn plan_group(
    view: &View<'_>,
    family: &str,
    ports: &[Value],
    mut wanted: Wanted,
    slices: &[&Whole<EndpointSlice>],
    actions: &mut Vec<Action>,
) {
    let mut drafts: Vec<Draft<'_>> = slices.iter().map(|slice| keep(view, slice, &mut wanted)).collect();
    // Slices that are written anyway are filled first, the fullest first of all.
    drafts.sort_by_key(|draft| (!draft.changed, usize::MAX - draft.endpoints.len()));
    let mut rest: Vec<Value> = wanted.into_values().collect();
    for draft in &mut drafts {
        let room = ENDPOINTS_MAX.saturating_sub(draft.endpoints.len());
        let take = room.min(rest.len());
        draft.changed |= take > 0;
        draft.endpoints.extend(rest.drain(..take));
    }
    let mut left = drafts.iter().filter(|draft| !draft.endpoints.is_empty()).count();
    for draft in drafts {
        if draft.endpoints.is_empty() && (left > 0 || !rest.is_empty()) {
            actions.push(delete(draft.slice));
        } else {
            // Of several empty slices one stays.
            left += usize::from(draft.endpoints.is_empty());
            if draft.changed {
                actions.push(update(view, &draft));
            }
        }
    }
    let nothing = rest.is_empty() && slices.is_empty();
    for chunk in rest.chunks(ENDPOINTS_MAX) {
        actions.push(create(view, family, ports, chunk));
    }
    if nothing {
        actions.push(create(view, family, ports, &[]));
    }
}

/// What of a slice stays, brought up to date; taken endpoints leave `wanted`.
fn keep<'a>(view: &View<'_>, slice: &'a Whole<EndpointSlice>, wanted: &mut Wanted) -> Draft<'a> {
    let mut changed = slice.metadata.labels != labels(view.service);
    let mut endpoints = Vec::new();
    for old in slice.endpoints.iter().flatten() {
        let uid = old["targetRef"]["uid"].as_str().unwrap_or_default();
        match wanted.remove(uid) {
            Some(new) => {
                changed |= new != *old;
                endpoints.push(new);
            }
            None => changed = true,
        }
    }
    Draft { slice, endpoints, changed }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn create(view: &View<'_>, family: &str, ports: &[Value], endpoints: &[Value]) -> Action {
    let service = &view.service.metadata;
    let mut tree = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", service.name),
            "namespace": service.namespace,
            "labels": labels(view.service),
            "ownerReferences": [OwnerReference::controlled_by("v1", "Service", service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    });
    note_trigger(view, &mut tree);
    Action::Create(tree)
}

fn update(view: &View<'_>, draft: &Draft<'_>) -> Action {
    let mut tree = draft.slice.tree.clone();
    tree["metadata"]["labels"] = json!(labels(view.service));
    tree["endpoints"] = json!(draft.endpoints);
    note_trigger(view, &mut tree);
    Action::Update { name: draft.slice.metadata.name.clone(), tree }
}

fn note_trigger(view: &View<'_>, tree: &mut Value) {
    if let Some(trigger) = view.trigger {
        tree["metadata"]["annotations"][TRIGGER_TIME] = runtime::time::seconds(trigger).into();
    }
}

fn delete(slice: &Whole<EndpointSlice>) -> Action {
    Action::Delete { name: slice.metadata.name.clone(), uid: slice.metadata.uid.clone() }
}
