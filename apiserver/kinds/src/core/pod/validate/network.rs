//! Names and addresses of a pod: DNS, host aliases, host ports, host name.

use serde_json::Value;

use super::{Path, invalid_each, subdomain};
use crate::core::pod::validate::options::Options;
use crate::field::{self, Error};
use crate::names::{dns_subdomain, max_characters, pattern};
use crate::network::{Strictness, validate_legacy_ip};
use crate::tree::{at, bool_at, int_at, list_at, str_at, strings_at};

/// What the C library's resolver can take.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;

/// Bytes of a pod's host name.
const HOSTNAME_MAX: usize = 64;

/// On the host's network a container's port is the host's port.
pub(super) fn host_ports(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    if bool_at(spec, "hostNetwork") != Some(true) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    for (index, container) in list_at(spec, "containers").iter().enumerate() {
        let path = path.child("containers").index(index).child("ports");
        for (index, port) in list_at(container, "ports").iter().enumerate() {
            let host_port = int_at(port, "hostPort").unwrap_or(0);
            // A template may leave it out; the pod made of it gets it by default.
            let counts = options.is_pod || host_port != 0;
            if counts && host_port != int_at(port, "containerPort").unwrap_or(0) {
                let text = "must match `containerPort` when `hostNetwork` is true";
                errors.push(field::invalid(&path.index(index).child("hostPort"), host_port, text));
            }
        }
    }
    errors
}

/// What is wrong with the DNS policy.
pub(super) fn dns_policy(spec: &Value, path: &Path) -> Option<Error> {
    let path = path.child("dnsPolicy");
    match str_at(spec, "dnsPolicy") {
        "ClusterFirstWithHostNet" | "ClusterFirst" | "Default" | "None" => None,
        "" => Some(field::required(&path, "")),
        other => {
            let supported = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
            Some(field::not_supported(&path, other, &supported))
        }
    }
}

/// Everything wrong with the DNS configuration.
pub(super) fn dns_config(spec: &Value, path: &Path) -> Vec<Error> {
    let config = at(spec, "dnsConfig");
    let none = str_at(spec, "dnsPolicy") == "None";
    let Some(config) = config else {
        let text = "must provide `dnsConfig` when `dnsPolicy` is None";
        return none.then(|| field::required(path, text)).into_iter().collect();
    };
    let nameservers = strings_at(config, "nameservers");
    if none && nameservers.is_empty() {
        let text = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return vec![field::required(&path.child("nameservers"), text)];
    }
    let mut errors = Vec::new();
    let nameservers_path = path.child("nameservers");
    if nameservers.len() > NAMESERVERS_MAX {
        let text = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(field::invalid(&nameservers_path, at(config, "nameservers"), text));
    }
    for (index, nameserver) in nameservers.into_iter().enumerate() {
        errors.extend(validate_legacy_ip(
            &nameservers_path.index(index),
            nameserver,
            Strictness::Strict,
            &[],
        ));
    }
    errors.extend(searches(config, &path.child("searches")));
    for (index, option) in list_at(config, "options").iter().enumerate() {
        if str_at(option, "name").is_empty() {
            errors.push(field::required(&path.child("options").index(index), "must not be empty"));
        }
    }
    errors
}

fn searches(config: &Value, path: &Path) -> Vec<Error> {
    let searches = strings_at(config, "searches");
    let mut errors = Vec::new();
    if searches.len() > SEARCHES_MAX {
        let text = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(field::invalid(path, at(config, "searches"), text));
    }
    if searches.join(" ").len() > SEARCH_CHARACTERS_MAX {
        let text = format!(
            "must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        );
        errors.push(field::invalid(path, at(config, "searches"), text));
    }
    for (index, search) in searches.into_iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.extend(invalid_each(&path.index(index), search, search_domain(search)));
    }
    errors
}

/// A subdomain whose labels may hold underscores.
fn search_domain(value: &str) -> Vec<String> {
    const PATTERN: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
    const TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || matches!(c, '-' | '_'))
    };
    let mut errors = Vec::new();
    if value.len() > 253 {
        errors.push(max_characters(253));
    }
    if !value.split('.').all(is_label) {
        errors.push(pattern(TEXT, PATTERN, &["example.com"]));
    }
    errors
}

/// Everything wrong with the lines a pod adds to its hosts file.
pub(super) fn host_aliases(spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, alias) in list_at(spec, "hostAliases").iter().enumerate() {
        let path = path.index(index);
        errors.extend(validate_legacy_ip(&path.child("ip"), str_at(alias, "ip"), Strictness::Strict, &[]));
        for (index, name) in strings_at(alias, "hostnames").into_iter().enumerate() {
            errors.extend(subdomain(name, &path.child("hostnames").index(index)));
        }
    }
    errors
}

/// Everything wrong with a host name that replaces the usual one.
pub(super) fn hostname_override(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(name) = at(spec, "hostnameOverride").and_then(Value::as_str) else { return Vec::new() };
    let path = path.child("hostnameOverride");
    let mut errors = Vec::new();
    if bool_at(spec, "setHostnameAsFQDN") == Some(true) {
        errors.push(field::forbidden(&path, "may not be specified when setHostnameAsFQDN is true"));
    }
    if bool_at(spec, "hostNetwork") == Some(true) {
        errors.push(field::forbidden(&path, "may not be specified when hostNetwork is true"));
    }
    if name.len() > HOSTNAME_MAX {
        errors.push(field::too_long(&path, HOSTNAME_MAX));
    }
    errors.extend(invalid_each(&path, name, dns_subdomain(name)));
    errors
}
