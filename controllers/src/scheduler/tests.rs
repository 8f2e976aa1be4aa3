//! Scheduling decisions as tables.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cycle::{Decision, schedule};
use super::snapshot::Snapshot;
use super::view::{Node, Pod};

fn node(name: &str, change: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "zone": &name[..1] } },
        "spec": {},
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "3" } },
    });
    merge(&mut node, change);
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "a", "uid": name, "labels": { "app": name[..1].to_owned() } },
        "spec": { "containers": [{ "image": "web" }] },
    });
    merge(&mut pod["spec"], spec);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn cpu(amount: &str) -> Value {
    json!({ "containers": [{ "image": "web", "resources": { "requests": { "cpu": amount } } }] })
}

/// Nodes, pods already on them, the pod to place; the node it gets, or what people are told.
fn check(nodes: &[Arc<Node>], placed: &[(Arc<Pod>, &str)], pod: &Pod, expect: &str) {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.put_node(Arc::clone(node));
    }
    for (pod, node) in placed {
        snapshot.place(Arc::clone(pod), node);
    }
    let told = match schedule(pod, &snapshot, 0) {
        Decision::Node(node) => node,
        Decision::Nowhere { message, .. } => message,
    };
    assert_eq!(told, expect);
}

#[test]
fn resources_decide_and_are_named() {
    let plain = || json!({});
    check(&[], &[], &pod("w", plain()), "no nodes available to schedule pods");
    check(&[node("a1", plain())], &[], &pod("w", cpu("3")), "a1");
    check(
        &[node("a1", plain())],
        &[(pod("x", cpu("2")), "a1")],
        &pod("w", cpu("3")),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    check(
        &[node("a1", plain()), node("a2", json!({ "spec": { "unschedulable": true } }))],
        &[],
        &pod("w", cpu("5")),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    );
    let three: Vec<(Arc<Pod>, &str)> = ["x", "y", "z"].map(|name| (pod(name, json!({})), "a1")).into();
    check(
        &[node("a1", plain())],
        &three,
        &pod("w", json!({ "preemptionPolicy": "Never" })),
        "0/1 nodes are available: 1 Too many pods. preemption: not eligible due to preemptionPolicy=Never.",
    );
    check(
        &[node("a1", plain()), node("a2", plain())],
        &[(pod("x", cpu("2")), "a1")],
        &pod("w", cpu("1")),
        "a2",
    );
}

#[test]
fn taints_selectors_and_ports() {
    let tainted =
        node("a1", json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] } }));
    let tolerant = json!({ "tolerations": [{ "key": "k", "operator": "Exists" }] });
    check(
        &[Arc::clone(&tainted)],
        &[],
        &pod("w", json!({})),
        "0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    check(&[tainted], &[], &pod("w", tolerant), "a1");
    let shy = node("a1", json!({ "spec": { "taints": [{ "key": "k", "effect": "PreferNoSchedule" }] } }));
    check(&[shy, node("a2", json!({}))], &[], &pod("w", json!({})), "a2");
    let zone = |zone: &str| json!({ "nodeSelector": { "zone": zone } });
    check(&[node("a1", json!({})), node("b1", json!({}))], &[], &pod("w", zone("b")), "b1");
    check(
        &[node("a1", json!({}))],
        &[],
        &pod("w", zone("c")),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    let port = |ip: &str| json!({ "containers": [{ "image": "web", "ports": [{ "hostPort": 80, "hostIP": ip, "protocol": "TCP" }] }] });
    check(
        &[node("a1", json!({}))],
        &[(pod("x", port("")), "a1")],
        &pod("w", port("10.0.0.1")),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    check(&[node("a1", json!({}))], &[(pod("x", port("10.0.0.2")), "a1")], &pod("w", port("10.0.0.1")), "a1");
}

#[test]
fn affinity_to_nodes() {
    let required = |terms: Value| json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } });
    let named = required(
        json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["a2"] }] }]),
    );
    check(&[node("a1", json!({})), node("a2", json!({}))], &[], &pod("w", named.clone()), "a2");
    check(
        &[node("a1", json!({}))],
        &[],
        &pod("w", named),
        "0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    let preferred = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 10, "preference": { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["b"] }] } },
    ] } } });
    check(&[node("a1", json!({})), node("b1", json!({}))], &[], &pod("w", preferred), "b1");
}

#[test]
fn affinity_to_pods_and_spreading() {
    let rule = |kind: &str, app: &str, key: &str| {
        json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [
            { "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": key },
        ] } } })
    };
    let nodes = [node("a1", json!({})), node("a2", json!({})), node("b1", json!({}))];
    let x = || (pod("x", json!({})), "b1");
    check(&nodes, &[x()], &pod("w", rule("podAffinity", "x", "zone")), "b1");
    // The first of its kind may begin anywhere.
    check(&nodes[..1], &[], &pod("w", rule("podAffinity", "w", "zone")), "a1");
    check(
        &nodes[..1],
        &[],
        &pod("w", rule("podAffinity", "x", "zone")),
        "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    check(
        &nodes[2..],
        &[x()],
        &pod("w", rule("podAntiAffinity", "x", "zone")),
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    check(
        &nodes[2..],
        &[(pod("x", rule("podAntiAffinity", "w", "zone")), "b1")],
        &pod("w", json!({})),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
    let spread = json!({ "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "w" } },
    }] });
    check(&nodes, &[(pod("w1", json!({})), "a1")], &pod("w2", spread.clone()), "b1");
    check(
        &[node("a1", json!({})), node("b1", json!({ "status": { "allocatable": { "cpu": "0" } } }))],
        &[(pod("w1", json!({})), "a1")],
        &pod("w2", {
            let mut spec = spread;
            merge(&mut spec, cpu("1"));
            spec
        }),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn what_would_be_decided_wrongly_is_not_decided() {
    check(
        &[node("a1", json!({}))],
        &[],
        &pod("w", json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] })),
        "0/1 nodes are available: persistent volume claims are not supported by this scheduler yet.",
    );
}
