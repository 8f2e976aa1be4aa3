//! Quality-of-service class of a pod: how its requests relate to its limits.

use serde_json::Value;

use super::resource_math::{Resources, resources_at};
use crate::tree::{at, list_at, str_at};

/// The class in the pod's status, computed when the status has none.
pub fn class(pod: &Value) -> String {
    match str_at(pod, "status.qosClass") {
        "" => compute(pod).to_owned(),
        class => class.to_owned(),
    }
}

/// The class that follows from the pod's resources: `Guaranteed`, `Burstable` or `BestEffort`.
pub fn compute(pod: &Value) -> &'static str {
    let (mut requests, mut limits) = (Resources::new(), Resources::new());
    let mut limited = true;
    if at(pod, "spec.resources").is_some() {
        add_counted(&mut requests, resources_at(pod, "spec.resources.requests"));
        let own = counted(resources_at(pod, "spec.resources.limits"));
        limited = at(pod, "spec.resources.limits").is_none() || own.len() == 2;
        add_counted(&mut limits, own);
    } else {
        for container in list_at(pod, "spec.containers").iter().chain(list_at(pod, "spec.initContainers")) {
            add_counted(&mut requests, resources_at(container, "resources.requests"));
            let own = counted(resources_at(container, "resources.limits"));
            limited &= own.len() == 2;
            add_counted(&mut limits, own);
        }
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Only processor and memory count, and only when there is some.
fn counted(mut resources: Resources) -> Resources {
    resources.retain(|name, quantity| matches!(name.as_str(), "cpu" | "memory") && quantity.sign() > 0);
    resources
}

fn add_counted(total: &mut Resources, more: Resources) {
    for (name, quantity) in counted(more) {
        total.entry(name).and_modify(|sum| *sum = sum.plus(&quantity)).or_insert_with(|| quantity.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(resources: Value, class: &str) {
        assert_eq!(
            compute(&json!({"spec": {"containers": [{"resources": resources}]}})),
            class,
            "{resources}"
        );
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        check(json!({}), "BestEffort");
        check(json!({"limits": {"example.com/a": "1"}, "requests": {"example.com/a": "1"}}), "BestEffort");
        check(json!({"requests": {"cpu": "1"}}), "Burstable");
        check(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        check(json!({"limits": both, "requests": both}), "Guaranteed");
        check(json!({"limits": both, "requests": {"cpu": "1", "memory": "1"}}), "Burstable");
    }
}
