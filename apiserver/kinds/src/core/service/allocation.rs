//! What a write of a Service needs from the pools of addresses and node ports, and what it infers from given ones.
//!
//! It knows which families the cluster has but no pool: the caller finds free values, or checks the requested ones, and puts
//! them in with [`Needs`]'s items. What a service no longer holds after the write, [`released`] tells.

use serde_json::{Value, json};

use super::validate::cluster_ips;
use super::{allocates_node_ports, needs_cluster_ip, needs_health_check, node_port, node_ports};
use crate::field::{self, BadValue, Error, Path};
use crate::network::{is_ipv4, is_ipv6};
use crate::tree::{at, carry_over, int_at, list_at, list_at_mut, map_at, remove, set, str_at, strings_at};

/// Why a pool refuses a value that another service holds, address or port.
pub const ADDRESS_TAKEN: &str = "provided IP is already allocated";

/// Why a pool refuses a port that another service holds.
pub const PORT_TAKEN: &str = "provided port is already allocated";

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The name in `ipFamilies`.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn other(self) -> Family {
        match self {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        }
    }

    fn parse(name: &str) -> Option<Family> {
        [Family::V4, Family::V6].into_iter().find(|family| family.as_str() == name)
    }

    fn of(ip: &str) -> Option<Family> {
        match () {
            () if is_ipv4(ip) => Some(Family::V4),
            () if is_ipv6(ip) => Some(Family::V6),
            () => None,
        }
    }
}

/// An address the service must get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressNeed {
    /// Which pool it comes from.
    pub family: Family,
    /// The address asked for, or any when absent.
    pub requested: Option<String>,
    index: usize,
}

impl AddressNeed {
    /// Puts the allocated address into the service.
    pub fn assign(&self, service: &mut Value, ip: &str) {
        let mut ips: Vec<String> =
            strings_at(service, "spec.clusterIPs").into_iter().map(str::to_owned).collect();
        ips.resize(ips.len().max(self.index + 1), String::new());
        ips[self.index] = ip.to_owned();
        set(service, "spec.clusterIPs", json!(ips));
        if self.index == 0 {
            set(service, "spec.clusterIP", ip);
        }
    }

    /// The error for the writer when the pool refuses.
    pub fn refused(&self, service: &Value, reason: &str) -> Error {
        // Places still to be filled print as empty strings.
        let mut ips = strings_at(service, "spec.clusterIPs");
        ips.resize(ips.len().max(list_at(service, "spec.ipFamilies").len()), "");
        let text = match &self.requested {
            Some(ip) => format!("failed to allocate IP {ip}: {reason}"),
            None => format!("failed to allocate IP: {reason}"),
        };
        field::invalid(&Path::new("spec.clusterIPs"), json!(ips), text)
    }
}

/// A node port the service must get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortNeed {
    /// The port asked for, or any when absent.
    pub requested: Option<i64>,
    indexes: Vec<usize>,
}

impl PortNeed {
    /// Puts the allocated port into the service.
    pub fn assign(&self, service: &mut Value, port: i64) {
        let ports = list_at_mut(service, "spec.ports");
        for &index in &self.indexes {
            set(&mut ports[index], "nodePort", port);
        }
    }

    /// The error for the writer when the pool refuses.
    pub fn refused(&self, reason: &str) -> Error {
        let index = self.indexes.first().copied().unwrap_or(0);
        let path = Path::new("spec.ports").index(index).child("nodePort");
        field::invalid(&path, self.requested.unwrap_or(0), reason)
    }
}

/// Everything to allocate, in the order to do it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Cluster addresses.
    pub addresses: Vec<AddressNeed>,
    /// Node ports.
    pub node_ports: Vec<PortNeed>,
    /// The port of the health check: absent when none is needed, `Some(None)` for any.
    pub health_check: Option<Option<i64>>,
}

/// Why a write cannot go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Fields are wrong.
    Invalid(Vec<Error>),
    /// The write would use one node port twice; upstream answers this with a bare 500.
    DuplicateNodePort(String),
}

/// Completes what follows from other fields and tells what must be allocated. `families` are the cluster's, its default
/// first.
pub fn begin(new: &mut Value, old: Option<&Value>, families: &[Family]) -> Result<Needs, Refusal> {
    if let Some(old) = old {
        keep_allocated(new, old);
    }
    mirror_cluster_ip(new, old);
    complete_families(new, old, families).map_err(Refusal::Invalid)?;
    let addresses = address_needs(new, old);
    let (node_ports, health_check) = match old {
        None => (new_port_needs(new), needs_health_check(new).then(|| requested_health_check(new))),
        Some(old) => {
            let is_first = needs_health_check(new) && !needs_health_check(old);
            (changed_port_needs(new, old)?, is_first.then(|| requested_health_check(new)))
        }
    };
    Ok(Needs { addresses, node_ports, health_check })
}

