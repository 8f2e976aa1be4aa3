//! NetworkPolicies: which traffic pods accept and send.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{port_name, port_number, subdomain_rule};
use crate::network::{Strictness, cidr_warnings, masked, parse_cidr_sloppy, validate_legacy_cidr};
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, int_at, list_at, list_at_mut, set, set_default, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta};

/// The two directions: list of rules, list of peers in a rule.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("Pod-Selector", "The pods the policy is about."), Column::AGE];

/// The strategy of NetworkPolicies.
pub(super) struct NetworkPolicies;

impl Strategy for NetworkPolicies {
    fn resource(&self) -> &'static Resource {
        crate::resource!("networking.k8s.io", "v1", "networkpolicies")
    }

    fn default(&self, obj: &mut Value) {
        for (rules, _) in DIRECTIONS {
            for rule in list_at_mut(obj, &format!("spec.{rules}")) {
                list_at_mut(rule, "ports").iter_mut().for_each(|port| set_default(port, "protocol", "TCP"));
            }
        }
        if list_at(obj, "spec.policyTypes").is_empty() {
            let has_egress = !list_at(obj, "spec.egress").is_empty();
            let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            set(obj, "spec.policyTypes", types);
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        meta::start_generation(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(validate_spec(obj, &Options { selector: Leniency::default(), stored: Vec::new() }));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let path = Path::new("spec.podSelector");
        let strict = Leniency::default();
        let spec = at(old, "spec").unwrap_or(&Value::Null);
        let any_values = !validate_label_selector(spec, "podSelector", strict, &path).is_empty();
        let options =
            Options { selector: Leniency { any_values, any_operator: false }, stored: stored_cidrs(old) };
        let mut errors = meta::validate_update(new, old);
        errors.extend(validate_spec(new, &options));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (block, path) in ip_blocks(new) {
            warnings.extend(cidr_warnings(&path.child("cidr"), str_at(block, "cidr")));
            for (index, except) in strings_at(block, "except").into_iter().enumerate() {
                warnings.extend(cidr_warnings(&path.child("except").index(index), except));
            }
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let selector = columns::label_selector(obj, "spec.podSelector");
        vec![columns::name(obj), json!(selector), columns::age(obj, now)]
    }
}

/// What passes because it is stored already.
struct Options<'a> {
    selector: Leniency,
    /// CIDRs of the stored policy, which are not looked at again wherever they stand.
    stored: Vec<&'a str>,
}

/// Every peer that is a range of addresses, with its path.
fn ip_blocks(obj: &Value) -> Vec<(&Value, Path)> {
    let mut blocks = Vec::new();
    for (rules, peers) in DIRECTIONS {
        let path = Path::new("spec").child(rules);
        for (index, rule) in list_at(obj, &format!("spec.{rules}")).iter().enumerate() {
            let path = path.index(index).child(peers);
            for (index, peer) in list_at(rule, peers).iter().enumerate() {
                blocks.extend(at(peer, "ipBlock").map(|block| (block, path.index(index).child("ipBlock"))));
            }
        }
    }
    blocks
}

fn stored_cidrs(old: &Value) -> Vec<&str> {
    let mut cidrs = Vec::new();
    for (block, _) in ip_blocks(old) {
        cidrs.push(str_at(block, "cidr"));
        cidrs.extend(strings_at(block, "except"));
    }
    cidrs
}

fn validate_spec(obj: &Value, options: &Options<'_>) -> Vec<Error> {
    let path = Path::new("spec");
    let spec = at(obj, "spec").unwrap_or(&Value::Null);
    let mut errors =
        validate_label_selector(spec, "podSelector", options.selector, &path.child("podSelector"));
    for (rules, peers) in DIRECTIONS {
        let path = path.child(rules);
        for (index, rule) in list_at(spec, rules).iter().enumerate() {
            errors.extend(validate_rule(rule, peers, options, &path.index(index)));
        }
    }
    errors.extend(validate_types(spec, &path.child("policyTypes")));
    errors
}

fn validate_types(spec: &Value, path: &Path) -> Vec<Error> {
    const TYPES: &[&str] = &["Ingress", "Egress"];
    let types = strings_at(spec, "policyTypes");
    if types.len() > TYPES.len() {
        let text = "may not specify more than two policyTypes";
        return vec![field::invalid(path, at(spec, "policyTypes"), text)];
    }
    let unknown = types.into_iter().enumerate().filter(|(_, name)| !TYPES.contains(name));
    unknown.map(|(index, name)| field::not_supported(&path.index(index), name, TYPES)).collect()
}

fn validate_rule(rule: &Value, peers: &str, options: &Options<'_>, path: &Path) -> Vec<Error> {
    let ports = list_at(rule, "ports").iter().enumerate();
    let mut errors: Vec<Error> =
        ports.flat_map(|(index, port)| validate_port(port, &path.child("ports").index(index))).collect();
    for (index, peer) in list_at(rule, peers).iter().enumerate() {
        errors.extend(validate_peer(peer, options, &path.child(peers).index(index)));
    }
    errors
}

fn validate_port(entry: &Value, path: &Path) -> Vec<Error> {
    const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
    let mut errors = Vec::new();
    if let Some(protocol) = at(entry, "protocol").and_then(Value::as_str)
        && !PROTOCOLS.contains(&protocol)
    {
        errors.push(field::not_supported(&path.child("protocol"), protocol, PROTOCOLS));
    }
    let (port_path, end_path) = (path.child("port"), path.child("endPort"));
    let end = int_at(entry, "endPort");
    match at(entry, "port") {
        None => {
            errors.extend(end.map(|end| {
                field::invalid(&end_path, end, "may not be specified when `port` is not specified")
            }))
        }
        Some(Value::String(name)) => {
            errors.extend(end.map(|end| {
                field::invalid(&end_path, end, "may not be specified when `port` is non-numeric")
            }));
            errors.extend(
                port_name(name).into_iter().map(|text| field::invalid(&port_path, name.as_str(), text)),
            );
        }
        Some(number) => {
            let number = number.as_i64().unwrap_or(0);
            errors.extend(port_number(number).map(|text| field::invalid(&port_path, number, text)));
            if let Some(end) = end {
                if end < number {
                    let text = "must be greater than or equal to `port`";
                    errors.push(field::invalid(&end_path, number, text));
                }
                errors.extend(port_number(end).map(|text| field::invalid(&end_path, end, text)));
            }
        }
    }
    errors
}

fn validate_peer(peer: &Value, options: &Options<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let selectors = ["podSelector", "namespaceSelector"];
    for name in selectors {
        errors.extend(validate_label_selector(peer, name, options.selector, &path.child(name)));
    }
    let selects = selectors.iter().any(|name| at(peer, name).is_some());
    let block = at(peer, "ipBlock");
    if let Some(block) = block {
        errors.extend(validate_block(block, &options.stored, &path.child("ipBlock")));
    }
    match (selects, block) {
        (false, None) => errors.push(field::required(path, "must specify a peer")),
        (true, Some(_)) => {
            errors.push(field::forbidden(path, "may not specify both ipBlock and another peer"));
        }
        _ => {}
    }
    errors
}

fn validate_block(block: &Value, stored: &[&str], path: &Path) -> Vec<Error> {
    let (cidr, cidr_path) = (str_at(block, "cidr"), path.child("cidr"));
    if cidr.is_empty() {
        return vec![field::required(&cidr_path, "")];
    }
    let mut errors = validate_legacy_cidr(&cidr_path, cidr, Strictness::Strict, stored);
    let Some(outer) = parse_cidr_sloppy(cidr) else { return errors };
    for (index, except) in strings_at(block, "except").into_iter().enumerate() {
        let path = path.child("except").index(index);
        errors.extend(validate_legacy_cidr(&path, except, Strictness::Strict, stored));
        if parse_cidr_sloppy(except).is_some_and(|inner| !is_strictly_within(inner, outer)) {
            errors.push(field::invalid(&path, except, "must be a strict subset of `cidr`"));
        }
    }
    errors
}

fn is_strictly_within(inner: (IpAddr, u8), outer: (IpAddr, u8)) -> bool {
    inner.0.is_ipv4() == outer.0.is_ipv4()
        && inner.1 > outer.1
        && masked(inner.0, outer.1) == masked(outer.0, outer.1)
}
