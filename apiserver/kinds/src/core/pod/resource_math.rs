//! Sums of the resources of a pod's containers, sidecars and init containers included.

use std::collections::BTreeMap;

use serde_json::Value;

use super::containers::is_sidecar;
use crate::names::qualified_name;
use crate::quantity::{self, Quantity};
use crate::tree::{list_at, map_at};

/// Unprefixed resources that come in whole numbers.
const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Quantities by resource name.
pub(crate) type Resources = BTreeMap<String, Quantity>;

/// The resources of the map at a path; empty when absent.
pub(crate) fn resources_at(owner: &Value, path: &str) -> Resources {
    map_at(owner, path)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), quantity::of(value)))
        .collect()
}

/// What the containers together need at the pod's hungriest moment. `which` is `resources.requests` or `resources.limits`.
///
/// ```text
/// init 3, sidecar 1, init 4, container 2  ->  max(3, 1 + 4, 1 + 2) = 5
/// ```
pub(crate) fn aggregate(spec: &Value, which: &str) -> Resources {
    let mut total = Resources::new();
    for container in list_at(spec, "containers") {
        add(&mut total, &resources_at(container, which));
    }
    let (mut sidecars, mut peak) = (Resources::new(), Resources::new());
    for container in list_at(spec, "initContainers") {
        let mut own = resources_at(container, which);
        if is_sidecar(container) {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut peak, &own);
    }
    raise(&mut total, &peak);
    total
}

fn add(total: &mut Resources, more: &Resources) {
    for (name, quantity) in more {
        total
            .entry(name.clone())
            .and_modify(|sum| *sum = sum.plus(quantity))
            .or_insert_with(|| quantity.clone());
    }
}

fn raise(total: &mut Resources, at_least: &Resources) {
    for (name, quantity) in at_least {
        let enough = total.get(name).is_some_and(|have| have >= quantity);
        if !enough {
            total.insert(name.clone(), quantity.clone());
        }
    }
}

/// Whether the resource can be given at the level of the pod.
pub(crate) fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

/// Whether the resource is huge pages of some size.
pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the resource is Kubernetes' own: unprefixed, or in its namespace.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is one that someone other than Kubernetes has invented, such as `example.com/gpu`.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether a resource comes in whole pieces: those of the list, and those with a domain of their own.
pub(crate) fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

/// Whether a request may be smaller than the limit.
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_and_sidecars_count_once() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let spec = json!({
            "containers": [{"resources": cpu("2")}],
            "initContainers": [
                {"resources": cpu("3")},
                {"restartPolicy": "Always", "resources": cpu("1")},
                {"resources": cpu("4")},
            ],
        });
        assert_eq!(aggregate(&spec, "resources.requests")["cpu"].to_string(), "5");
    }
}
