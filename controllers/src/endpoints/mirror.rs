//! The slices of an Endpoints object that somebody writes by hand, for a service that selects no pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use runtime::OwnerReference;
use serde_json::{Value, json};

use super::TRIGGER_TIME;
use super::slices::{Action, MANAGED_BY};
use crate::views::service::SERVICE_NAME;
use crate::views::{EndpointSlice, Endpoints, Service, Whole};

/// Value of [`MANAGED_BY`] on slices made here.
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Addresses of one subset that are mirrored, as upstream.
pub(super) const ADDRESSES_MAX: usize = 1000;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of a name's prefix that leave room for a dash and what is generated.
const PREFIX_MAX: usize = 252;

/// What to write, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// Addresses beyond the most that a subset may have.
    pub(super) skipped: usize,
    /// Addresses that are none.
    pub(super) invalid: usize,
}

/// Whether a slice is managed here.
pub(super) fn is_managed(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// The writes that make the slices say what the Endpoints object says.
pub(super) fn plan(
    endpoints: Option<&Endpoints>,
    service: Option<&Service>,
    slices: &[Arc<Whole<EndpointSlice>>],
) -> Plan {
    let wanted = endpoints.filter(|endpoints| {
        is_mirrored(endpoints) && service.is_some_and(|service| service.spec.selector.is_empty())
    });
    let Some(endpoints) = wanted else {
        return Plan { actions: slices.iter().map(|slice| delete(slice)).collect(), ..Plan::default() };
    };
    let mut plan = Plan::default();
    let wanted = wanted_slices(endpoints, &mut plan);
    let mut spare: Vec<&Arc<Whole<EndpointSlice>>> = Vec::new();
    let mut kept: BTreeMap<String, &Arc<Whole<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        let key = key_of(&slice.address_type, slice.ports.as_deref().unwrap_or_default());
        if wanted.contains_key(&key) && !kept.contains_key(&key) {
            kept.insert(key, slice);
        } else {
            spare.push(slice);
        }
    }
    for (key, wanted) in wanted {
        let family = wanted.family;
        // A slice that would go is written anew instead of making another.
        let recycled = spare.iter().position(|slice| slice.address_type == family);
        let old = kept
            .get(&key)
            .copied()
            .or_else(|| recycled.filter(|_| !kept.contains_key(&key)).map(|index| spare.swap_remove(index)));
        plan.actions.extend(write(endpoints, &wanted, old.map(Arc::as_ref)));
    }
    plan.actions.extend(spare.into_iter().map(|slice| delete(slice)));
    plan
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let metadata = &endpoints.metadata;
    metadata.labels.get(SKIP).is_none_or(|skip| skip != "true") && !metadata.annotations.contains_key(LEADER)
}

/// One slice as it should be.
struct Wanted {
    family: &'static str,
    ports: Vec<Value>,
    /// By address and target, so that they compare in whatever order they stand.
    endpoints: BTreeMap<String, Value>,
}

fn wanted_slices(endpoints: &Endpoints, plan: &mut Plan) -> BTreeMap<String, Wanted> {
    let mut slices = BTreeMap::<String, Wanted>::new();
    for (ports, addresses) in subsets(endpoints) {
        let mut added = 0;
        for (address, ready) in addresses {
            let Ok(ip) = text(&address, "ip").parse::<IpAddr>() else {
                plan.invalid += 1;
                continue;
            };
            if added == ADDRESSES_MAX {
                plan.skipped += 1;
                continue;
            }
            added += 1;
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let slice = slices.entry(key_of(family, &ports)).or_insert_with(|| Wanted {
                family,
                ports: ports.clone(),
                endpoints: BTreeMap::new(),
            });
            let endpoint = endpoint(&address, &ip.to_string(), ready);
            slice.endpoints.insert(identity(&endpoint), endpoint);
        }
    }
    slices
}

/// Addresses, each with whether it is ready.
type Addresses = Vec<(Value, bool)>;

/// The subsets with each set of addresses standing once, under all the ports it has. An address that is ready anywhere
/// for a port is ready for it.
fn subsets(endpoints: &Endpoints) -> Vec<(Vec<Value>, Addresses)> {
    let mut by_port = BTreeMap::<String, (Option<Value>, BTreeMap<String, (Value, bool)>)>::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ports: Vec<Option<Value>> = if ports.is_empty() {
            vec![None]
        } else {
            ports.iter().map(|port| Some(slice_port(port))).collect()
        };
        for port in ports {
            let key = port.as_ref().map(port_key).unwrap_or_default();
            let (_, addresses) = by_port.entry(key).or_insert_with(|| (port, BTreeMap::new()));
            for (list, ready) in [("addresses", true), ("notReadyAddresses", false)] {
                for address in subset[list].as_array().into_iter().flatten() {
                    let target = address["targetRef"]["uid"].as_str().unwrap_or_default();
                    let key = format!("{}|{target}", text(address, "ip"));
                    let known = addresses.entry(key).or_insert_with(|| (address.clone(), ready));
                    known.1 |= ready;
                }
            }
        }
    }
    let mut by_addresses = BTreeMap::<String, (Vec<Value>, Addresses)>::new();
    for (port, addresses) in by_port.into_values() {
        let key: Vec<String> = addresses.iter().map(|(key, (_, ready))| format!("{key}={ready}")).collect();
        let group = by_addresses
            .entry(key.join(","))
            .or_insert_with(|| (Vec::new(), addresses.into_values().collect()));
        group.0.extend(port);
    }
    by_addresses.into_values().collect()
}

