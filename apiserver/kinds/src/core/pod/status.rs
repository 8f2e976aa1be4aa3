//! What the `status` subresource of a pod may say.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::update::annotation_changes;
use super::validate::Options;
use super::{container_status, internal};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::{dns_label, dns_subdomain, qualified_name};
use crate::network::{Strictness, parse_ip_sloppy, validate_legacy_ip};
use crate::tree::{at, carry_over, int_at, list_at, list_at_mut, map_at, set, str_at};

/// Keeps observed generations that a client did not know to send back.
pub(super) fn keep_observed_generations(new: &mut Value, old: &Value) {
    if int_at(new, "status.observedGeneration").unwrap_or(0) == 0 {
        carry_over(new, old, "status.observedGeneration");
    }
    let mut stored: Vec<&Value> = list_at(old, "status.conditions").iter().collect();
    for condition in list_at_mut(new, "status.conditions") {
        let same_type = |stored: &&Value| str_at(stored, "type") == str_at(condition, "type");
        let Some(position) = stored.iter().position(same_type) else { continue };
        let stored = stored.remove(position);
        if int_at(condition, "observedGeneration").unwrap_or(0) == 0
            && let Some(generation) =
                int_at(stored, "observedGeneration").filter(|generation| *generation != 0)
        {
            set(condition, "observedGeneration", generation);
        }
    }
}

/// Everything wrong with a new status.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<Error> {
    let options = Options::pod(Some(old));
    let path = Path::new("status");
    let mut errors = meta::validate_update(new, old);
    errors.extend(annotation_changes(new, old, &options));
    errors.extend(conditions(new, &path.child("conditions")));
    errors.extend(nomination(new, old, &path.child("nominatedNodeName")));
    errors.extend(observed_generation(new, "status.observedGeneration", &path.child("observedGeneration")));
    if str_at(new, "status.qosClass") != str_at(old, "status.qosClass") {
        errors.push(field::invalid(&path.child("qosClass"), str_at(new, "status.qosClass"), meta::IMMUTABLE));
    }
    for (list, specs) in [
        ("containerStatuses", Some("spec.containers")),
        ("initContainerStatuses", Some("spec.initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        errors.extend(revivals(new, old, list, specs, &path.child(list)));
    }
    errors.extend(claim_statuses(new, &path.child("resourceClaimStatuses")));
    errors.extend(addresses(new, old, "podIPs", &path.child("podIPs")));
    errors.extend(host_addresses(new, old, &path.child("hostIPs")));
    errors.extend(container_status::validate(new, &path));
    errors
}

fn conditions(pod: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, condition) in list_at(pod, "status.conditions").iter().enumerate() {
        let path = path.index(index);
        errors.extend(observed_generation(
            condition,
            "observedGeneration",
            &path.child("observedGeneration"),
        ));
        let ty = str_at(condition, "type");
        if !matches!(ty, "PodScheduled" | "Ready" | "Initialized") {
            let path = path.child("Type");
            errors.extend(qualified_name(ty).into_iter().map(|text| field::invalid(&path, ty, text)));
        }
    }
    errors
}

fn observed_generation(owner: &Value, name: &str, path: &Path) -> Option<Error> {
    let generation = int_at(owner, name)?;
    (generation < 0).then(|| field::invalid(path, generation, "must be a non-negative integer"))
}

fn nomination(new: &Value, old: &Value, path: &Path) -> Vec<Error> {
    let node = str_at(new, "status.nominatedNodeName");
    if node.is_empty() || node == str_at(old, "status.nominatedNodeName") {
        return Vec::new();
    }
    let mut errors: Vec<Error> =
        dns_subdomain(node).into_iter().map(|text| field::invalid(path, node, text)).collect();
    if !str_at(old, "spec.nodeName").is_empty() {
        errors.push(field::forbidden(path, "may not be set on pods that are already bound to a node"));
    }
    errors
}

/// A container that has ended and is not restarted stays ended.
fn revivals(new: &Value, old: &Value, list: &str, specs: Option<&str>, path: &Path) -> Vec<Error> {
    if specs.is_some() && any_restarts_all(old) {
        return Vec::new();
    }
    let name = format!("status.{list}");
    let mut errors = Vec::new();
    for (index, ended) in list_at(old, &name).iter().enumerate() {
        let Some(terminated) = at(ended, "state.terminated") else { continue };
        let container_name = str_at(ended, "name");
        let revived = |status: &&Value| {
            str_at(status, "name") == container_name && at(status, "state.terminated").is_none()
        };
        let revivals = list_at(new, &name).iter().filter(revived).count();
        let exit_code = int_at(terminated, "exitCode").unwrap_or(0);
        let allowed = specs.is_some_and(|specs| restarts(old, specs, container_name, exit_code));
        // Upstream looks at the first status of a name, except for ephemeral containers.
        let told = if specs.is_some() { revivals.min(1) } else { revivals };
        if !allowed {
            let error = || {
                field::forbidden(
                    &path.index(index).child("state"),
                    "may not be transitioned to non-terminated state",
                )
            };
            errors.extend(std::iter::repeat_with(error).take(told));
        }
    }
    errors
}

fn any_restarts_all(pod: &Value) -> bool {
    ["spec.initContainers", "spec.containers"]
        .iter()
        .flat_map(|list| list_at(pod, list))
        .flat_map(|container| list_at(container, "restartPolicyRules"))
        .any(|rule| str_at(rule, "action") == "RestartAllContainers")
}

