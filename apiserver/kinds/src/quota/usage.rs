//! What one object uses of each resource, and which resources objects of a kind use at all.

use jiff::Timestamp;
use serde_json::Value;

use super::{Amounts, pod};
use crate::core::claims;
use crate::quantity::{self, Quantity};
use crate::tree::{bool_at, int_at, list_at, map_at, str_at};

/// Between a class's name and the resource counted for it alone.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// What claims use, of all classes together or of one.
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];

const OF_SERVICES: [&str; 4] = ["count/services", "services", "services.loadbalancers", "services.nodeports"];

/// Kinds of the core group that are counted under their plural too.
const ALIASED: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// The kinds whose objects use different amounts: group and plural.
pub fn measured() -> [(&'static str, &'static str); 3] {
    [("", "pods"), ("", "services"), ("", "persistentvolumeclaims")]
}

/// What an object uses.
pub fn usage(group: &str, plural: &str, object: &Value, now: Timestamp) -> Amounts {
    match (group, plural) {
        ("", "pods") => pod::usage(object, now),
        ("", "services") => service(object),
        ("", "persistentvolumeclaims") => claim(object),
        _ => names(group, plural).map(|name| (name, one())).collect(),
    }
}

/// Whether objects of a kind use the resource of this name.
pub fn tracks(group: &str, plural: &str, resource: &str) -> bool {
    match (group, plural) {
        ("", "pods") => pod::tracks(resource),
        ("", "services") => OF_SERVICES.contains(&resource),
        ("", "persistentvolumeclaims") => {
            let own = resource.split_once(OF_CLASS).map_or(resource, |(_, own)| own);
            OF_CLAIMS.contains(&own) || resource == "count/persistentvolumeclaims"
        }
        _ => names(group, plural).any(|name| name == resource),
    }
}

/// Group and plural of the objects that a resource is the plain number of, unless their amounts are measured.
pub fn is_counted_alone(resource: &str) -> Option<(String, String)> {
    let name = match resource.strip_prefix("count/") {
        Some(name) => name,
        None => ALIASED.into_iter().find(|plural| *plural == resource)?,
    };
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    (!measured().contains(&(group, plural))).then(|| (group.to_owned(), plural.to_owned()))
}

/// The names under which objects are counted one by one.
fn names(group: &str, plural: &str) -> impl Iterator<Item = String> {
    let own = if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") };
    let alias = (group.is_empty() && ALIASED.contains(&plural)).then(|| plural.to_owned());
    std::iter::once(own).chain(alias)
}

fn one() -> Quantity {
    number(1)
}

fn number(count: usize) -> Quantity {
    Quantity::new(i64::try_from(count).unwrap_or(i64::MAX), quantity::DECIMAL)
}

/// Node ports are counted by intent: they are given out later.
fn service(service: &Value) -> Amounts {
    let ports = list_at(service, "spec.ports");
    let (balancers, node_ports) = match str_at(service, "spec.type") {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" if bool_at(service, "spec.allocateLoadBalancerNodePorts") == Some(false) => {
            let asked = ports.iter().filter(|port| int_at(port, "nodePort").unwrap_or(0) != 0);
            (1, asked.count())
        }
        "LoadBalancer" => (1, ports.len()),
        _ => (0, 0),
    };
    let amounts = [1, 1, balancers, node_ports].map(number);
    OF_SERVICES.iter().map(|name| (*name).to_owned()).zip(amounts).collect()
}

fn claim(claim: &Value) -> Amounts {
    let mut used = Amounts::from(
        ["persistentvolumeclaims", "count/persistentvolumeclaims"].map(|name| (name.to_owned(), one())),
    );
    let class = claims::class(claim).filter(|class| !class.is_empty());
    if let Some(class) = class {
        used.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), one());
    }
    let asks =
        map_at(claim, "spec.resources.requests").is_some_and(|requests| requests.contains_key("storage"));
    if asks {
        let asked = claims::requested(claim);
        let allocated = claims::storage(claim, "status.allocatedResources");
        let storage = quantity::rounded_to_whole(if allocated > asked { &allocated } else { &asked });
        if let Some(class) = class {
            used.insert(format!("{class}{OF_CLASS}requests.storage"), storage.clone());
        }
        used.insert("requests.storage".to_owned(), storage);
    }
    used
}
