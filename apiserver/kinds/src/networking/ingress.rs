//! Ingresses: which requests from outside go to which Service.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{
    dns_label, dns_subdomain, path_segment_rule, port_name, port_number, subdomain_rule, wildcard_subdomain,
};
use crate::network::{Strictness, ip_warning, parse_ip_sloppy, validate_legacy_ip};
use crate::tree::{at, carry_over, int_at, list_at, map_at, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta};

/// The annotation that named the class before there was a field for it.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

const NO_ADDRESS: &str = "must be a DNS name, not an IP address";
const NOT_ABSOLUTE: &str = "must be an absolute path";

/// What a path that is compared by segments may not contain.
const BAD_SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
/// What it may not end with.
const BAD_SUFFIXES: &[&str] = &["/..", "/."];

/// Hosts a cell shows before it counts the rest.
const HOSTS_SHOWN_MAX: usize = 3;
/// Characters of the address cell.
const ADDRESS_CELL_MAX: usize = 16;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Class", "Name of the IngressClass."),
    Column::text("Hosts", "Hosts the rules are about."),
    Column::text("Address", "Where requests arrive."),
    Column::text("Ports", "Ports requests arrive at."),
    Column::AGE,
];

/// The strategy of Ingresses.
pub(super) struct Ingresses;

impl Strategy for Ingresses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("networking.k8s.io", "v1", "ingresses")
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({"loadBalancer": {}}));
        meta::start_generation(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(validate_spec(obj, Leniency::default()));
        let class = at(obj, "spec.ingressClassName").and_then(Value::as_str);
        if let (Some(old_style), Some(class)) = (class_annotation(obj), class)
            && old_style != class
        {
            let path = Path::new("annotations").child(CLASS_ANNOTATION);
            let text = "must match `ingressClassName` when both are specified";
            errors.push(field::invalid(&path, old_style, text));
        }
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(validate_status(new, old));
            return errors;
        }
        errors.extend(meta::validate(new, true, subdomain_rule));
        errors.extend(validate_spec(new, Leniency::of(old)));
        errors
    }

    fn status_warns(&self) -> bool {
        true
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() {
            return address_warnings(new);
        }
        if class_annotation(new).is_some() && at(new, "spec.ingressClassName").is_none() {
            let text = "is deprecated, please use 'spec.ingressClassName' instead";
            return vec![format!("annotation \"{CLASS_ANNOTATION}\" {text}")];
        }
        Vec::new()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let has_tls = !list_at(obj, "spec.tls").is_empty();
        let class = at(obj, "spec.ingressClassName").and_then(Value::as_str);
        vec![
            columns::name(obj),
            json!(class.unwrap_or("<none>")),
            json!(hosts_cell(obj)),
            json!(address_cell(obj)),
            json!(if has_tls { "80, 443" } else { "80" }),
            columns::age(obj, now),
        ]
    }
}

/// The class an Ingress names in the way of before.
pub fn class_annotation(obj: &Value) -> Option<&str> {
    map_at(obj, "metadata.annotations")?.get(CLASS_ANNOTATION)?.as_str()
}

fn hosts_cell(obj: &Value) -> String {
    let rules = list_at(obj, "spec.rules");
    let mut hosts: Vec<&str> = Vec::new();
    let mut hides_some = false;
    for rule in rules {
        hides_some |= hosts.len() == HOSTS_SHOWN_MAX;
        let host = str_at(rule, "host");
        if !hides_some && !host.is_empty() {
            hosts.push(host);
        }
    }
    match hosts.join(",") {
        none if none.is_empty() => "*".to_owned(),
        shown if hides_some => format!("{shown} + {} more...", rules.len() - HOSTS_SHOWN_MAX),
        shown => shown,
    }
}

fn address_cell(obj: &Value) -> String {
    let text = columns::balancer_addresses(obj).join(",");
    if text.len() <= ADDRESS_CELL_MAX {
        return text;
    }
    let short: String = text.chars().take(ADDRESS_CELL_MAX - 3).collect();
    format!("{short}...")
}

fn address_warnings(obj: &Value) -> Vec<String> {
    let path = Path::new("status.loadBalancer.ingress");
    let ingresses = list_at(obj, "status.loadBalancer.ingress").iter().enumerate();
    ingresses.filter_map(|(index, ingress)| ip_warning(&path.index(index), str_at(ingress, "ip"))).collect()
}

