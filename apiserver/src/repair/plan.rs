//! Which IPAddress objects do not fit the Services. Pure.

use crate::admission::service_addresses::{ALLOCATOR, FAMILY_LABEL, MANAGED_BY_LABEL};
use jiff::{SignedDuration, Timestamp};
use kinds::core::service::allocation;
use kinds::tree::str_at;
use schema::Tree;
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// How long an address may wait for its Service.
const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// How long an address that is younger than its Service may not be listed there.
const SETTLE: SignedDuration = SignedDuration::from_secs(5);

/// What an event says.
#[derive(Debug, PartialEq)]
pub(super) struct Note {
    pub(super) reason: &'static str,
    pub(super) action: &'static str,
    pub(super) text: String,
    /// A reference to the object it is about.
    pub(super) about: Tree,
}

/// One repair.
#[derive(Debug, PartialEq)]
pub(super) struct Repair {
    note: Note,
    removed: Option<Tree>,
    made: Option<(Tree, String)>,
}

impl Repair {
    pub(super) fn note(&self) -> &Note {
        &self.note
    }

    /// The object that goes.
    pub(super) fn removed(&self) -> Option<&Tree> {
        self.removed.as_ref()
    }

    /// The Service and the address that an object is made for.
    pub(super) fn made(&self) -> Option<(&Tree, &str)> {
        self.made.as_ref().map(|(service, address)| (service, address.as_str()))
    }
}

/// What to do about all Services and all addresses of one view.
pub(super) fn plan(services: &[Tree], addresses: &[Tree], now: Timestamp) -> Vec<Repair> {
    let known: HashMap<&str, &Tree> =
        addresses.iter().map(|address| (str_at(address, "metadata.name"), address)).collect();
    let named: HashMap<(&str, &str), &Tree> = services
        .iter()
        .map(|service| ((str_at(service, "metadata.namespace"), str_at(service, "metadata.name")), service))
        .collect();
    let mut repairs: Vec<Repair> =
        services.iter().flat_map(|service| of_service(service, &known, &named)).collect();
    // What is made anew for a Service is not looked at a second time.
    let anew: HashSet<String> = repairs
        .iter()
        .filter_map(|repair| Some(str_at(repair.removed()?, "metadata.name").to_owned()))
        .collect();
    let others = addresses.iter().filter(|address| !anew.contains(str_at(address, "metadata.name")));
    repairs.extend(others.filter_map(|address| of_address(address, &named, now)));
    repairs
}

/// Addresses a service holds that are not kept for it.
fn of_service(
    service: &Tree,
    known: &HashMap<&str, &Tree>,
    named: &HashMap<(&str, &str), &Tree>,
) -> Vec<Repair> {
    let (namespace, name) = (str_at(service, "metadata.namespace"), str_at(service, "metadata.name"));
    let repair = |ip: String| {
        let family = family(&ip);
        let wrong = || {
            format!(
                "the ClusterIP [{family}]: {ip} for Service {namespace}/{name} has a wrong reference; repairing"
            )
        };
        let text = match known.get(ip.as_str()) {
            None => format!("Cluster IP [{family}]: {ip} is not allocated; repairing"),
            Some(address) if !is_of_services(address) => wrong(),
            Some(address) if parent(address) != (namespace, name) => {
                // Another Service that is there keeps it, whoever came first.
                if named.contains_key(&parent(address)) {
                    return None;
                }
                wrong()
            }
            Some(address) if has_labels(address) => return None,
            Some(_) => wrong(),
        };
        Some(Repair {
            note: Note {
                reason: "ClusterIPNotAllocated",
                action: "ClusterIPAllocation",
                text,
                about: reference("v1", "Service", service),
            },
            removed: known.get(ip.as_str()).map(|address| Tree::clone(address)),
            made: Some((service.clone(), ip)),
        })
    };
    allocation::held(service).addresses.into_iter().filter_map(repair).collect()
}

/// An address of ours that no Service holds.
fn of_address(address: &Tree, named: &HashMap<(&str, &str), &Tree>, now: Timestamp) -> Option<Repair> {
    if !is_managed(address) {
        return None;
    }
    let ip = str_at(address, "metadata.name");
    let (namespace, name) = parent(address);
    let age = age(address, now);
    let cleanup = |reason, text| {
        let about = reference("networking.k8s.io/v1", "IPAddress", address);
        let note = Note { reason, action: "IPAddressAllocation", text, about };
        Some(Repair { note, removed: Some(address.clone()), made: None })
    };
    if !is_of_services(address) {
        let parent = &address["spec"]["parentRef"];
        let text = format!(
            "IPAddress {ip} appears to have been modified, not referencing a Service {parent}: cleaning up"
        );
        return cleanup("IPAddressNotAllocated", text);
    }
    let Some(service) = named.get(&(namespace, name)) else {
        let text =
            format!("IPAddress: {ip} for Service {namespace}/{name} appears to have leaked: cleaning up");
        return if age > GRACE { cleanup("IPAddressNotAllocated", text) } else { None };
    };
    if allocation::held(service).addresses.iter().any(|held| held == ip) {
        return None;
    }
    let was_external = str_at(service, "spec.type") == "ExternalName" && age < GRACE;
    let is_new = age < SETTLE && created(address) > created(service);
    if was_external || is_new {
        return None;
    }
    let text = format!("IPAddress: {ip} for Service {namespace}/{name} has a wrong reference; cleaning up");
    cleanup("IPAddressWrongReference", text)
}

