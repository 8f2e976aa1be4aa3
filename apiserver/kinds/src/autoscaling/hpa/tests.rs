//! Autoscalers through both versions, and what is wrong with some.

use serde_json::{Value, json};

use super::{v1, v2};
use crate::Strategy;
use crate::tree::{at, set};

fn wide(spec: Value) -> Value {
    let mut obj = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": "n"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    for (name, value) in spec.as_object().expect("an object") {
        set(&mut obj, &format!("spec.{name}"), value.clone());
    }
    v2::Autoscalers.default(&mut obj);
    v2::Autoscalers.prepare_create(&mut obj);
    obj
}

#[test]
fn every_metric_survives_version_1() {
    let obj = wide(json!({
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}, "scaleDown": {"selectPolicy": "Disabled"}},
        "metrics": [
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
            {"type": "Object", "object": {"metric": {"name": "o", "selector": {"matchLabels": {"a": "b"}}},
                "describedObject": {"kind": "Service", "name": "s"}, "target": {"type": "Value", "value": "2k"}}},
            {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "Value", "value": "1"}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                "target": {"type": "Utilization", "averageUtilization": 7}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
        ],
    }));
    let narrow = v1::Autoscalers.from_stored(obj.clone());
    assert_eq!(at(&narrow, "spec.targetCPUUtilizationPercentage"), Some(&json!(70)));
    assert_eq!(
        narrow["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"],
        json!(
            r#"{"ScaleUp":{"StabilizationWindowSeconds":5,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15},{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Disabled","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null}}"#
        )
    );
    assert_eq!(v1::Autoscalers.to_stored(narrow), obj);
}

#[test]
fn version_1_without_metrics_watches_the_cpu() {
    let mut obj = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3}});
    v1::Autoscalers.default(&mut obj);
    assert_eq!(at(&obj, "spec.targetCPUUtilizationPercentage"), Some(&json!(80)));
    assert_eq!(at(&obj, "metadata.annotations"), None);
}

#[test]
fn a_status_written_through_version_1_leaves_what_the_annotations_of_the_spec_say() {
    let old = v1::Autoscalers.from_stored(wide(json!({"metrics": [
        {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}}]})));
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({});
    new["status"] = json!({"currentReplicas": 1, "desiredReplicas": 2});
    v1::Autoscalers.prepare_update(crate::Subresource::Status, &mut new, &old);
    assert_eq!(at(&new, "metadata.annotations"), at(&old, "metadata.annotations"));
    assert_eq!(at(&new, "status.desiredReplicas"), Some(&json!(2)));
}

#[test]
fn bounds_and_targets_are_checked() {
    let check = |spec: Value, errors: &[&str]| {
        let texts: Vec<String> =
            v2::Autoscalers.validate(&wide(spec)).iter().map(ToString::to_string).collect();
        assert_eq!(texts, errors);
    };
    check(json!({}), &[]);
    check(
        json!({"minReplicas": 4}),
        &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    );
    check(
        json!({"scaleTargetRef": {"kind": "Pod", "name": "a/b", "apiVersion": "v1"}}),
        &[
            "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group",
        ],
    );
    check(
        json!({"metrics": [{"type": "Resource"}]}),
        &["spec.metrics[0].resource: Required value: must populate information for the given metric source"],
    );
}

#[test]
fn a_table_shows_two_metrics() {
    let mut obj = wide(json!({"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "AverageValue", "averageValue": "7"}}},
        {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
    ]}));
    obj["status"]["currentMetrics"] =
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}}]);
    assert_eq!(super::cells::targets(&obj), "cpu: 40%/50%, <unknown>/7 (avg) + 1 more...");
}
