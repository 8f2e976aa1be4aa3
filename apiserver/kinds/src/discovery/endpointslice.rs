//! EndpointSlices: a part of a service's endpoints, all of one address family.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta::validate_labels;
use crate::names::{dns_label, dns_subdomain, label_value, qualified_name, subdomain_rule};
use crate::network::{
    Strictness, ip_warning, is_ipv4, is_ipv6, validate_endpoint_ip, validate_ip, validate_legacy_ip,
};
use crate::tree::{
    at, entries_at, int_at, list_at, list_at_mut, map_at, remove, same_at, set_default, str_at, strings_at,
};
use crate::{Resource, Strategy, Subresource, meta};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_LABELS_MAX: usize = 16;
const HINTS_MAX: usize = 8;

/// Entries a cell shows before it counts the rest.
const SHOWN_MAX: usize = 3;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("AddressType", "Family of the addresses."),
    Column::text("Ports", "Ports of every endpoint."),
    Column::text("Endpoints", "Addresses of the endpoints."),
    Column::AGE,
];

/// The strategy of EndpointSlices.
pub(super) struct EndpointSlices;

impl Strategy for EndpointSlices {
    fn resource(&self) -> &'static Resource {
        crate::resource!("discovery.k8s.io", "v1", "endpointslices")
    }

    fn default(&self, obj: &mut Value) {
        for port in list_at_mut(obj, "ports") {
            set_default(port, "name", "");
            set_default(port, "protocol", "TCP");
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        meta::start_generation(obj);
        drop_topology(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        meta::count_generation(new, old, &["addressType", "endpoints", "ports", "metadata.labels"]);
        if !same_at(new, old, "endpoints") {
            drop_topology(new);
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = validate_fields(obj);
        errors.extend(validate_endpoints(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = validate_fields(new);
        // What was good enough once is not complained about until it is touched.
        let endpoints = validate_endpoints(new);
        if !endpoints.is_empty() && !same_at(new, old, "endpoints") {
            errors.extend(endpoints);
        }
        errors.extend(meta::validate_immutable(new, old, "addressType"));
        errors
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && str_at(new, "addressType") == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        warnings.extend(address_warnings(new));
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ports = list_at(obj, "ports").iter().map(print_port).collect();
        let addresses =
            list_at(obj, "endpoints").iter().flat_map(|endpoint| strings_at(endpoint, "addresses"));
        vec![
            columns::name(obj),
            json!(str_at(obj, "addressType")),
            json!(shortened(ports)),
            json!(shortened(addresses.map(str::to_owned).collect())),
            columns::age(obj, now),
        ]
    }
}

fn print_port(port: &Value) -> String {
    match (int_at(port, "port"), at(port, "name").and_then(Value::as_str)) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}

fn shortened(all: Vec<String>) -> String {
    if all.is_empty() {
        return "<unset>".to_owned();
    }
    let shown = all.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(",");
    match all.len().checked_sub(SHOWN_MAX) {
        Some(hidden) if hidden > 0 => format!("{shown} + {hidden} more..."),
        _ => shown,
    }
}

/// The field belongs to an older version and cannot be written through this one.
fn drop_topology(obj: &mut Value) {
    for endpoint in list_at_mut(obj, "endpoints") {
        remove(endpoint, "deprecatedTopology");
    }
}

fn address_warnings(obj: &Value) -> Vec<String> {
    const CONTROLLERS: &[&str] =
        &["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
    let labels = entries_at(obj, "metadata.labels");
    let manager = labels.iter().find(|(key, _)| *key == "endpointslice.kubernetes.io/managed-by");
    if manager.is_some_and(|(_, name)| CONTROLLERS.contains(name)) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for (index, endpoint) in list_at(obj, "endpoints").iter().enumerate() {
        let path = Path::new("endpoints").index(index).child("addresses");
        let addresses = strings_at(endpoint, "addresses").into_iter().enumerate();
        warnings.extend(addresses.filter_map(|(index, address)| ip_warning(&path.index(index), address)));
    }
    warnings
}

fn validate_fields(obj: &Value) -> Vec<Error> {
    let mut errors = meta::validate(obj, true, subdomain_rule);
    let path = Path::new("addressType");
    match str_at(obj, "addressType") {
        "" => errors.push(field::required(&path, "")),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => errors.push(field::not_supported(&path, other, &["FQDN", "IPv4", "IPv6"])),
    }
    errors.extend(validate_ports(obj, &Path::new("ports")));
    errors
}

fn validate_ports(obj: &Value, path: &Path) -> Vec<Error> {
    let ports = list_at(obj, "ports");
    if ports.len() > PORTS_MAX {
        return vec![field::too_many(path, ports.len(), PORTS_MAX)];
    }
    let mut names = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = str_at(port, "name");
        if !name.is_empty() {
            errors.extend(
                dns_label(name).into_iter().map(|text| field::invalid(&path.child("name"), name, text)),
            );
        }
        if !names.insert(name) {
            errors.push(field::duplicate(&path.child("name"), name));
        }
        match at(port, "protocol").and_then(Value::as_str) {
            None => errors.push(field::required(&path.child("protocol"), "")),
            Some("TCP" | "UDP" | "SCTP") => {}
            Some(other) => {
                errors.push(field::not_supported(&path.child("protocol"), other, &["SCTP", "TCP", "UDP"]))
            }
        }
        if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
            let path = path.child("appProtocol");
            errors.extend(
                qualified_name(protocol).into_iter().map(|text| field::invalid(&path, protocol, text)),
            );
        }
    }
    errors
}

fn validate_endpoints(obj: &Value) -> Vec<Error> {
    let path = Path::new("endpoints");
    let endpoints = list_at(obj, "endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        return vec![field::too_many(&path, endpoints.len(), ENDPOINTS_MAX)];
    }
    let family = str_at(obj, "addressType");
    let each = endpoints.iter().enumerate();
    each.flat_map(|(index, endpoint)| validate_endpoint(endpoint, family, &path.index(index))).collect()
}

fn validate_endpoint(endpoint: &Value, family: &str, path: &Path) -> Vec<Error> {
    let addresses_path = path.child("addresses");
    let addresses = strings_at(endpoint, "addresses");
    let mut errors = Vec::new();
    if addresses.is_empty() {
        errors.push(field::required(&addresses_path, "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(field::too_many(&addresses_path, addresses.len(), ADDRESSES_MAX));
    }
    for (index, address) in addresses.into_iter().enumerate() {
        errors.extend(validate_address(address, family, &addresses_path, index));
    }
    if let Some(node) = at(endpoint, "nodeName").and_then(Value::as_str) {
        let path = path.child("nodeName");
        errors.extend(dns_subdomain(node).into_iter().map(|text| field::invalid(&path, node, text)));
    }
    let topology = path.child("deprecatedTopology");
    let labels = map_at(endpoint, "deprecatedTopology").map_or(0, serde_json::Map::len);
    if labels > TOPOLOGY_LABELS_MAX {
        errors.push(field::too_many(&topology, labels, TOPOLOGY_LABELS_MAX));
    }
    errors.extend(validate_labels(endpoint, "deprecatedTopology", &topology));
    if let Some(hostname) = at(endpoint, "hostname").and_then(Value::as_str) {
        let path = path.child("hostname");
        errors.extend(dns_label(hostname).into_iter().map(|text| field::invalid(&path, hostname, text)));
    }
    errors.extend(validate_hints(endpoint, &path.child("hints")));
    errors
}

fn validate_address(address: &str, family: &str, path: &Path, index: usize) -> Vec<Error> {
    let at_index = path.index(index);
    let (syntax, fits) = match family {
        "IPv4" => (validate_legacy_ip(&at_index, address, Strictness::Strict, &[]), is_ipv4(address)),
        "IPv6" => (validate_ip(&at_index, address), is_ipv6(address)),
        "FQDN" => return validate_domain(address, &at_index),
        _ => return Vec::new(),
    };
    if !syntax.is_empty() {
        return syntax;
    }
    let mut errors = Vec::new();
    if !fits {
        errors.push(field::invalid(path, address, format!("must be an {family} address")));
    }
    errors.extend(validate_endpoint_ip(&at_index, address));
    errors
}

fn validate_domain(name: &str, path: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let subdomain = dns_subdomain(name);
    if !subdomain.is_empty() {
        return vec![field::invalid(path, name, subdomain.join(","))];
    }
    if !name.contains('.') {
        return vec![field::invalid(
            path,
            name,
            "should be a domain with at least two segments separated by dots",
        )];
    }
    let bad = name.split('.').map(|label| (label, dns_label(label))).find(|(_, texts)| !texts.is_empty());
    bad.map(|(label, texts)| field::invalid(path, label, texts.join(","))).into_iter().collect()
}

fn validate_hints(endpoint: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (list, rule) in [("forZones", label_value as fn(&str) -> Vec<String>), ("forNodes", dns_subdomain)] {
        let path = path.child(list);
        let hints = list_at(endpoint, &format!("hints.{list}"));
        if hints.len() > HINTS_MAX {
            errors.push(field::too_many(&path, hints.len(), HINTS_MAX));
            return errors;
        }
        let mut names = HashSet::new();
        for (index, hint) in hints.iter().enumerate() {
            let (name, path) = (str_at(hint, "name"), path.index(index).child("name"));
            if !names.insert(name) {
                errors.push(field::duplicate(&path, name));
            }
            errors.extend(rule(name).into_iter().map(|text| field::invalid(&path, name, text)));
        }
    }
    errors
}
