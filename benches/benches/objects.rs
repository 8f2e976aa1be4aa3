//! What do the steps on one pod cost: decode, conform, default, encode, patch?

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use schema::Tree;
use serde_json::json;

/// A pod of about 3 KiB: two containers with what containers usually have.
fn pod() -> Vec<u8> {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example.com/team/web:1.2.3", "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": (0..8).map(|index| json!({"name": format!("VARIABLE_{index}"), "value": format!("value-{index}")}))
                .collect::<Vec<_>>(),
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
            "livenessProbe": {"tcpSocket": {"port": 8080}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/web", "readOnly": true}],
        })
    };
    let tree = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "bench", "labels": {"app": "web", "team": "a"}},
        "spec": {
            "containers": [container("web"), container("sidecar")],
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "web", "effect": "NoSchedule"}],
        },
    });
    serde_json::to_vec(&tree).expect("trees encode into memory")
}

fn objects(criterion: &mut Criterion) {
    let pod_schema = schema::kind("", "v1", "Pod").expect("pods are built in");
    let bytes = pod();
    let tree = schema::decode::json(&bytes).expect("a pod").0;
    let mut stored = tree.clone();
    schema::decode::conform(pod_schema, &mut stored).expect("a pod");
    schema::default::apply(pod_schema, &mut stored);

    criterion
        .bench_function("pod: decode", |bencher| bencher.iter(|| schema::decode::json(black_box(&bytes))));
    criterion.bench_function("pod: conform", |bencher| {
        let conform = |mut tree: Tree| {
            let unknown = schema::decode::conform(pod_schema, &mut tree);
            (tree, unknown)
        };
        bencher.iter_batched(|| tree.clone(), conform, BatchSize::SmallInput);
    });
    criterion.bench_function("pod: default", |bencher| {
        let default = |mut tree: Tree| {
            schema::default::apply(pod_schema, &mut tree);
            tree
        };
        bencher.iter_batched(|| tree.clone(), default, BatchSize::SmallInput);
    });
    criterion
        .bench_function("pod: encode", |bencher| bencher.iter(|| serde_json::to_vec(black_box(&stored))));
    criterion.bench_function("pod: encode as protobuf", |bencher| {
        bencher.iter(|| schema::protobuf::encode(&pod_schema.name, black_box(&stored)));
    });
    criterion.bench_function("pod: strategic patch", |bencher| {
        let patch = json!({"spec": {"containers": [{"name": "web", "image": "registry.example.com/team/web:1.2.4"}]}});
        bencher.iter(|| schema::patch::strategic(pod_schema, black_box(&stored), &patch));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    objects(&mut criterion);
    criterion.final_summary();
}
