//! What is wrong with a Service, whether new or updated.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{is_externally_accessible, is_headless, needs_health_check, node_port};
use crate::field::{self, BadValue, Error, Path};
use crate::meta::validate_labels;
use crate::names::{dns_label, dns_subdomain, port_name, port_number, qualified_name};
use crate::network::{
    Strictness, is_ipv4, is_ipv6, parse_ip_sloppy, validate_endpoint_ip, validate_legacy_cidr,
    validate_legacy_ip,
};
use crate::tree::{at, entries_at, int_at, list_at, str_at, strings_at};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const HINTS_ANNOTATION: &str = "service.kubernetes.io/topology-aware-hints";
const MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";
const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

/// Everything wrong with the spec and the annotations that extend it.
pub(super) fn service(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let spec = Path::new("spec");
    let mut errors: Vec<Error> = topology_annotations(obj).into_iter().collect();
    if list_at(obj, "spec.ports").is_empty()
        && !is_headless(obj)
        && str_at(obj, "spec.type") != "ExternalName"
    {
        errors.push(field::required(&spec.child("ports"), ""));
    }
    errors.extend(by_type(obj, &spec));
    errors.extend(ports(obj, &spec.child("ports")));
    errors.extend(validate_labels(
        at(obj, "spec").unwrap_or(&Value::Null),
        "selector",
        &spec.child("selector"),
    ));
    errors.extend(affinity(obj, &spec));
    errors.extend(cluster_ips(obj, old));
    errors.extend(external_ips(obj, old, &spec.child("externalIPs")));
    match str_at(obj, "spec.type") {
        "" => errors.push(field::required(&spec.child("type"), "")),
        kind if !TYPES.contains(&kind) => errors.push(field::not_supported(&spec.child("type"), kind, TYPES)),
        _ => {}
    }
    errors.extend(node_ports(obj, &spec.child("ports")));
    errors.extend(duplicate_ports(obj, &spec.child("ports")));
    errors.extend(source_ranges(obj, old));
    errors.extend(load_balancer_fields(obj, &spec));
    errors.extend(external_policy(obj, &spec));
    errors.extend(internal_policy(obj, &spec.child("internalTrafficPolicy")));
    errors.extend(distribution(obj, &spec.child("trafficDistribution")));
    errors
}

fn annotation<'a>(obj: &'a Value, key: &str) -> Option<&'a str> {
    entries_at(obj, "metadata.annotations").into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn topology_annotations(obj: &Value) -> Option<Error> {
    let (mode, hints) = (annotation(obj, MODE_ANNOTATION)?, annotation(obj, HINTS_ANNOTATION)?);
    let path = Path::new("metadata.annotations").key(MODE_ANNOTATION);
    (mode != hints).then(|| {
        field::invalid(
            &path,
            mode,
            format!("must match annotations[{HINTS_ANNOTATION}] when both are specified"),
        )
    })
}

fn by_type(obj: &Value, spec: &Path) -> Vec<Error> {
    let kind = str_at(obj, "spec.type");
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(obj) => {
            let text = format!("may not be set to 'None' for {kind} services");
            vec![field::invalid(&spec.child("clusterIPs").index(0), "None", text)]
        }
        "ExternalName" => external_name(obj, spec),
        _ => Vec::new(),
    }
}

fn external_name(obj: &Value, spec: &Path) -> Vec<Error> {
    const TEXT: &str = "may not be set for ExternalName services";
    let mut errors = Vec::new();
    for name in ["clusterIPs", "ipFamilies"] {
        if !list_at(obj, &format!("spec.{name}")).is_empty() {
            errors.push(field::forbidden(&spec.child(name), TEXT));
        }
    }
    if at(obj, "spec.ipFamilyPolicy").is_some() {
        errors.push(field::forbidden(&spec.child("ipFamilyPolicy"), TEXT));
    }
    let path = spec.child("externalName");
    let given = str_at(obj, "spec.externalName");
    // A trailing dot marks a name as complete.
    match given.strip_suffix('.').unwrap_or(given) {
        "" => errors.push(field::required(&path, "")),
        name => errors.extend(dns_subdomain(name).into_iter().map(|text| field::invalid(&path, name, text))),
    }
    errors
}

fn ports(obj: &Value, path: &Path) -> Vec<Error> {
    let ports = list_at(obj, "spec.ports");
    let mut names = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = str_at(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(field::required(&path.child("name"), ""));
            }
        } else {
            errors.extend(
                dns_label(name).into_iter().map(|text| field::invalid(&path.child("name"), name, text)),
            );
            if !names.insert(name) {
                errors.push(field::duplicate(&path.child("name"), name));
            }
        }
        errors.extend(port_values(port, &path));
    }
    errors
}

