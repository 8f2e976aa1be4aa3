//! What the writer of a Service should know although nothing is wrong.

use serde_json::Value;

use crate::field::Path;
use crate::network::{cidr_warnings, ip_warning};
use crate::tree::{map_at, str_at, strings_at};

const HINTS_ANNOTATION: &str = "service.kubernetes.io/topology-aware-hints";
const MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";

/// The warnings for a service, in upstream's order.
pub(super) fn of(obj: &Value) -> Vec<String> {
    let spec = Path::new("spec");
    let (kind, ip) = (str_at(obj, "spec.type"), str_at(obj, "spec.clusterIP"));
    let external_ips = strings_at(obj, "spec.externalIPs");
    let is_headless = kind == "ClusterIP" && ip == "None";
    let is_external_name = kind == "ExternalName";
    let mut warnings = Vec::new();

    if map_at(obj, "metadata.annotations").is_some_and(|map| map.contains_key(HINTS_ANNOTATION)) {
        warnings.push(format!(
            "annotation {HINTS_ANNOTATION} is deprecated, please use {MODE_ANNOTATION} instead"
        ));
    }
    if !ip.is_empty() && ip != "None" {
        warnings.extend(ips(obj, "clusterIPs"));
    }
    if is_headless {
        warnings.extend(ignored_when_headless(obj));
    }
    warnings.extend(ips(obj, "externalIPs"));
    if !external_ips.is_empty() && !is_headless && !is_external_name {
        warnings.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
        );
    }
    warnings.extend(ip_warning(&spec.child("loadBalancerIP"), str_at(obj, "spec.loadBalancerIP")));
    for (index, range) in strings_at(obj, "spec.loadBalancerSourceRanges").into_iter().enumerate() {
        warnings.extend(cidr_warnings(&spec.child("loadBalancerSourceRanges").index(index), range));
    }
    if is_external_name && !external_ips.is_empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !is_external_name && !str_at(obj, "spec.externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if str_at(obj, "spec.trafficDistribution") == "PreferClose" {
        warnings.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned(),
        );
    }
    warnings
}

fn ips(obj: &Value, name: &str) -> Vec<String> {
    let path = Path::new("spec").child(name);
    let ips = strings_at(obj, path.as_str()).into_iter().enumerate();
    ips.filter_map(|(index, ip)| ip_warning(&path.index(index), ip)).collect()
}

fn ignored_when_headless(obj: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if !str_at(obj, "spec.loadBalancerIP").is_empty() {
        warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
    }
    if !strings_at(obj, "spec.externalIPs").is_empty() {
        warnings.push("spec.externalIPs is ignored for headless services".to_owned());
    }
    if str_at(obj, "spec.sessionAffinity") != "None" {
        warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
    }
    warnings
}
