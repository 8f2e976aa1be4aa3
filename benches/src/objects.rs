//! The objects of the load, as encoded bodies.

use serde_json::{Value, json};

/// Where the load's objects live.
pub const NAMESPACE: &str = "bench";
/// Where the watched objects live.
pub const WATCHED_NAMESPACE: &str = "bench-watched";
/// Data of a ConfigMap.
const CONFIG_MAP_BYTES: usize = 1024;

/// The collection of a namespace's objects of a core resource.
pub fn collection(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

/// A namespace.
pub fn namespace(name: &str) -> Vec<u8> {
    encode(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

/// A ConfigMap with 1 KiB of data, `round` of it to tell versions apart.
pub fn config_map(name: &str, round: usize) -> Vec<u8> {
    let filler = "x".repeat(CONFIG_MAP_BYTES - 8);
    encode(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"key": format!("{round:08}{filler}")},
    }))
}

/// A pod that no scheduler of the cluster takes, so that nothing but the load writes it. Stored with its defaults and
/// managedFields it has the size of an ordinary pod, about 2.7 kB.
pub fn pod(name: &str) -> Vec<u8> {
    encode(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "pod-template-hash": "7d4b9c6f5d"}},
        "spec": {
            "schedulerName": "bench",
            "containers": [{
                "name": "web", "image": "registry.example.com/team/web:1.2.3",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            }],
        },
    }))
}

/// What a kubelet patches into a pod's status, as a strategic merge patch.
pub fn pod_status_patch(round: usize) -> Vec<u8> {
    let at = "2026-01-01T00:00:00Z";
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": at});
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(condition);
    encode(&json!({"status": {
        "phase": "Running", "hostIP": "192.0.2.7", "hostIPs": [{"ip": "192.0.2.7"}],
        "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}], "startTime": at,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "web", "image": "registry.example.com/team/web:1.2.3",
            "imageID": "registry.example.com/team/web@sha256:9a2f4d5c6b7e8f901234567890abcdef9a2f4d5c6b7e8f901234567890abcdef",
            "containerID": "containerd://1f2e3d4c5b6a79880123456789abcdef1f2e3d4c5b6a79880123456789abcdef",
            "ready": true, "started": true, "restartCount": round, "state": {"running": {"startedAt": at}},
            "lastState": {},
        }],
    }}))
}

/// A paused Deployment without pods, of three containers as charts write them; `round` tells versions apart.
pub fn deployment(name: &str, round: usize) -> Vec<u8> {
    let labels = json!({"app": "bench", "app.kubernetes.io/part-of": "web", "team": "a"});
    let containers = ["web", "cache", "log"].map(|container| {
        json!({
            "name": container, "image": format!("registry.example.com/team/{container}:1.2.3"),
            "ports": [{"name": container, "containerPort": 8080}],
            "args": ["--listen", ":8080", "--verbose"],
            "env": [
                {"name": "ROUND", "value": round.to_string()},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "web", "key": "token"}}},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
            ],
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1500m", "memory": "128Mi"},
            },
            "readinessProbe": {"httpGet": {"path": "/ready", "port": container}, "periodSeconds": 5},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 10},
            "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30},
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/web", "readOnly": true},
                {"name": "scratch", "mountPath": "/tmp", "subPath": container},
            ],
            "securityContext": {
                "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            },
        })
    });
    encode(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": {"example.com/contact": "team-a"}},
        "spec": {
            "replicas": 0, "paused": true, "selector": {"matchLabels": {"app": "bench"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": containers,
                    "volumes": [
                        {"name": "config", "configMap": {"name": "web", "items": [{"key": "a", "path": "a"}]}},
                        {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
                    ],
                    "tolerations": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": "bench"}},
                    }],
                    "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
                },
            },
        },
    }))
}

/// One more condition of a Deployment, as a strategic merge patch; its controller leaves it alone.
pub fn deployment_status_patch(round: usize) -> Vec<u8> {
    let at = "2026-01-01T00:00:00Z";
    encode(&json!({"status": {"conditions": [{
        "type": "Bench", "status": "True", "reason": "Round", "message": format!("round {round}"),
        "lastUpdateTime": at, "lastTransitionTime": at,
    }]}}))
}

fn encode(tree: &Value) -> Vec<u8> {
    serde_json::to_vec(tree).expect("trees encode into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_holds_1_kib_and_changes() {
        let tree: Value = serde_json::from_slice(&config_map("a", 3)).expect("JSON");
        assert_eq!(tree["data"]["key"].as_str().map(str::len), Some(CONFIG_MAP_BYTES));
        assert_ne!(config_map("a", 3), config_map("a", 4));
    }
}
