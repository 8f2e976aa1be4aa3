//! Endpoints, the deprecated list of a service's addresses.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{dns_label, dns_subdomain, port_number, qualified_name, subdomain_rule};
use crate::network::{Strictness, ip_warning, is_ipv6, validate_endpoint_ip, validate_legacy_ip};
use crate::tree::{at, entries_at, int_at, list_at, list_at_mut, same_at, set, str_at};
use crate::{Resource, Strategy, Subresource, meta};

/// Addresses a cell shows before it counts the rest.
const SHOWN_MAX: usize = 3;

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("Endpoints", "Ready addresses and their ports."), Column::AGE];

/// The strategy of Endpoints.
pub(super) struct AllEndpoints;

impl Strategy for AllEndpoints {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "endpoints")
    }

    fn default(&self, obj: &mut Value) {
        for subset in list_at_mut(obj, "subsets") {
            for port in list_at_mut(subset, "ports") {
                if str_at(port, "protocol").is_empty() {
                    set(port, "protocol", "TCP");
                }
            }
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(validate_subsets(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(meta::validate(new, true, subdomain_rule));
        // What was good enough once is not complained about until it is touched.
        let subsets = validate_subsets(new);
        if !subsets.is_empty() && !same_at(new, old, "subsets") {
            errors.extend(subsets);
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let labels = entries_at(new, "metadata.labels");
        if labels.contains(&("endpoints.kubernetes.io/managed-by", "endpoint-controller")) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (index, subset) in list_at(new, "subsets").iter().enumerate() {
            for name in ["addresses", "notReadyAddresses"] {
                let path = Path::new("subsets").index(index).child(name);
                for (index, address) in list_at(subset, name).iter().enumerate() {
                    warnings.extend(ip_warning(&path.index(index).child("ip"), str_at(address, "ip")));
                }
            }
        }
        warnings
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(print_endpoints(obj)), columns::age(obj, now)]
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn print_endpoints(obj: &Value) -> String {
    let subsets = list_at(obj, "subsets");
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let all: Vec<String> = subsets.iter().flat_map(subset_addresses).collect();
    let shown = all.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(",");
    match all.len().checked_sub(SHOWN_MAX) {
        Some(hidden) if hidden > 0 => format!("{shown} + {hidden} more..."),
        _ => shown,
    }
}

fn subset_addresses(subset: &Value) -> Vec<String> {
    let ips: Vec<&str> = list_at(subset, "addresses").iter().map(|address| str_at(address, "ip")).collect();
    let ports = list_at(subset, "ports");
    if ports.is_empty() {
        return ips.into_iter().map(str::to_owned).collect();
    }
    let join =
        |ip: &str, port: i64| if is_ipv6(ip) { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let ports = ports.iter().map(|port| int_at(port, "port").unwrap_or(0));
    ports.flat_map(|port| ips.iter().map(move |ip| join(ip, port))).collect()
}

fn validate_subsets(obj: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, subset) in list_at(obj, "subsets").iter().enumerate() {
        let path = Path::new("subsets").index(index);
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|name| list_at(subset, name).is_empty()) {
            errors.push(field::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for name in lists {
            for (index, address) in list_at(subset, name).iter().enumerate() {
                errors.extend(validate_address(address, &path.child(name).index(index)));
            }
        }
        let ports = list_at(subset, "ports");
        for (index, port) in ports.iter().enumerate() {
            errors.extend(validate_port(port, ports.len() > 1, &path.child("ports").index(index)));
        }
    }
    errors
}

fn validate_address(address: &Value, path: &Path) -> Vec<Error> {
    let (ip, hostname) = (str_at(address, "ip"), str_at(address, "hostname"));
    let mut errors = validate_legacy_ip(&path.child("ip"), ip, Strictness::Strict, &[]);
    if !hostname.is_empty() {
        let path = path.child("hostname");
        errors.extend(dns_label(hostname).into_iter().map(|text| field::invalid(&path, hostname, text)));
    }
    if let Some(node) = at(address, "nodeName").and_then(Value::as_str) {
        let path = path.child("nodeName");
        errors.extend(dns_subdomain(node).into_iter().map(|text| field::invalid(&path, node, text)));
    }
    errors.extend(validate_endpoint_ip(&path.child("ip"), ip));
    errors
}

fn validate_port(port: &Value, needs_name: bool, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    match str_at(port, "name") {
        "" if needs_name => errors.push(field::required(&path.child("name"), "")),
        "" => {}
        name => errors
            .extend(dns_label(name).into_iter().map(|text| field::invalid(&path.child("name"), name, text))),
    }
    let number = int_at(port, "port").unwrap_or(0);
    errors.extend(port_number(number).map(|text| field::invalid(&path.child("port"), number, text)));
    errors.extend(validate_protocol(port, path));
    errors
}

/// Everything wrong with a port's protocols.
fn validate_protocol(port: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    match str_at(port, "protocol") {
        "" => errors.push(field::required(&path.child("protocol"), "")),
        "TCP" | "UDP" | "SCTP" => {}
        other => errors.push(field::not_supported(&path.child("protocol"), other, &["SCTP", "TCP", "UDP"])),
    }
    if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
        let path = path.child("appProtocol");
        errors.extend(qualified_name(protocol).into_iter().map(|text| field::invalid(&path, protocol, text)));
    }
    errors
}