fn family(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

fn parent(address: &Tree) -> (&str, &str) {
    (str_at(address, "spec.parentRef.namespace"), str_at(address, "spec.parentRef.name"))
}

fn is_of_services(address: &Tree) -> bool {
    str_at(address, "spec.parentRef.group").is_empty()
        && str_at(address, "spec.parentRef.resource") == "services"
}

fn label<'a>(address: &'a Tree, name: &str) -> Option<&'a str> {
    address["metadata"]["labels"][name].as_str()
}

fn is_managed(address: &Tree) -> bool {
    label(address, MANAGED_BY_LABEL) == Some(ALLOCATOR)
}

fn has_labels(address: &Tree) -> bool {
    is_managed(address) && label(address, FAMILY_LABEL) == Some(family(str_at(address, "metadata.name")))
}

fn created(object: &Tree) -> Option<Timestamp> {
    str_at(object, "metadata.creationTimestamp").parse().ok()
}

fn age(object: &Tree, now: Timestamp) -> SignedDuration {
    created(object).map_or(SignedDuration::MAX, |created| now.duration_since(created))
}

fn reference(api_version: &str, kind: &str, object: &Tree) -> Tree {
    let mut reference = json!({"apiVersion": api_version, "kind": kind});
    for field in ["namespace", "name", "uid", "resourceVersion"] {
        match str_at(object, &format!("metadata.{field}")) {
            "" => {}
            text => reference[field] = text.into(),
        }
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, ip: &str) -> Tree {
        json!({
            "metadata": {"name": name, "namespace": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip]},
        })
    }

    fn address(ip: &str, parent: &str) -> Tree {
        let mut object = crate::admission::service_addresses::object(&service(parent, ip), ip);
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        object
    }

    /// What is done, a minute and a second after everything was made: `-IP` goes, `+IP` is made.
    fn check(services: &[Tree], addresses: &[Tree], want: &str, reason: &str) {
        let now: Timestamp = "2026-01-01T00:01:01Z".parse().expect("a time");
        let repairs = plan(services, addresses, now);
        let words = repairs.iter().flat_map(|repair| {
            let removed = repair.removed().map(|old| format!("-{}", str_at(old, "metadata.name")));
            removed.into_iter().chain(repair.made().map(|(_, ip)| format!("+{ip}")))
        });
        assert_eq!(words.collect::<Vec<_>>().join(" "), want);
        assert_eq!(repairs.first().map_or("", |repair| repair.note().reason), reason);
    }

    #[test]
    fn what_fits_stays() {
        check(&[service("s", "10.0.0.1")], &[address("10.0.0.1", "s")], "", "");
        let mut others = address("10.0.0.9", "nobody");
        others["metadata"]["labels"] = json!({});
        check(&[], &[others], "", "");
    }

    #[test]
    fn what_is_missing_or_of_another_comes_back() {
        let services = [service("s", "10.0.0.1")];
        check(&services, &[], "+10.0.0.1", "ClusterIPNotAllocated");
        check(&services, &[address("10.0.0.1", "gone")], "-10.0.0.1 +10.0.0.1", "ClusterIPNotAllocated");
        let mut bare = address("10.0.0.1", "s");
        bare["metadata"]["labels"] = json!({});
        check(&services, &[bare], "-10.0.0.1 +10.0.0.1", "ClusterIPNotAllocated");
        let both = [service("s", "10.0.0.1"), service("t", "10.0.0.1")];
        check(&both, &[address("10.0.0.1", "t")], "", "");
    }

    #[test]
    fn what_belongs_to_nobody_goes() {
        check(&[], &[address("10.0.0.1", "gone")], "-10.0.0.1", "IPAddressNotAllocated");
        check(
            &[service("s", "10.0.0.2")],
            &[address("10.0.0.2", "s"), address("10.0.0.1", "s")],
            "-10.0.0.1",
            "IPAddressWrongReference",
        );
        let mut young = address("10.0.0.1", "gone");
        young["metadata"]["creationTimestamp"] = "2026-01-01T00:00:30Z".into();
        check(&[], &[young], "", "");
        let mut odd = address("10.0.0.1", "s");
        odd["spec"]["parentRef"]["resource"] = "pods".into();
        check(&[], &[odd], "-10.0.0.1", "IPAddressNotAllocated");
    }
}