fn text<'a>(tree: &'a Value, name: &str) -> &'a str {
    tree[name].as_str().unwrap_or_default()
}

fn slice_port(port: &Value) -> Value {
    let mut tree = json!({ "name": text(port, "name"), "port": port["port"], "protocol": port["protocol"] });
    if let Some(protocol) = port["appProtocol"].as_str() {
        tree["appProtocol"] = protocol.into();
    }
    tree
}

fn port_key(port: &Value) -> String {
    format!(
        "{}|{}|{}|{}",
        text(port, "name"),
        port["port"],
        text(port, "protocol"),
        text(port, "appProtocol")
    )
}

fn key_of(family: &str, ports: &[Value]) -> String {
    let mut keys: Vec<String> = ports.iter().map(port_key).collect();
    keys.sort();
    format!("{family} {}", keys.join(","))
}

fn endpoint(address: &Value, ip: &str, ready: bool) -> Value {
    let mut endpoint = json!({ "addresses": [ip], "conditions": { "ready": ready } });
    for name in ["targetRef", "nodeName", "hostname"] {
        if !address[name].is_null() && address[name] != "" {
            endpoint[name] = address[name].clone();
        }
    }
    endpoint
}

fn identity(endpoint: &Value) -> String {
    format!("{}|{}", endpoint["addresses"], endpoint["targetRef"]["uid"])
}

/// What a slice takes over from the object: its labels, and the annotations that are about what it says.
fn labels_and_annotations(endpoints: &Endpoints) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut labels = endpoints.metadata.labels.clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone();
    annotations.retain(|name, _| name != TRIGGER_TIME && name != LAST_APPLIED);
    (labels, annotations)
}

/// The write that makes a slice as it should be, if it is not.
fn write(endpoints: &Endpoints, wanted: &Wanted, old: Option<&Whole<EndpointSlice>>) -> Option<Action> {
    let (labels, annotations) = labels_and_annotations(endpoints);
    let owner = OwnerReference::controlled_by("v1", "Endpoints", &endpoints.metadata);
    if let Some(old) = old {
        let have: BTreeMap<String, Value> =
            old.endpoints.iter().flatten().map(|endpoint| (identity(endpoint), endpoint.clone())).collect();
        let is_ours = old.metadata.owner_references.iter().all(|have| have.uid == endpoints.metadata.uid);
        let same_ports = key_of(&old.address_type, old.ports.as_deref().unwrap_or_default())
            == key_of(wanted.family, &wanted.ports);
        if have == wanted.endpoints
            && same_ports
            && is_ours
            && old.metadata.labels == labels
            && old.metadata.annotations == annotations
        {
            return None;
        }
    }
    // A new object is not made for one that is on its way out.
    if old.is_none() && endpoints.metadata.deleting() {
        return None;
    }
    let mut tree = match old {
        Some(old) => old.tree.clone(),
        None => json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "generateName": prefix(&endpoints.metadata.name), "namespace": endpoints.metadata.namespace },
            "addressType": wanted.family,
        }),
    };
    tree["metadata"]["labels"] = json!(labels);
    tree["metadata"]["annotations"] = json!(annotations);
    tree["metadata"]["ownerReferences"] = json!([owner]);
    tree["endpoints"] = wanted.endpoints.values().cloned().collect();
    tree["ports"] = json!(wanted.ports);
    Some(match old {
        Some(old) => Action::Update { name: old.metadata.name.clone(), tree },
        None => Action::Create(tree),
    })
}

fn prefix(name: &str) -> String {
    if name.len() > PREFIX_MAX { name.to_owned() } else { format!("{name}-") }
}