fn port_values(port: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let number = int_at(port, "port").unwrap_or(0);
    errors.extend(port_number(number).map(|text| field::invalid(&path.child("port"), number, text)));
    match str_at(port, "protocol") {
        "" => errors.push(field::required(&path.child("protocol"), "")),
        known if PROTOCOLS.contains(&known) => {}
        other => errors.push(field::not_supported(&path.child("protocol"), other, PROTOCOLS)),
    }
    errors.extend(port_number_or_name(at(port, "targetPort"), &path.child("targetPort")));
    if let Some(protocol) = at(port, "appProtocol").and_then(Value::as_str) {
        let path = path.child("appProtocol");
        errors.extend(qualified_name(protocol).into_iter().map(|text| field::invalid(&path, protocol, text)));
    }
    errors
}

/// Everything wrong with a port given as number or name; an absent one is the number 0.
fn port_number_or_name(value: Option<&Value>, path: &Path) -> Vec<Error> {
    match value.and_then(Value::as_str) {
        Some(name) => port_name(name).into_iter().map(|text| field::invalid(path, name, text)).collect(),
        None => {
            let number = value.and_then(Value::as_i64).unwrap_or(0);
            port_number(number).map(|text| field::invalid(path, number, text)).into_iter().collect()
        }
    }
}

fn affinity(obj: &Value, spec: &Path) -> Vec<Error> {
    let path = spec.child("sessionAffinity");
    let config = spec.child("sessionAffinityConfig");
    match str_at(obj, "spec.sessionAffinity") {
        "" => vec![field::required(&path, "")],
        "ClientIP" => client_affinity(obj, &config).into_iter().collect(),
        "None" => at(obj, "spec.sessionAffinityConfig")
            .map(|_| field::forbidden(&config, "must not be set when session affinity is None"))
            .into_iter()
            .collect(),
        other => vec![field::not_supported(&path, other, &["ClientIP", "None"])],
    }
}

fn client_affinity(obj: &Value, path: &Path) -> Option<Error> {
    const TEXT: &str = "when session affinity type is ClientIP";
    let Some(config) = at(obj, "spec.sessionAffinityConfig") else {
        return Some(field::required(path, TEXT));
    };
    let path = path.child("clientIP");
    if at(config, "clientIP").is_none() {
        return Some(field::required(&path, TEXT));
    }
    let path = path.child("timeoutSeconds");
    match int_at(config, "clientIP.timeoutSeconds") {
        None => Some(field::required(&path, TEXT)),
        Some(seconds) if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) => {
            let text = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
            Some(field::invalid(&path, seconds, text))
        }
        Some(_) => None,
    }
}

/// Everything wrong with addresses and families; allocation asks this too, before anything else.
pub(super) fn cluster_ips(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    if str_at(obj, "spec.type") == "ExternalName" {
        return Vec::new();
    }
    let path = Path::new("spec.clusterIPs");
    let (ip, ips) = (str_at(obj, "spec.clusterIP"), strings_at(obj, "spec.clusterIPs"));
    let mut errors = Vec::new();
    match (ip.is_empty(), ips.first()) {
        (false, None) => errors.push(field::required(&path, "")),
        (false, Some(first)) if *first != ip => {
            errors.push(field::invalid(&path, json!(ips), "first value must match `clusterIP`"));
        }
        (true, Some(_)) => {
            errors.push(field::invalid(&path, json!(ips), "must be empty when `clusterIP` is not specified"));
        }
        _ => {}
    }
    errors.extend(families(obj));
    let (ip_errors, are_valid) = each_ip(&ips, old, &path);
    errors.extend(ip_errors);
    if ips.len() > 2 {
        errors.push(field::invalid(&path, json!(ips), "may only hold up to 2 values"));
    }
    if are_valid {
        errors.extend(ip_families_match(obj, &ips, &path));
    }
    errors
}

fn families(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec.ipFamilies");
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (index, family) in strings_at(obj, "spec.ipFamilies").into_iter().enumerate() {
        if !FAMILIES.contains(&family) {
            errors.push(field::not_supported(&path.index(index), family, FAMILIES));
        }
        if !seen.insert(family) {
            errors.push(field::duplicate(&path.index(index), family));
        }
    }
    if let Some(policy) = at(obj, "spec.ipFamilyPolicy").and_then(Value::as_str)
        && !POLICIES.contains(&policy)
    {
        errors.push(field::not_supported(&Path::new("spec.ipFamilyPolicy"), policy, POLICIES));
    }
    errors
}

