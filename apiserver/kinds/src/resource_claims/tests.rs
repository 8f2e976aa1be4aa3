//! Devices and claims of them: amounts, versions, and what a change of a status may do.

use serde_json::{Value, json};

use super::access;
use crate::{Strategy, Subresource, field, write};

fn strategy(plural: &str) -> &'static dyn Strategy {
    crate::strategy("resource.k8s.io", "v1", plural).expect("registered")
}

fn slice(devices: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {
        "driver": "d.example.com", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
        "allNodes": true, "devices": devices}})
}

fn slice_errors(devices: Value) -> String {
    field::summary(&strategy("resourceslices").validate(&slice(devices)))
}

#[test]
fn versions_follow_semver() {
    let version = |text: &str| slice_errors(json!([{"name": "x", "attributes": {"v": {"version": text}}}]));
    for good in ["1.0.0", "0.0.1-alpha.1", "1.2.3-0a.b+001.x", "1.2.3+b-c"] {
        assert_eq!(version(good), "", "{good}");
    }
    for bad in ["1", "1.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "1.0.0-a..b"] {
        assert!(version(bad).contains("semver.org"), "{bad}");
    }
}

#[test]
fn requests_for_a_part_fit_the_policy() {
    let policy = |policy: Value| {
        slice_errors(json!([{"name": "x", "allowMultipleAllocations": true,
            "capacity": {"m": {"value": "10", "requestPolicy": policy}}}]))
    };
    assert_eq!(policy(json!({"default": "4", "validRange": {"min": "2", "max": "8", "step": "2"}})), "");
    assert_eq!(
        policy(json!({"default": "5", "validRange": {"min": "2", "step": "2"}})),
        "spec.devices[0].capacity[m].requestPolicy.validRange.step: Invalid value: \"5\": value is not a multiple of a given step (2) from (2)"
    );
    assert_eq!(policy(json!({"default": "2", "validValues": ["1", "2"]})), "");
    assert_eq!(
        policy(json!({"default": "3", "validValues": ["2", "1"]})),
        "[spec.devices[0].capacity[m].requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order, spec.devices[0].capacity[m].requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy]"
    );
}

#[test]
fn fields_behind_closed_gates_are_dropped_unless_stored() {
    let device = json!([{"name": "x", "attributes": {"l": {"strings": ["a"]}}}]);
    let mut new = slice(device.clone());
    write::prepare_create(strategy("resourceslices"), &mut new);
    assert_eq!(new["spec"]["devices"][0]["attributes"], json!({"l": {}}));

    let (mut new, old) = (slice(device.clone()), slice(device.clone()));
    write::prepare_update(strategy("resourceslices"), Subresource::None, &mut new, &old);
    assert_eq!(new["spec"]["devices"], device);
}

fn claim(status: Value) -> Value {
    json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": "1"},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}},
        "status": status})
}

fn allocation(device: &str) -> Value {
    json!({"devices": {"results": [
        {"request": "r", "driver": "d.example.com", "pool": "p", "device": device}]}})
}

/// A change of a claim's status: what of it is kept, and what is wrong with it.
fn change(before: Value, after: Value) -> (Value, String) {
    let (old, mut new) = (claim(before), claim(after));
    let strategy = strategy("resourceclaims");
    write::prepare_update(strategy, Subresource::Status, &mut new, &old);
    let errors = strategy.validate_update(Subresource::Status, &new, &old);
    (new["status"].clone(), field::summary(&errors))
}

#[test]
fn what_a_driver_reported_goes_with_its_device() {
    let report = json!([{"driver": "d.example.com", "pool": "p", "device": "x"}]);
    let with = json!({"allocation": allocation("x"), "devices": report});
    let without = json!({"devices": report});
    assert_eq!(change(with, without), (json!({}), String::new()));
    assert_eq!(
        change(json!({}), json!({"devices": report})).1,
        "status.devices[0]: Invalid value: {\"Driver\":\"d.example.com\",\"Pool\":\"p\",\"Device\":\"x\",\"ShareID\":\"\"}: must be an allocated device in the claim"
    );
}

#[test]
fn an_allocation_is_made_for_a_request_of_the_claim() {
    assert_eq!(change(json!({}), json!({"allocation": allocation("x")})).1, "");
    let mut wrong = allocation("x");
    wrong["devices"]["results"][0]["request"] = json!("q");
    let (_, errors) = change(json!({}), json!({"allocation": wrong}));
    assert!(errors.starts_with("status.allocation.devices.results[0].request: Invalid value: \"q\""));
}

#[test]
fn drivers_answer_for_what_they_change() {
    let status = |devices: Value| json!({"status": {"devices": devices}});
    let device =
        |driver: &str, data: i32| json!({"driver": driver, "pool": "p", "device": "x", "data": {"n": data}});
    let old = status(json!([device("a", 1), device("b", 1), device("c", 1)]));
    let new = status(json!([device("a", 1), device("b", 2), device("d", 1)]));
    assert_eq!(access::changed_drivers(&new, &old).into_iter().collect::<Vec<_>>(), ["b", "c", "d"]);
}
