//! Deployments and replica sets as tables: an object in, its defaults, faults and cells out.

use serde_json::{Value, json};

use super::scale;
use crate::Strategy;
use crate::tree::{at, set};

fn deployments() -> &'static dyn Strategy {
    crate::strategy("apps", "v1", "deployments").expect("registered")
}

fn deployment(spec: Value) -> Value {
    let mut obj = json!({
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    for (name, value) in spec.as_object().expect("an object") {
        set(&mut obj, &format!("spec.{name}"), value.clone());
    }
    deployments().default(&mut obj);
    obj
}

fn check(spec: Value, errors: &[&str]) {
    let texts: Vec<String> =
        deployments().validate(&deployment(spec)).iter().map(ToString::to_string).collect();
    assert_eq!(texts, errors);
}

#[test]
fn a_rolling_update_must_be_able_to_move() {
    let rolling = |surge: Value, unavailable: Value| json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
    check(rolling(json!(1), json!(0)), &[]);
    check(rolling(json!("0%"), json!("1%")), &[]);
    check(
        rolling(json!(0), json!(0)),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    check(
        rolling(json!(-1), json!(1)),
        &["spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"],
    );
}

#[test]
fn annotations_and_spec_count_as_generations_and_labels_do_not() {
    let mut old = deployment(json!({}));
    deployments().prepare_create(&mut old);
    for (path, value, generation) in [
        ("metadata.labels", json!({"a": "b"}), 1),
        ("metadata.annotations", json!({"a": "b"}), 2),
        ("spec.replicas", json!(5), 2),
        ("status.replicas", json!(5), 1),
    ] {
        let mut new = old.clone();
        set(&mut new, path, value);
        deployments().prepare_update(crate::Subresource::None, &mut new, &old);
        assert_eq!(at(&new, "metadata.generation"), Some(&json!(generation)), "{path}");
    }
}

#[test]
fn scale_shows_the_selector_in_its_syntax() {
    assert_eq!(scale::selector(&deployment(json!({}))), "app=x");
    assert_eq!(scale::selector(&json!({"spec": {"selector": {"app": "x", "b": "c"}}})), "app=x,b=c");
    assert_eq!(scale::selector(&json!({"spec": {}})), "");
}