fn each_ip(ips: &[&str], old: Option<&Value>, path: &Path) -> (Vec<Error>, bool) {
    let stored = old.map(|old| strings_at(old, "spec.clusterIPs")).unwrap_or_default();
    let mut errors = Vec::new();
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if ips.len() > 1 {
                errors.push(field::invalid(path, json!(ips), "'None' must be the first and only value"));
            }
            continue;
        }
        errors.extend(validate_legacy_ip(&path.index(index), ip, Strictness::Strict, &stored));
    }
    let are_valid = errors.is_empty();
    (errors, are_valid)
}

fn ip_families_match(obj: &Value, ips: &[&str], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if ips.len() > 1 {
        let has_both = ips.iter().any(|ip| is_ipv4(ip)) && ips.iter().any(|ip| is_ipv6(ip));
        if !has_both {
            errors.push(field::invalid(
                path,
                json!(ips),
                "may specify no more than one IP for each IP family",
            ));
        }
    }
    if is_headless(obj) {
        return errors;
    }
    for (index, (ip, family)) in ips.iter().zip(strings_at(obj, "spec.ipFamilies")).enumerate() {
        let fits = match family {
            "IPv4" => !is_ipv6(ip),
            "IPv6" => is_ipv6(ip),
            _ => true,
        };
        if !fits {
            let text = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(field::invalid(&path.index(index), *ip, text));
        }
    }
    errors
}

fn external_ips(obj: &Value, old: Option<&Value>, path: &Path) -> Vec<Error> {
    let stored = old.map(|old| strings_at(old, "spec.externalIPs")).unwrap_or_default();
    let mut errors = Vec::new();
    for (index, ip) in strings_at(obj, "spec.externalIPs").into_iter().enumerate() {
        let path = path.index(index);
        let syntax = validate_legacy_ip(&path, ip, Strictness::Strict, &stored);
        if syntax.is_empty() {
            errors.extend(validate_endpoint_ip(&path, ip));
        } else {
            errors.extend(syntax);
        }
    }
    errors
}

fn node_ports(obj: &Value, path: &Path) -> Vec<Error> {
    let ports = list_at(obj, "spec.ports");
    let mut errors = Vec::new();
    if str_at(obj, "spec.type") == "ClusterIP" {
        for (index, port) in ports.iter().enumerate() {
            if node_port(port) != 0 {
                let path = path.index(index).child("nodePort");
                errors.push(field::forbidden(&path, "may not be used when `type` is 'ClusterIP'"));
            }
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let number = node_port(port);
        if number != 0 && !seen.insert((str_at(port, "protocol"), number)) {
            errors.push(field::duplicate(&path.index(index).child("nodePort"), number));
        }
    }
    errors
}

fn duplicate_ports(obj: &Value, path: &Path) -> Vec<Error> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in list_at(obj, "spec.ports").iter().enumerate() {
        let (protocol, number) = (str_at(port, "protocol"), int_at(port, "port").unwrap_or(0));
        if !seen.insert((protocol, number)) {
            let protocol = field::go_json(&json!(protocol));
            let key = format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            errors.push(field::duplicate(&path.index(index), BadValue::Printed(key)));
        }
    }
    errors
}

fn source_ranges(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let is_balancer = str_at(obj, "spec.type") == "LoadBalancer";
    let ranges = strings_at(obj, "spec.loadBalancerSourceRanges");
    let mut errors = Vec::new();
    if !ranges.is_empty() {
        let path = Path::new("spec.LoadBalancerSourceRanges");
        if !is_balancer {
            errors.push(field::forbidden(&path, BALANCER_ONLY));
        }
        let stored = old.map(|old| strings_at(old, "spec.loadBalancerSourceRanges")).unwrap_or_default();
        let stored: Vec<&str> = stored.into_iter().map(str::trim).collect();
        for (index, range) in ranges.into_iter().enumerate() {
            errors.extend(validate_legacy_cidr(
                &path.index(index),
                range.trim(),
                Strictness::Strict,
                &stored,
            ));
        }
        return errors;
    }
    let Some(value) = annotation(obj, RANGES_ANNOTATION) else { return errors };
    let path = Path::new("metadata.annotations").key(RANGES_ANNOTATION);
    if !is_balancer {
        errors.push(field::forbidden(&path, BALANCER_ONLY));
    }
    let is_stored = old.and_then(|old| annotation(old, RANGES_ANNOTATION)) == Some(value);
    if !is_stored && !value.trim().is_empty() {
        for range in value.trim().split(',') {
            errors.extend(validate_legacy_cidr(&path, range.trim(), Strictness::Strict, &[]));
        }
    }
    errors
}

fn load_balancer_fields(obj: &Value, spec: &Path) -> Vec<Error> {
    let is_balancer = str_at(obj, "spec.type") == "LoadBalancer";
    let mut errors = Vec::new();
    match (is_balancer, at(obj, "spec.allocateLoadBalancerNodePorts").is_some()) {
        (false, true) => {
            errors.push(field::forbidden(&spec.child("allocateLoadBalancerNodePorts"), BALANCER_ONLY))
        }
        (true, false) => errors.push(field::required(&Path::new("allocateLoadBalancerNodePorts"), "")),
        _ => {}
    }
    errors.extend(load_balancer_class(obj, spec));
    errors
}