fn delete(slice: &Whole<EndpointSlice>) -> Action {
    Action::Delete { name: slice.metadata.name.clone(), uid: slice.metadata.uid.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(labels: Value, subsets: Value) -> Endpoints {
        let metadata = json!({ "name": "s", "namespace": "n", "uid": "e", "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "subsets": subsets })).expect("endpoints")
    }

    fn service(selector: Value) -> Service {
        serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": { "selector": selector } }))
            .expect("a service")
    }

    fn plain() -> Service {
        service(json!({}))
    }

    /// Takes a written slice as the server would give it back.
    fn stored(tree: &Value, name: &str) -> Arc<Whole<EndpointSlice>> {
        let mut tree = tree.clone();
        tree["metadata"]["name"] = name.into();
        tree["metadata"]["uid"] = name.into();
        Arc::new(serde_json::from_value(tree).expect("a slice"))
    }

    fn created(plan: &Plan) -> Vec<&Value> {
        let trees = plan.actions.iter().map(|action| match action {
            Action::Create(tree) => tree,
            other => panic!("no creation: {other:?}"),
        });
        trees.collect()
    }

    fn subset() -> Value {
        json!([{
            "addresses": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }], "notReadyAddresses": [{ "ip": "10.0.0.2" }],
            "ports": [{ "name": "web", "port": 80, "protocol": "TCP" }],
        }])
    }

    #[test]
    fn each_family_has_a_slice_that_is_written_once() {
        let endpoints = endpoints(json!({ "a": "b" }), subset());
        let first = plan(Some(&endpoints), Some(&plain()), &[]);
        let trees = created(&first);
        assert_eq!(trees.len(), 2);
        assert_eq!(trees[0]["addressType"], "IPv4");
        assert_eq!(
            trees[0]["endpoints"][0],
            json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": true } })
        );
        assert_eq!(trees[0]["endpoints"][1]["conditions"]["ready"], false);
        assert_eq!(trees[0]["metadata"]["labels"]["a"], "b");
        assert_eq!(trees[0]["metadata"]["generateName"], "s-");
        let slices = [stored(trees[0], "x"), stored(trees[1], "y")];
        assert_eq!(plan(Some(&endpoints), Some(&plain()), &slices), Plan::default());
        assert!(is_managed(&slices[0]));
    }

    #[test]
    fn nothing_is_mirrored_for_who_selects_or_declines() {
        let (some, skipped) = (endpoints(json!({}), subset()), endpoints(json!({ SKIP: "true" }), subset()));
        let tree = created(&plan(Some(&some), Some(&plain()), &[]))[0].clone();
        let slices = [stored(&tree, "x")];
        let gone = vec![Action::Delete { name: "x".to_owned(), uid: "x".to_owned() }];
        let selecting = service(json!({ "a": "b" }));
        for (endpoints, service) in [
            (Some(&some), Some(&selecting)),
            (Some(&skipped), Some(&plain())),
            (Some(&some), None),
            (None, None),
        ] {
            assert_eq!(plan(endpoints, service, &slices).actions, gone);
        }
    }

    #[test]
    fn a_slice_with_other_ports_is_written_anew() {
        let old = endpoints(
            json!({}),
            json!([{ "addresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 80, "protocol": "TCP" }] }]),
        );
        let new = endpoints(
            json!({}),
            json!([{ "addresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 81, "protocol": "TCP" }] }]),
        );
        let first = plan(Some(&old), Some(&plain()), &[]);
        let slices = [stored(created(&first)[0], "x")];
        let second = plan(Some(&new), Some(&plain()), &slices);
        let [Action::Update { name, tree }] = &second.actions[..] else { panic!("{second:?}") };
        assert_eq!((name.as_str(), &tree["ports"][0]["port"]), ("x", &json!(81)));
    }

    #[test]
    fn addresses_are_gathered_by_their_ports() {
        let port = |number: i32| json!({ "port": number, "protocol": "TCP" });
        let endpoints = endpoints(
            json!({}),
            json!([
                { "addresses": [{ "ip": "10.0.0.1" }], "ports": [port(80)] },
                { "addresses": [{ "ip": "10.0.0.1" }], "ports": [port(81)] },
                { "notReadyAddresses": [{ "ip": "10.0.0.1" }], "ports": [port(80)] },
            ]),
        );
        let plan = plan(Some(&endpoints), Some(&plain()), &[]);
        let trees = created(&plan);
        assert_eq!(trees.len(), 1);
        assert_eq!(trees[0]["ports"].as_array().map(Vec::len), Some(2));
        assert_eq!(trees[0]["endpoints"][0]["conditions"]["ready"], true);
    }

    #[test]
    fn a_subset_has_a_most() {
        let addresses: Vec<Value> = (0..ADDRESSES_MAX + 5)
            .map(|at| json!({ "ip": format!("10.0.{}.{}", at / 250, at % 250) }))
            .collect();
        let endpoints = endpoints(json!({}), json!([{ "addresses": addresses }]));
        let plan = plan(Some(&endpoints), Some(&plain()), &[]);
        assert_eq!(plan.skipped, 5);
        assert_eq!(created(&plan)[0]["endpoints"].as_array().map(Vec::len), Some(ADDRESSES_MAX));
    }
}