/// Addresses and node ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Cluster addresses.
    pub addresses: Vec<String>,
    /// Node ports, the health check's included.
    pub ports: Vec<i64>,
}

/// What a service holds from the pools.
pub fn held(service: &Value) -> Held {
    let mut held = Held::default();
    if needs_cluster_ip(service) {
        let ips = strings_at(service, "spec.clusterIPs");
        held.addresses =
            ips.into_iter().filter(|ip| !ip.is_empty() && *ip != "None").map(str::to_owned).collect();
    }
    held.ports = node_ports(service);
    if needs_health_check(service) {
        held.ports.extend(requested_health_check(service));
    }
    held.ports.sort_unstable();
    held.ports.dedup();
    held
}

/// What `old` held and `new` no longer does; without `new`, everything.
pub fn released(new: Option<&Value>, old: &Value) -> Held {
    let (before, after) = (held(old), new.map(held).unwrap_or_default());
    Held {
        addresses: before.addresses.into_iter().filter(|ip| !after.addresses.contains(ip)).collect(),
        ports: before.ports.into_iter().filter(|port| !after.ports.contains(port)).collect(),
    }
}

/// Why the address pool refuses an address outside it.
pub fn address_out_of_range(ip: &str, range: &str) -> String {
    format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}")
}

/// Why the port pool refuses a port outside it.
pub fn port_out_of_range(range: &str) -> String {
    format!("provided port is not in the valid range. The range of valid ports is {range}")
}

fn requested_health_check(service: &Value) -> Option<i64> {
    int_at(service, "spec.healthCheckNodePort").filter(|port| *port != 0)
}

/// A writer who leaves out what was allocated gets it back, so that applying the same file again works.
fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if str_at(new, "spec.clusterIP").is_empty() {
            carry_over(new, old, "spec.clusterIP");
        }
        if list_at(new, "spec.clusterIPs").is_empty() {
            carry_over(new, old, "spec.clusterIPs");
        }
    }
    if allocates_node_ports(old) && allocates_node_ports(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check(old) && needs_health_check(new) && requested_health_check(new).is_none() {
        carry_over(new, old, "spec.healthCheckNodePort");
    }
}

/// Ports are told apart by name; a number another port already has is not given twice.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let after = node_ports(new);
    let used: Vec<i64> = node_ports(old).into_iter().filter(|port| after.contains(port)).collect();
    for port in list_at_mut(new, "spec.ports") {
        if node_port(port) != 0 {
            continue;
        }
        let name = str_at(port, "name");
        let stored = list_at(old, "spec.ports").iter().rev().find(|stored| str_at(stored, "name") == name);
        let number = stored.map_or(0, node_port);
        if number != 0 && !used.contains(&number) {
            set(port, "nodePort", number);
        }
    }
}

/// Older writers know only the singular; the plural must follow it.
fn mirror_cluster_ip(new: &mut Value, old: Option<&Value>) {
    let ip = str_at(new, "spec.clusterIP").to_owned();
    let has_plural = !list_at(new, "spec.clusterIPs").is_empty();
    let Some(old) = old else {
        if !ip.is_empty() && !has_plural {
            set(new, "spec.clusterIPs", json!([ip]));
        }
        return;
    };
    let old_ip = str_at(old, "spec.clusterIP");
    if ip == old_ip {
        if !has_plural && !list_at(old, "spec.clusterIPs").is_empty() {
            carry_over(new, old, "spec.clusterIPs");
        }
    } else if same_list(new, old, "spec.clusterIPs") {
        if ip.is_empty() {
            remove(new, "spec.clusterIPs");
        } else {
            set(new, "spec.clusterIPs", json!([ip]));
        }
    }
}

fn same_list(left: &Value, right: &Value, path: &str) -> bool {
    list_at(left, path) == list_at(right, path)
}

fn policy(service: &Value) -> &str {
    str_at(service, "spec.ipFamilyPolicy")
}

/// Neither a preference for two families nor a change of the cluster moves a service between one and two by itself.
fn keeps_preference(new: &Value, old: &Value) -> bool {
    let old_policy = policy(old);
    policy(new) == "PreferDualStack"
        && (old_policy.is_empty() || old_policy == "PreferDualStack")
        && str_at(new, "spec.type") == str_at(old, "spec.type")
        && matches!(str_at(new, "spec.type"), "ClusterIP" | "NodePort" | "LoadBalancer")
        && same_list(new, old, "spec.clusterIPs")
        && same_list(new, old, "spec.ipFamilies")
}