/// What passes on update because it is stored already.
#[derive(Debug, Clone, Copy, Default)]
struct Leniency {
    secret_names: bool,
    wildcard_rules: bool,
}

impl Leniency {
    fn of(old: &Value) -> Leniency {
        let is_broken_wildcard = |rule: &Value| {
            str_at(rule, "host").contains('*') && !validate_rule_value(rule, &Path::root()).is_empty()
        };
        Leniency {
            secret_names: list_at(old, "spec.tls")
                .iter()
                .any(|tls| !secret_name(str_at(tls, "secretName")).is_empty()),
            wildcard_rules: list_at(old, "spec.rules").iter().any(is_broken_wildcard),
        }
    }
}

fn secret_name(name: &str) -> Vec<String> {
    if name.is_empty() { Vec::new() } else { dns_subdomain(name) }
}

fn validate_spec(obj: &Value, leniency: Leniency) -> Vec<Error> {
    let path = Path::new("spec");
    let (rules, backend) = (list_at(obj, "spec.rules"), at(obj, "spec.defaultBackend"));
    let mut errors = Vec::new();
    if rules.is_empty() && backend.is_none() {
        let rules = at(obj, "spec.rules");
        errors.push(field::invalid(&path, rules, "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(backend) = backend {
        errors.extend(validate_backend(backend, &path.child("defaultBackend")));
    }
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(validate_rule(rule, leniency, &path.child("rules").index(index)));
    }
    for (index, tls) in list_at(obj, "spec.tls").iter().enumerate() {
        errors.extend(validate_tls(tls, leniency, &path.child("tls").index(index)));
    }
    if let Some(class) = at(obj, "spec.ingressClassName").and_then(Value::as_str) {
        errors.extend(invalid_each(&path.child("ingressClassName"), class, subdomain_rule(class, false)));
    }
    errors
}

fn invalid_each(path: &Path, value: &str, texts: Vec<String>) -> impl Iterator<Item = Error> {
    texts.into_iter().map(move |text| field::invalid(path, value, text))
}

fn validate_host(host: &str, path: &Path) -> Vec<Error> {
    let texts = if host.contains('*') { wildcard_subdomain(host) } else { dns_subdomain(host) };
    invalid_each(path, host, texts).collect()
}

fn validate_rule(rule: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let host = str_at(rule, "host");
    let mut errors = Vec::new();
    if !host.is_empty() {
        let path = path.child("host");
        if parse_ip_sloppy(host).is_some() {
            errors.push(field::invalid(&path, host, NO_ADDRESS));
        }
        errors.extend(validate_host(host, &path));
    }
    if !(host.contains('*') && leniency.wildcard_rules) {
        errors.extend(validate_rule_value(rule, path));
    }
    errors
}

fn validate_rule_value(rule: &Value, path: &Path) -> Vec<Error> {
    let Some(http) = at(rule, "http") else { return Vec::new() };
    let path = path.child("http").child("paths");
    let paths = list_at(http, "paths");
    let mut errors = Vec::new();
    if paths.is_empty() {
        errors.push(field::required(&path, ""));
    }
    for (index, entry) in paths.iter().enumerate() {
        errors.extend(validate_http_path(entry, &path.index(index)));
    }
    errors
}

fn validate_http_path(entry: &Value, path: &Path) -> Vec<Error> {
    let Some(path_type) = at(entry, "pathType").and_then(Value::as_str) else {
        return vec![field::required(&path.child("pathType"), "pathType must be specified")];
    };
    let (text, text_path) = (str_at(entry, "path"), path.child("path"));
    let mut errors = match path_type {
        "Exact" | "Prefix" => validate_segments(text, &text_path),
        "ImplementationSpecific" if text.is_empty() || text.starts_with('/') => Vec::new(),
        "ImplementationSpecific" => vec![field::invalid(&text_path, text, NOT_ABSOLUTE)],
        other => {
            let known = &["Exact", "ImplementationSpecific", "Prefix"];
            vec![field::not_supported(&path.child("pathType"), other, known)]
        }
    };
    let backend = at(entry, "backend").unwrap_or(&Value::Null);
    errors.extend(validate_backend(backend, &path.child("backend")));
    errors
}

fn validate_segments(text: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if !text.starts_with('/') {
        errors.push(field::invalid(path, text, NOT_ABSOLUTE));
    }
    let sequences = BAD_SEQUENCES.iter().filter(|sequence| text.contains(**sequence));
    errors.extend(
        sequences.map(|sequence| field::invalid(path, text, format!("must not contain '{sequence}'"))),
    );
    let suffixes = BAD_SUFFIXES.iter().filter(|suffix| text.ends_with(**suffix));
    errors.extend(suffixes.map(|suffix| field::invalid(path, text, format!("cannot end with '{suffix}'"))));
    errors
}

fn validate_backend(backend: &Value, path: &Path) -> Vec<Error> {
    match (at(backend, "resource"), at(backend, "service")) {
        (Some(_), Some(_)) => {
            vec![field::invalid(path, "", "cannot set both resource and service backends")]
        }
        (Some(resource), None) => validate_reference(resource, &path.child("resource")),
        (None, Some(service)) => validate_service(service, path),
        (None, None) => vec![field::invalid(path, "", "resource or service backend is required")],
    }
}

/// Everything wrong with group, kind and name of another object.
pub(super) fn validate_reference(reference: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(group) = at(reference, "apiGroup").and_then(Value::as_str) {
        errors.extend(invalid_each(&path.child("apiGroup"), group, dns_subdomain(group)));
    }
    for name in ["kind", "name"] {
        errors.extend(validate_segment(str_at(reference, name), &path.child(name)));
    }
    errors
}

/// A value that is needed and becomes part of a path.
pub(super) fn validate_segment(value: &str, path: &Path) -> Vec<Error> {
    if value.is_empty() {
        return vec![field::required(path, "")];
    }
    invalid_each(path, value, path_segment_rule(value, false)).collect()
}

fn validate_service(service: &Value, path: &Path) -> Vec<Error> {
    let (name, service_path) = (str_at(service, "name"), path.child("service"));
    let name_path = service_path.child("name");
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&name_path, ""));
    } else {
        errors.extend(invalid_each(&name_path, name, dns_label(name)));
    }
    let (port, number) = (str_at(service, "port.name"), int_at(service, "port.number").unwrap_or(0));
    let port_path = service_path.child("port");
    match (port.is_empty(), number) {
        (true, 0) => errors.push(field::required(path, "port name or number is required")),
        (true, number) => errors
            .extend(port_number(number).map(|text| field::invalid(&port_path.child("number"), number, text))),
        (false, 0) => errors.extend(invalid_each(&port_path.child("name"), port, port_name(port))),
        (false, _) => errors.push(field::invalid(path, "", "cannot set both port name & port number")),
    }
    errors
}

