//! What changing a Service may not change, and what a change of its type clears.

use serde_json::{Value, json};

use super::validate::load_balancer_class;
use super::{is_externally_accessible, is_headless, needs_cluster_ip, needs_health_check, node_ports};
use crate::field::{self, BadValue, Error, Path};
use crate::tree::{at, bool_at, int_at, list_at_mut, remove, set, str_at, strings_at};

const FIXED: &str = "may not change once set";

/// Clears what was set automatically and no longer applies, unless the writer changed it too: then validation answers.
pub(super) fn drop_what_the_type_forbids(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, old, "spec.clusterIP") && same(new, old, "spec.clusterIPs") {
            remove(new, "spec.clusterIP");
            remove(new, "spec.clusterIPs");
        }
        for path in ["spec.ipFamilies", "spec.ipFamilyPolicy"] {
            if same(new, old, path) {
                remove(new, path);
            }
        }
    }
    if uses_node_ports(old) && !uses_node_ports(new) {
        let before = node_ports(old);
        if node_ports(new).iter().all(|port| before.contains(port)) {
            for port in list_at_mut(new, "spec.ports") {
                remove(port, "nodePort");
            }
        }
    }
    if needs_health_check(old) && !needs_health_check(new) && same(new, old, "spec.healthCheckNodePort") {
        remove(new, "spec.healthCheckNodePort");
    }
    drop_load_balancer_fields(new, old);
    if is_externally_accessible(old)
        && !is_externally_accessible(new)
        && same(new, old, "spec.externalTrafficPolicy")
    {
        remove(new, "spec.externalTrafficPolicy");
    }
    if str_at(new, "spec.type") != "LoadBalancer" {
        set(new, "status.loadBalancer", json!({}));
    }
}

fn drop_load_balancer_fields(new: &mut Value, old: &Value) {
    if str_at(old, "spec.type") != "LoadBalancer" || str_at(new, "spec.type") == "LoadBalancer" {
        return;
    }
    let path = "spec.allocateLoadBalancerNodePorts";
    if bool_at(new, path).is_some() && same(new, old, path) {
        remove(new, path);
    }
    if same(new, old, "spec.loadBalancerClass") {
        remove(new, "spec.loadBalancerClass");
    }
}

fn uses_node_ports(obj: &Value) -> bool {
    matches!(str_at(obj, "spec.type"), "NodePort" | "LoadBalancer")
}

fn same(new: &Value, old: &Value, path: &str) -> bool {
    at(new, path) == at(old, path)
}

/// Everything wrong with the change itself.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = cluster_ips(new, old);
    errors.extend(ip_families(new, old));
    errors.extend(class(new, old));
    if needs_health_check(old)
        && needs_health_check(new)
        && int_at(new, "spec.healthCheckNodePort") != int_at(old, "spec.healthCheckNodePort")
    {
        errors.push(field::forbidden(&Path::new("spec.healthCheckNodePort"), "field is immutable"));
    }
    errors
}

fn touches_external_name(new: &Value, old: &Value) -> bool {
    !needs_cluster_ip(new) || !needs_cluster_ip(old)
}

/// A list as Go prints it: an absent one is nil.
fn printed(list: &[&str]) -> BadValue {
    if list.is_empty() { BadValue::Json(Value::Null) } else { BadValue::Json(json!(list)) }
}

fn releasing_without_policy(new: &Value, what: &str) -> Option<Error> {
    let policy = at(new, "spec.ipFamilyPolicy");
    let text = format!("must be set to 'SingleStack' when releasing the secondary {what}");
    (policy.and_then(Value::as_str) != Some("SingleStack"))
        .then(|| field::invalid(&Path::new("spec.ipFamilyPolicy"), policy, text))
}

fn cluster_ips(new: &Value, old: &Value) -> Vec<Error> {
    if touches_external_name(new, old) || (is_headless(old) && is_headless(new)) {
        return Vec::new();
    }
    let path = Path::new("spec.clusterIPs");
    let (before, after) = (strings_at(old, "spec.clusterIPs"), strings_at(new, "spec.clusterIPs"));
    let mut errors = Vec::new();
    if before.len() == after.len() {
        for (index, (before, now)) in before.iter().zip(&after).enumerate() {
            if before != now {
                errors.push(field::invalid(&path.index(index), printed(&after), FIXED));
            }
        }
        return errors;
    }
    if before.len() > after.len() && after.is_empty() {
        errors.push(field::invalid(&path.index(0), printed(&after), "primary clusterIP can not be unset"));
    }
    if let (Some(before), Some(now)) = (before.first(), after.first())
        && before != now
    {
        errors.push(field::invalid(&path.index(0), printed(&after), FIXED));
    }
    if before.len() > after.len() && after.len() == 1 {
        errors.extend(releasing_without_policy(new, "clusterIP"));
    }
    errors
}

fn ip_families(new: &Value, old: &Value) -> Vec<Error> {
    if touches_external_name(new, old) || is_headless(new) || is_headless(old) {
        return Vec::new();
    }
    let path = Path::new("spec.ipFamilies").index(0);
    let ips = strings_at(new, "spec.clusterIPs");
    let (before, after) = (strings_at(old, "spec.ipFamilies"), strings_at(new, "spec.ipFamilies"));
    let mut errors = Vec::new();
    if before.len() == after.len() {
        let changed = before.iter().zip(&after).filter(|(before, now)| before != now);
        errors.extend(changed.map(|_| field::invalid(&path, printed(&after), FIXED)));
        return errors;
    }
    if before.len() > after.len() && ips.is_empty() {
        errors.push(field::invalid(&path, printed(&after), "primary ipFamily can not be unset"));
    }
    if let (Some(before), Some(now)) = (before.first(), after.first())
        && before != now
    {
        // Upstream prints the addresses here, not the families.
        errors.push(field::invalid(&path, printed(&ips), FIXED));
    }
    if before.len() > after.len() && after.len() == 1 {
        errors.extend(releasing_without_policy(new, "ipFamily"));
    }
    errors
}

fn class(new: &Value, old: &Value) -> Vec<Error> {
    let spec = Path::new("spec");
    let both_balance =
        str_at(new, "spec.type") == "LoadBalancer" && str_at(old, "spec.type") == "LoadBalancer";
    let mut errors = Vec::new();
    if both_balance && !same(new, old, "spec.loadBalancerClass") {
        errors.push(field::invalid(
            &spec.child("loadBalancerClass"),
            at(new, "spec.loadBalancerClass"),
            FIXED,
        ));
    }
    errors.extend(load_balancer_class(new, &spec));
    errors
}