/// Whether the container of this name is restarted after this exit code.
fn restarts(pod: &Value, specs: &str, name: &str, exit_code: i64) -> bool {
    let Some(container) = list_at(pod, specs).iter().find(|container| str_at(container, "name") == name)
    else {
        return false;
    };
    let by = |policy: &str| match policy {
        "OnFailure" => exit_code != 0,
        "Never" => false,
        _ => true,
    };
    let Some(policy) = at(container, "restartPolicy").and_then(Value::as_str) else {
        return by(str_at(pod, "spec.restartPolicy"));
    };
    let rule = list_at(container, "restartPolicyRules").iter().find(|rule| {
        let listed = list_at(rule, "exitCodes.values").contains(&json!(exit_code));
        match str_at(rule, "exitCodes.operator") {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    });
    rule.is_some_and(|rule| matches!(str_at(rule, "action"), "Restart" | "RestartAllContainers"))
        || by(policy)
}

fn claim_statuses(pod: &Value, path: &Path) -> Vec<Error> {
    let names: Vec<&str> =
        list_at(pod, "spec.resourceClaims").iter().map(|claim| str_at(claim, "name")).collect();
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for (index, status) in list_at(pod, "status.resourceClaimStatuses").iter().enumerate() {
        let (name, path) = (str_at(status, "name"), path.index(index));
        if !names.contains(&name) {
            let text = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(field::invalid(&path.child("name"), name, text));
        }
        if seen.contains(&name) {
            errors.push(field::duplicate(&path.child("name"), name));
        }
        seen.push(name);
        if let Some(claim) = at(status, "resourceClaimName").and_then(Value::as_str) {
            let path = path.child("resourceClaimName");
            errors.extend(dns_subdomain(claim).into_iter().map(|text| field::invalid(&path, claim, text)));
        }
    }
    if let Some(status) = at(pod, "status.extendedResourceClaimStatus") {
        errors.extend(extended_claim(pod, status, &Path::new("status.extendedResourceClaimStatus")));
    }
    errors
}

fn extended_claim(pod: &Value, status: &Value, path: &Path) -> Vec<Error> {
    let mappings = list_at(status, "requestMappings");
    let mappings_path = path.child("requestMappings");
    let mut errors = Vec::new();
    if mappings.is_empty() {
        errors.push(field::required(&mappings_path, "at least one request mapping is required"));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        errors.extend(request_mapping(pod, mapping, path, &mappings_path.index(index)));
        if mappings[..index].contains(mapping) {
            for name in ["containerName", "resourceName", "requestName"] {
                errors.push(field::duplicate(&mappings_path.index(index).child(name), str_at(mapping, name)));
            }
        }
    }
    let name_path = path.child("resourceClaimName");
    match str_at(status, "resourceClaimName") {
        "" => errors.push(field::required(&name_path, "")),
        name => {
            errors.extend(dns_subdomain(name).into_iter().map(|text| field::invalid(&name_path, name, text)))
        }
    }
    errors
}

fn request_mapping(pod: &Value, mapping: &Value, status_path: &Path, path: &Path) -> Vec<Error> {
    let (container, resource) = (str_at(mapping, "containerName"), str_at(mapping, "resourceName"));
    let request = str_at(mapping, "requestName");
    let found = ["spec.initContainers", "spec.containers"]
        .iter()
        .flat_map(|list| list_at(pod, list))
        .find(|candidate| str_at(candidate, "name") == container);
    let mut errors = Vec::new();
    match found {
        None => {
            let text = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
            errors.push(field::invalid(&path.child("containerName"), container, text));
        }
        Some(found)
            if map_at(found, "resources.requests")
                .is_none_or(|requests| !requests.contains_key(resource)) =>
        {
            let text = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
            errors.push(field::invalid(&path.child("resourceName"), resource, text));
        }
        Some(_) => {}
    }
    let request_path = status_path.child("requestName");
    errors.extend(dns_label(request).into_iter().map(|text| field::invalid(&request_path, request, text)));
    errors
}

/// At most one address of each family. Stored ones pass as they are.
fn addresses(new: &Value, old: &Value, list: &str, path: &Path) -> Vec<Error> {
    let name = format!("status.{list}");
    let ips = |pod| -> Vec<&str> { list_at(pod, &name).iter().map(|entry| str_at(entry, "ip")).collect() };
    let (given, stored) = (ips(new), ips(old));
    let mut errors = Vec::new();
    for (index, ip) in given.iter().enumerate() {
        errors.extend(validate_legacy_ip(&path.index(index), ip, Strictness::Strict, &stored));
    }
    if given.len() < 2 {
        return errors;
    }
    let parsed: Vec<Option<IpAddr>> = given.iter().map(|ip| parse_ip_sloppy(ip)).collect();
    if let Some(index) = parsed.iter().position(Option::is_none) {
        let text = format!("failed to check for dual stack with error:invalid IP[{index}]: {}", given[index]);
        errors.push(field::internal(path, text));
    }
    let valid = parsed.iter().all(Option::is_some);
    let families = |v6: bool| parsed.iter().flatten().any(|ip| ip.is_ipv6() == v6);
    if !valid || !families(true) || !families(false) || given.len() > 2 {
        let ty = if list == "podIPs" { "[]PodIP" } else { "[]HostIP" };
        let value = internal::bad_value(ty, at(new, &name));
        errors.push(field::invalid(path, value, "may specify no more than one IP for each IP family"));
    }
    errors
}

fn host_addresses(new: &Value, old: &Value, path: &Path) -> Vec<Error> {
    let Some(first) = list_at(new, "status.hostIPs").first().map(|entry| str_at(entry, "ip")) else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    if first != str_at(new, "status.hostIP") {
        errors.push(field::invalid(&path.index(0).child("ip"), first, "must be equal to `hostIP`"));
    }
    errors.extend(addresses(new, old, "hostIPs", path));
    errors
}
