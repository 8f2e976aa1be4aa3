//! Cells of the networking kinds, and what passes on update because it is stored.

use serde_json::{Value, json};

use crate::{Strategy, Subresource, field};

fn strategy(plural: &str) -> &'static dyn Strategy {
    crate::strategy("networking.k8s.io", "v1", plural).expect("registered")
}

fn row(plural: &str, obj: &Value) -> Vec<Value> {
    strategy(plural).row(obj, "2026-01-01T00:00:00Z".parse().expect("a time"))
}

#[test]
fn an_ingress_row_shows_three_hosts_and_short_addresses() {
    let host = |name: &str| json!({"host": name});
    let hosts = |names: &[&str]| {
        let rules: Vec<Value> = names.iter().map(|name| host(name)).collect();
        row("ingresses", &json!({"spec": {"rules": rules}}))[2].clone()
    };
    assert_eq!(hosts(&[]), "*");
    assert_eq!(hosts(&["a", "b", "c"]), "a,b,c");
    assert_eq!(hosts(&["a", "", "b", "c", "d"]), "a,b,c + 2 more...");

    let address =
        |list: Value| row("ingresses", &json!({"status": {"loadBalancer": {"ingress": list}}}))[3].clone();
    assert_eq!(address(json!([{"hostname": "h"}, {"ip": "10.0.0.1"}])), "10.0.0.1,h");
    assert_eq!(address(json!([{"ip": "100.100.100.100"}, {"ip": "1.1.1.1"}])), "1.1.1.1,100.1...");
}

#[test]
fn an_ingress_that_was_stored_with_a_broken_secret_name_keeps_it() {
    let ingress = |secret: &str, class: &str| {
        json!({"metadata": {"name": "i", "namespace": "n", "resourceVersion": "1"}, "spec": {
            "ingressClassName": class, "tls": [{"secretName": secret}],
            "defaultBackend": {"service": {"name": "1s", "port": {"number": 80}}}}})
    };
    let update = |new: &Value, old: &Value| {
        field::summary(&strategy("ingresses").validate_update(Subresource::None, new, old))
    };
    assert_eq!(update(&ingress("A_", "b"), &ingress("A_", "a")), "");
    assert!(update(&ingress("A_", "b"), &ingress("a", "a")).contains("spec.tls[0].secretName"));
}

#[test]
fn a_stored_cidr_may_move_within_its_policy() {
    let policy = |rules: Value| {
        json!({"metadata": {"name": "p", "namespace": "n", "resourceVersion": "1"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}})
    };
    let peer = |cidr: &str| json!([{"from": [{"ipBlock": {"cidr": cidr}}]}]);
    let update = |new: &Value, old: &Value| {
        field::summary(&strategy("networkpolicies").validate_update(Subresource::None, new, old))
    };
    assert_eq!(update(&policy(peer("010.0.0.0/8")), &policy(peer("010.0.0.0/8"))), "");
    assert_eq!(
        update(&policy(peer("010.0.0.0/8")), &policy(peer("10.0.0.0/8"))),
        "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"010.0.0.0/8\": must not have leading 0s in IP or prefix length"
    );
}

#[test]
fn a_second_range_may_be_added_once() {
    let cidr =
        |list: &[&str]| json!({"metadata": {"name": "c", "resourceVersion": "1"}, "spec": {"cidrs": list}});
    let update = |new: &[&str], old: &[&str]| {
        field::summary(&strategy("servicecidrs").validate_update(Subresource::None, &cidr(new), &cidr(old)))
    };
    assert_eq!(update(&["10.0.0.0/24", "fd00::/112"], &["10.0.0.0/24"]), "");
    assert_eq!(
        update(&["10.1.0.0/24", "fd00::/112"], &["10.0.0.0/24"]),
        "spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable"
    );
    assert_eq!(
        update(&["10.0.0.0/24"], &["10.0.0.0/24", "fd00::/112"]),
        "spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"
    );
}

#[test]
fn ranges_are_usable_until_somebody_says_otherwise() {
    use super::service_cidr::is_usable;
    assert!(is_usable(&json!({"metadata": {}})));
    assert!(is_usable(&json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})));
    assert!(!is_usable(&json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})));
    assert!(!is_usable(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})));
}