/// Everything wrong with the class by itself; that it may not change is told elsewhere.
pub(super) fn load_balancer_class(obj: &Value, spec: &Path) -> Vec<Error> {
    let path = spec.child("loadBalancerClass");
    match at(obj, "spec.loadBalancerClass").and_then(Value::as_str) {
        None => Vec::new(),
        Some(_) if str_at(obj, "spec.type") != "LoadBalancer" => vec![field::forbidden(&path, BALANCER_ONLY)],
        Some(class) => {
            qualified_name(class).into_iter().map(|text| field::invalid(&path, class, text)).collect()
        }
    }
}

fn external_policy(obj: &Value, spec: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = spec.child("externalTrafficPolicy");
    match (is_externally_accessible(obj), str_at(obj, "spec.externalTrafficPolicy")) {
        (false, "") | (true, "Cluster" | "Local") => {}
        (false, policy) => {
            errors.push(field::invalid(&path, policy, "may only be set for externally-accessible services"));
        }
        (true, "") => errors.push(field::required(&path, "")),
        (true, policy) => errors.push(field::not_supported(&path, policy, &["Cluster", "Local"])),
    }
    let path = spec.child("healthCheckNodePort");
    let port = int_at(obj, "spec.healthCheckNodePort").unwrap_or(0);
    match (needs_health_check(obj), port) {
        (false, 0) => {}
        (false, _) => {
            let text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(field::invalid(&path, port, text));
        }
        (true, 0) => errors.push(field::required(&path, "")),
        (true, _) => errors.extend(port_number(port).map(|text| field::invalid(&path, port, text))),
    }
    errors
}

fn internal_policy(obj: &Value, path: &Path) -> Option<Error> {
    let needs_policy = ["NodePort", "LoadBalancer", "ClusterIP"].contains(&str_at(obj, "spec.type"));
    match at(obj, "spec.internalTrafficPolicy").and_then(Value::as_str) {
        None => needs_policy.then(|| field::required(path, "")),
        Some("Cluster" | "Local") => None,
        Some(policy) => Some(field::not_supported(path, policy, &["Cluster", "Local"])),
    }
}

fn distribution(obj: &Value, path: &Path) -> Option<Error> {
    const SUPPORTED: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    let value = at(obj, "spec.trafficDistribution")?.as_str()?;
    (!SUPPORTED.contains(&value)).then(|| field::not_supported(path, value, SUPPORTED))
}

/// Everything wrong with the addresses a load balancer reports.
pub(super) fn load_balancer_status(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let path = Path::new("status.loadBalancer.ingress");
    let ingresses = list_at(obj, "status.loadBalancer.ingress");
    if str_at(obj, "spec.type") != "LoadBalancer" && !ingresses.is_empty() {
        return vec![field::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'")];
    }
    let stored: Vec<&str> = old
        .map(|old| {
            list_at(old, "status.loadBalancer.ingress").iter().map(|ingress| str_at(ingress, "ip")).collect()
        })
        .unwrap_or_default();
    let stored: Vec<&str> = stored.into_iter().filter(|ip| !ip.is_empty()).collect();
    let each = ingresses.iter().enumerate();
    each.flat_map(|(index, ingress)| load_balancer_ingress(ingress, &stored, &path.index(index))).collect()
}

fn load_balancer_ingress(ingress: &Value, stored: &[&str], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (ip, hostname) = (str_at(ingress, "ip"), str_at(ingress, "hostname"));
    if !ip.is_empty() {
        errors.extend(validate_legacy_ip(&path.child("ip"), ip, Strictness::Strict, stored));
    }
    let mode_path = path.child("ipMode");
    match at(ingress, "ipMode").and_then(Value::as_str) {
        None if ip.is_empty() => {}
        None => errors.push(field::required(&mode_path, "must be specified when `ip` is set")),
        Some(_) if ip.is_empty() => {
            errors.push(field::forbidden(&mode_path, "may not be specified when `ip` is not set"))
        }
        Some("VIP" | "Proxy") => {}
        Some(mode) => errors.push(field::not_supported(&mode_path, mode, &["Proxy", "VIP"])),
    }
    if !hostname.is_empty() {
        let path = path.child("hostname");
        errors.extend(dns_subdomain(hostname).into_iter().map(|text| field::invalid(&path, hostname, text)));
        if parse_ip_sloppy(hostname).is_some() {
            errors.push(field::invalid(&path, hostname, "must be a DNS name, not an IP address"));
        }
    }
    errors
}
