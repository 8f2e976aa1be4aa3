//! What writes of services need, as tables.

use super::*;

/// Needs in short: `4:any` or `6:<ip>` for addresses, `#0,1:any` for node ports by port index, `health:any`.
fn needs(new: &Value, old: Option<&Value>, families: &[Family]) -> Result<String, Vec<String>> {
    let mut new = new.clone();
    let needs = begin(&mut new, old, families).map_err(|refusal| match refusal {
        Refusal::Invalid(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        Refusal::DuplicateNodePort(text) => vec![text],
    })?;
    let any = |value: Option<String>| value.unwrap_or_else(|| "any".to_owned());
    let mut parts: Vec<String> = Vec::new();
    for need in needs.addresses {
        parts.push(format!("{}:{}", &need.family.as_str()[2..], any(need.requested)));
    }
    for need in needs.node_ports {
        let indexes: Vec<String> = need.indexes.iter().map(ToString::to_string).collect();
        parts.push(format!("#{}:{}", indexes.join(","), any(need.requested.map(|port| port.to_string()))));
    }
    if let Some(port) = needs.health_check {
        parts.push(format!("health:{}", any(port.map(|port| port.to_string()))));
    }
    Ok(parts.join(" "))
}

fn check(new: Value, old: Option<Value>, families: &[Family], expected: &str) {
    let old = old.map(|spec| json!({ "spec": spec }));
    let result = needs(&json!({ "spec": new }), old.as_ref(), families);
    assert_eq!(result.unwrap_or_else(|errors| errors.join("; ")), expected);
}

const ONE: &[Family] = &[Family::V4];
const TWO: &[Family] = &[Family::V4, Family::V6];

#[test]
fn a_new_service_needs_an_address_of_each_family() {
    check(json!({"type": "ClusterIP"}), None, ONE, "v4:any");
    check(json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}), None, ONE, "v4:10.0.0.1");
    check(json!({"type": "ClusterIP", "clusterIP": "None"}), None, ONE, "");
    check(json!({"type": "ExternalName"}), None, ONE, "");
    check(json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}), None, ONE, "v4:any");
    check(json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}), None, TWO, "v4:any v6:any");
    check(
        json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}),
        None,
        TWO,
        "v6:any v4:any",
    );
    check(
        json!({"type": "ClusterIP", "clusterIP": "fd00::1"}),
        None,
        ONE,
        "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
    );
}

#[test]
fn ports_of_one_number_share_a_node_port() {
    let ports = |ports: Value| json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": ports});
    check(ports(json!([{"port": 80}, {"port": 81}])), None, ONE, "v4:10.0.0.1 #0:any #1:any");
    check(ports(json!([{"port": 53}, {"port": 53, "nodePort": 30001}])), None, ONE, "v4:10.0.0.1 #0,1:30001");
    check(
        ports(json!([{"port": 53, "nodePort": 30001}, {"port": 53, "nodePort": 30002}])),
        None,
        ONE,
        "v4:10.0.0.1 #0:30001 #1:30002",
    );
}

#[test]
fn load_balancers_may_do_without_node_ports_and_need_a_health_check_when_local() {
    let spec = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "allocateLoadBalancerNodePorts": false,
        "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    check(spec, None, ONE, "v4:10.0.0.1 health:any");
}

#[test]
fn an_update_keeps_what_it_has() {
    let old = json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "ports": [{"name": "a", "port": 80, "nodePort": 30001}]});
    check(json!({"type": "NodePort", "ports": [{"name": "a", "port": 81}]}), Some(old.clone()), ONE, "");
    check(
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 81}]}),
        Some(old.clone()),
        ONE,
        "#0:any",
    );
    check(
        json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 5, "protocol": "UDP"}, {"port": 2, "nodePort": 5, "protocol": "UDP"}]}),
        Some(old.clone()),
        ONE,
        "duplicate nodePort: {UDP 5}",
    );
    check(
        json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"}),
        Some(old.clone()),
        TWO,
        "v6:any",
    );

    let released = released(
        Some(&json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1"]}})),
        &json!({ "spec": old }),
    );
    assert_eq!(released, Held { addresses: Vec::new(), ports: vec![30001] });
}