fn validate_tls(tls: &Value, leniency: Leniency, path: &Path) -> Vec<Error> {
    let hosts = strings_at(tls, "hosts").into_iter().enumerate();
    let mut errors: Vec<Error> =
        hosts.flat_map(|(index, host)| validate_host(host, &path.child("hosts").index(index))).collect();
    if !leniency.secret_names {
        let name = str_at(tls, "secretName");
        errors.extend(invalid_each(&path.child("secretName"), name, secret_name(name)));
    }
    errors
}

fn validate_status(new: &Value, old: &Value) -> Vec<Error> {
    const INGRESS: &str = "status.loadBalancer.ingress";
    let stored: Vec<&str> = list_at(old, INGRESS).iter().map(|ingress| str_at(ingress, "ip")).collect();
    let mut errors = Vec::new();
    for (index, ingress) in list_at(new, INGRESS).iter().enumerate() {
        let path = Path::new(INGRESS).index(index);
        let (ip, hostname) = (str_at(ingress, "ip"), str_at(ingress, "hostname"));
        if !ip.is_empty() {
            errors.extend(validate_legacy_ip(&path.child("ip"), ip, Strictness::Strict, &stored));
        }
        if !hostname.is_empty() {
            let path = path.child("hostname");
            errors.extend(invalid_each(&path, hostname, dns_subdomain(hostname)));
            if parse_ip_sloppy(hostname).is_some() {
                errors.push(field::invalid(&path, hostname, NO_ADDRESS));
            }
        }
    }
    errors
}
