//! What the recorded answers do not ask of these kinds.

use serde_json::{Value, json};

use super::storageclass::choose_default;
use crate::Subresource;

fn errors(plural: &str, obj: &Value) -> Vec<String> {
    let strategy = crate::strategy("storage.k8s.io", "v1", plural).expect("a kind of this group");
    strategy.validate(obj).iter().map(ToString::to_string).collect()
}

#[test]
fn the_newest_default_class_wins_and_then_the_first_by_name() {
    let class = |name: &str, created: &str, default: bool| {
        json!({"metadata": {"name": name, "creationTimestamp": created,
            "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()}}})
    };
    let old = "2026-01-01T00:00:00Z";
    let new = "2026-01-02T00:00:00Z";
    let check = |classes: &[Value], chosen: &str| {
        let name =
            choose_default(classes).map_or("", |class| class["metadata"]["name"].as_str().unwrap_or(""));
        assert_eq!(name, chosen, "{classes:?}");
    };
    check(&[], "");
    check(&[class("a", old, false)], "");
    check(&[class("a", old, true), class("b", new, true), class("c", new, false)], "b");
    check(&[class("b", new, true), class("a", new, true)], "a");
}

#[test]
fn an_inline_volume_has_a_driver_and_little_else() {
    let attachment = |inline: Value| json!({"metadata": {"name": "a"}, "spec": {"attacher": "d", "nodeName": "n", "source": {"inlineVolumeSpec": inline}}});
    let csi = json!({"driver": "d", "volumeHandle": "h"});
    let good = attachment(json!({"accessModes": ["ReadWriteOnce"], "csi": csi}));
    assert_eq!(errors("volumeattachments", &good), Vec::<String>::new());
    let bad = attachment(json!({"accessModes": ["ReadWriteOnce"], "csi": csi, "capacity": {"storage": "1"},
        "volumeMode": "Block", "persistentVolumeReclaimPolicy": "Delete"}));
    assert_eq!(
        errors("volumeattachments", &bad),
        [
            "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
            "spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes",
        ]
    );
}

#[test]
fn a_term_without_expressions_repeats_those_upstream_made_room_for() {
    let class = json!({"metadata": {"name": "c"}, "provisioner": "p", "volumeBindingMode": "Immediate",
        "allowedTopologies": [{}, {}]});
    let text = "allowedTopologies[%].matchLabelExpressions: Duplicate value: \"\"";
    let expected: Vec<String> =
        [0, 0, 1, 1, 1].iter().map(|index| text.replace('%', &index.to_string())).collect();
    assert_eq!(errors("storageclasses", &class), expected);
}

#[test]
fn a_node_keeps_what_a_driver_said_but_for_its_room() {
    let strategy = crate::strategy("storage.k8s.io", "v1", "csinodes").expect("a kind of this group");
    let node = |driver: Value| json!({"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"drivers": [driver]}});
    let old = node(json!({"name": "d", "nodeID": "1", "topologyKeys": null, "allocatable": {"count": 1}}));
    let check = |driver: Value, count: usize| {
        let errors = strategy.validate_update(Subresource::None, &node(driver), &old);
        assert_eq!(errors.len(), count, "{errors:?}");
    };
    check(json!({"name": "d", "nodeID": "1", "allocatable": {"count": 5}}), 0);
    check(json!({"name": "d", "nodeID": "2"}), 1);
    check(json!({"name": "e", "nodeID": "2"}), 0);
}