fn is_selectorless_headless(service: &Value) -> bool {
    str_at(service, "spec.clusterIP") == "None"
        && map_at(service, "spec.selector").is_none_or(serde_json::Map::is_empty)
}

fn complete_families(new: &mut Value, old: Option<&Value>, families: &[Family]) -> Result<(), Vec<Error>> {
    if !needs_cluster_ip(new) || old.is_some_and(|old| keeps_preference(new, old)) {
        return Ok(());
    }
    infer_policy(new, old);
    reject(cluster_ips(new, old))?;

    let mut errors = old.map(|old| follow_policy(new, old)).unwrap_or_default();
    errors.extend(two_of_one(new));
    errors.extend(infer_families(new, families));
    reject(errors)?;

    let default = families.first().copied().unwrap_or(Family::V4);
    if is_selectorless_headless(new) {
        // Whoever writes the endpoints knows their families; the cluster's do not matter.
        let wants_two = policy(new) != "SingleStack";
        fill_families(new, default, wants_two);
        return Ok(());
    }
    reject(unconfigured(new, families))?;
    let wants_two = policy(new) != "SingleStack" && families.len() == 2;
    fill_families(new, default, wants_two);
    Ok(())
}

fn reject(errors: Vec<Error>) -> Result<(), Vec<Error>> {
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn infer_policy(new: &mut Value, old: Option<&Value>) {
    if at(new, "spec.ipFamilyPolicy").is_some() {
        return;
    }
    let stored = old.map(policy).filter(|policy| !policy.is_empty());
    let fallback = if is_selectorless_headless(new) { "RequireDualStack" } else { "SingleStack" };
    set(new, "spec.ipFamilyPolicy", stored.unwrap_or(fallback));
}

fn follow_policy(new: &mut Value, old: &Value) -> Vec<Error> {
    if policy(new) == "SingleStack" {
        for path in ["spec.clusterIPs", "spec.ipFamilies"] {
            if same_list(new, old, path) && list_at(new, path).len() > 1 {
                let first = list_at(new, path)[0].clone();
                set(new, path, json!([first]));
            }
        }
        return Vec::new();
    }
    let lists = [("spec.clusterIPs", "cluster IP"), ("spec.ipFamilies", "IP family")];
    let is_reduced = |path: &str| {
        let after = list_at(new, path).len();
        after != 0 && after < list_at(old, path).len()
    };
    let reduced = lists.into_iter().filter(|(path, _)| is_reduced(path));
    reduced
        .map(|(_, what)| policy_error(new, format!("must be 'SingleStack' to release the secondary {what}")))
        .collect()
}

fn policy_error(service: &Value, text: impl Into<String>) -> Error {
    field::invalid(&Path::new("spec.ipFamilyPolicy"), at(service, "spec.ipFamilyPolicy"), text)
}

fn two_of_one(new: &Value) -> Vec<Error> {
    if policy(new) != "SingleStack" {
        return Vec::new();
    }
    let lists = [("spec.clusterIPs", "cluster IPs"), ("spec.ipFamilies", "IP families")];
    let doubled = lists.into_iter().filter(|(path, _)| list_at(new, path).len() == 2);
    doubled
        .map(|(_, what)| {
            policy_error(
                new,
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"),
            )
        })
        .collect()
}

/// A given address tells its family.
fn infer_families(new: &mut Value, families: &[Family]) -> Vec<Error> {
    let ips: Vec<String> = strings_at(new, "spec.clusterIPs").into_iter().map(str::to_owned).collect();
    let mut named: Vec<String> = strings_at(new, "spec.ipFamilies").into_iter().map(str::to_owned).collect();
    let before = named.len();
    let mut errors = Vec::new();
    for (index, ip) in ips.iter().enumerate().take_while(|(_, ip)| *ip != "None") {
        if index < named.len() {
            continue;
        }
        match Family::of(ip).filter(|family| families.contains(family)) {
            Some(family) => named.push(family.as_str().to_owned()),
            None => {
                let family = Family::of(ip).map_or("unknown", Family::as_str);
                let path = Path::new("spec.clusterIPs").index(index);
                errors.push(field::invalid(
                    &path,
                    json!(ips),
                    format!("{family} is not configured on this cluster"),
                ));
            }
        }
    }
    if named.len() > before {
        set(new, "spec.ipFamilies", json!(named));
    }
    errors
}

fn unconfigured(new: &Value, families: &[Family]) -> Vec<Error> {
    let mut errors = Vec::new();
    if policy(new) == "RequireDualStack" && families.len() < 2 {
        errors.push(policy_error(new, "this cluster is not configured for dual-stack services"));
    }
    for (index, name) in strings_at(new, "spec.ipFamilies").into_iter().enumerate() {
        if !Family::parse(name).is_some_and(|family| families.contains(&family)) {
            let path = Path::new("spec.ipFamilies").index(index);
            errors.push(field::invalid(&path, BadValue::from(name), "not configured on this cluster"));
        }
    }
    errors
}

fn fill_families(new: &mut Value, default: Family, wants_two: bool) {
    let mut families: Vec<Family> =
        strings_at(new, "spec.ipFamilies").into_iter().filter_map(Family::parse).collect();
    if families.is_empty() {
        families.push(default);
    }
    if wants_two && families.len() == 1 {
        families.push(families[0].other());
    }
    let names: Vec<&str> = families.into_iter().map(Family::as_str).collect();
    set(new, "spec.ipFamilies", json!(names));
}

fn address_needs(new: &Value, old: Option<&Value>) -> Vec<AddressNeed> {
    let is_headless = |service: &Value| strings_at(service, "spec.clusterIPs").first() == Some(&"None");
    if !needs_cluster_ip(new) {
        return Vec::new();
    }
    let old = old.filter(|old| needs_cluster_ip(old));
    let Some(old) = old else {
        // New, or new among the kinds with an address: all of them.
        return if is_headless(new) { Vec::new() } else { family_needs(new, 0) };
    };
    if keeps_preference(new, old) || is_headless(old) {
        return Vec::new();
    }
    let grows = list_at(old, "spec.ipFamilies").len() == 1 && list_at(new, "spec.ipFamilies").len() == 2;
    if grows { family_needs(new, 1) } else { Vec::new() }
}

fn family_needs(new: &Value, from: usize) -> Vec<AddressNeed> {
    let ips = strings_at(new, "spec.clusterIPs");
    let families =
        strings_at(new, "spec.ipFamilies").into_iter().filter_map(Family::parse).enumerate().skip(from);
    families
        .map(|(index, family)| {
            let requested = ips.get(index).filter(|ip| !ip.is_empty()).map(|ip| (*ip).to_owned());
            AddressNeed { family, requested, index }
        })
        .collect()
}

fn is_node_port_type(service: &Value) -> bool {
    matches!(str_at(service, "spec.type"), "NodePort" | "LoadBalancer")
}

/// Ports of one number share a node port, whatever their protocol.
fn new_port_needs(new: &mut Value) -> Vec<PortNeed> {
    if !is_node_port_type(new) {
        return Vec::new();
    }
    let allocates = allocates_node_ports(new);
    let ports: Vec<(i64, i64)> = list_at(new, "spec.ports")
        .iter()
        .map(|port| (int_at(port, "port").unwrap_or(0), node_port(port)))
        .collect();
    let mut needs: Vec<(i64, PortNeed)> = Vec::new();
    for (index, &(number, node)) in ports.iter().enumerate() {
        if node == 0 && !allocates {
            continue;
        }
        let shared = needs.iter_mut().find(|(of, _)| *of == number);
        match shared {
            None => {
                let requested =
                    ports.iter().find(|(of, node)| *of == number && *node != 0).map(|(_, node)| *node);
                needs.push((number, PortNeed { requested, indexes: vec![index] }));
            }
            Some((_, need)) if node == 0 || need.requested == Some(node) => need.indexes.push(index),
            Some(_) => {
                // A second, different wish for the same port number stands for itself.
                let need = PortNeed { requested: Some(node), indexes: vec![index] };
                needs.push((i64::MIN, need));
            }
        }
    }
    let needs: Vec<PortNeed> = needs.into_iter().map(|(_, need)| need).collect();
    for need in &needs {
        if let Some(port) = need.requested {
            need.assign(new, port);
        }
    }
    needs
}

fn changed_port_needs(new: &Value, old: &Value) -> Result<Vec<PortNeed>, Refusal> {
    if !is_node_port_type(new) {
        return Ok(Vec::new());
    }
    let before = node_ports(old);
    let allocates = allocates_node_ports(new);
    let mut seen: Vec<(&str, i64)> = Vec::new();
    let mut needs: Vec<PortNeed> = Vec::new();
    for (index, port) in list_at(new, "spec.ports").iter().enumerate() {
        let number = node_port(port);
        if number == 0 {
            if allocates {
                needs.push(PortNeed { requested: None, indexes: vec![index] });
            }
            continue;
        }
        let is_new = !before.contains(&number) && !needs.iter().any(|need| need.requested == Some(number));
        if is_new {
            needs.push(PortNeed { requested: Some(number), indexes: vec![index] });
        }
        let pair = (str_at(port, "protocol"), number);
        if seen.contains(&pair) {
            return Err(Refusal::DuplicateNodePort(format!("duplicate nodePort: {{{} {}}}", pair.0, pair.1)));
        }
        seen.push(pair);
    }
    Ok(needs)
}

#[cfg(test)]
mod tests;
