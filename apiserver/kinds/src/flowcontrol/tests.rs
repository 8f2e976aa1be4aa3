//! Schemas and priority levels: what may stand in them, and what becomes of those every cluster has.

use serde_json::{Value, json};

use super::bootstrap::{self, AUTO_UPDATE};
use crate::tree::{set, str_at};
use crate::{Strategy, field};

fn strategy(kind: &str) -> &'static dyn Strategy {
    let plural = if kind == "FlowSchema" { "flowschemas" } else { "prioritylevelconfigurations" };
    crate::strategy("flowcontrol.apiserver.k8s.io", "v1", plural).expect("registered")
}

#[test]
fn what_is_shipped_is_valid_and_complete() {
    assert_eq!(bootstrap::shipped().len(), 8 + 11);
    for shipped in bootstrap::shipped() {
        let strategy = strategy(str_at(&shipped.object, "kind"));
        let mut defaulted = shipped.object.clone();
        strategy.default(&mut defaulted);
        assert_eq!(defaulted, shipped.object, "defaults change nothing");
        assert_eq!(field::summary(&strategy.validate(&shipped.object)), "");
    }
}

/// What becomes of a stored object: `keep`, or the annotation and whether the specification was put back.
fn check(name: &str, change: &dyn Fn(&mut Value), expected: &str) {
    let shipped = bootstrap::shipped()
        .iter()
        .find(|shipped| str_at(&shipped.object, "metadata.name") == name)
        .expect("shipped");
    let mut stored = shipped.object.clone();
    set(&mut stored, "metadata.generation", 1);
    change(&mut stored);
    let outcome = match bootstrap::revised(&stored, shipped) {
        None => "keep".to_owned(),
        Some(revised) => {
            let restored = revised["spec"] != stored["spec"];
            let mark = revised["metadata"]["annotations"][AUTO_UPDATE].as_str().unwrap_or("").to_owned();
            format!("{mark}{}", if restored { " restored" } else { "" })
        }
    };
    assert_eq!(outcome, expected, "{name}");
}

#[test]
fn mandatory_objects_are_put_back_and_suggested_ones_until_somebody_claims_them() {
    let touch = |obj: &mut Value| obj["spec"]["limited"]["nominalConcurrencyShares"] = json!(7);
    let unmark = |obj: &mut Value| obj["metadata"]["annotations"] = json!({"a": "b"});
    check("catch-all", &|_| {}, "keep");
    check("catch-all", &touch, "true restored");
    check("system", &touch, "true restored");
    check("system", &|obj| obj["metadata"]["annotations"][AUTO_UPDATE] = json!("false"), "keep");
    // Nobody has touched the specification yet, so it still follows.
    check("system", &unmark, "true");
    check(
        "system",
        &|obj| {
            touch(obj);
            unmark(obj);
            obj["metadata"]["generation"] = json!(2);
        },
        "false",
    );
}

#[test]
fn objects_of_an_earlier_table_are_left_over() {
    let object = |name: &str, mark: &str| json!({"kind": "FlowSchema", "metadata": {"name": name, "annotations": {AUTO_UPDATE: mark}}});
    assert!(bootstrap::is_left_over(&object("system-old", "true")));
    assert!(!bootstrap::is_left_over(&object("system-old", "false")));
    assert!(!bootstrap::is_left_over(&object("exempt", "true")));
}

#[test]
fn subjects_name_what_their_kind_says() {
    let schema = |subject: Value| {
        let gets = json!([{"verbs": ["get"], "nonResourceURLs": ["/x"]}]);
        let spec = json!({
            "priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 2,
            "rules": [{"subjects": [subject], "nonResourceRules": gets}],
        });
        let schema = json!({"metadata": {"name": "s"}, "spec": spec});
        field::summary(&strategy("FlowSchema").validate(&schema))
    };
    assert_eq!(schema(json!({"kind": "User", "user": {"name": "*"}})), "");
    assert_eq!(
        schema(json!({"kind": "User", "user": {"name": ""}, "group": {"name": "g"}})),
        "[spec.rules[0].subjects[0].user.name: Required value, spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group']"
    );
}

#[test]
fn a_hand_must_fit_the_hash() {
    let level = |queues: i64, hand: i64| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 1});
        let limited = json!({"limitResponse": {"type": "Queue", "queuing": queuing}});
        let level = json!({"metadata": {"name": "l"}, "spec": {"type": "Limited", "limited": limited}});
        field::summary(&strategy("PriorityLevelConfiguration").validate(&level))
    };
    assert_eq!(level(64, 10), "");
    assert_eq!(
        level(64, 11),
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"
    );
    assert_eq!(
        level(4, 5),
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)"
    );
}
