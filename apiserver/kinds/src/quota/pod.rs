//! What a pod uses, whether it says so, and which scopes it falls under.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Amounts;
use crate::core::pod::qos;
use crate::core::pod::resource_math::{
    Resources, aggregate, is_extended, is_huge_page, is_pod_level, resources_at,
};
use crate::core::pod::validate::selectors::pod_affinity_terms;
use crate::quantity::{self, Quantity};
use crate::tree::{at, int_at, list_at, list_at_mut, set, str_at};

/// Of these a container must say how much it needs when a quota counts them.
const STATED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Resources of a pod that a quota may name, beside huge pages and those with a domain.
const NAMES: [&str; 11] = [
    "count/pods",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "pods",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Whether pods use the resource of this name.
pub(super) fn tracks(name: &str) -> bool {
    let extended = name.strip_prefix("requests.").is_some_and(|of| {
        !crate::core::pod::resource_math::is_native(name)
            || of.starts_with("deviceclass.resource.kubernetes.io/")
    });
    NAMES.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-") || extended
}

/// What a pod uses. One that has ended, or should be gone by now, is counted as an object and uses nothing.
pub(super) fn usage(pod: &Value, now: Timestamp) -> Amounts {
    let one = || Quantity::new(1, quantity::DECIMAL);
    let mut used = Amounts::from([("count/pods".to_owned(), one())]);
    if is_over(pod, now) {
        return used;
    }
    let (requests, limits) = whole(pod);
    used.extend(names(&requests, &limits));
    used
}

/// Whether the pod will end by itself.
pub(super) fn is_terminating(pod: &Value) -> bool {
    int_at(pod, "spec.activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

/// Whether the pod says nothing of what it needs.
pub(super) fn is_best_effort(pod: &Value) -> bool {
    qos::class(pod) == "BestEffort"
}

/// Whether the pod wants to be near to or far from pods of other namespaces.
pub(super) fn reaches_across(pod: &Value) -> bool {
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    pod_affinity_terms(spec)
        .any(|term| !list_at(term, "namespaces").is_empty() || at(term, "namespaceSelector").is_some())
}

/// Refuses a pod whose containers leave out what a quota counts of them.
pub(super) fn check_stated(pod: &Value, tracked: &[String]) -> Result<(), String> {
    let of_pod = ["spec.resources.requests", "spec.resources.limits"];
    if of_pod.iter().any(|list| resources_at(pod, list).keys().any(|name| is_pod_level(name))) {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in ["spec.containers", "spec.initContainers"].iter().flat_map(|list| list_at(pod, list)) {
        let (requests, limits) =
            (resources_at(container, "resources.requests"), resources_at(container, "resources.limits"));
        let stated = names(&requests, &limits);
        let wanted = tracked.iter().map(String::as_str).filter(|name| STATED.contains(name));
        for name in wanted.filter(|name| !stated.contains_key(*name)) {
            missing.entry(name).or_default().insert(str_at(container, "name"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let texts = missing.iter().map(|(name, containers)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    });
    Err(format!("must specify {}", texts.collect::<Vec<_>>().join("; ")))
}

fn is_over(pod: &Value, now: Timestamp) -> bool {
    if matches!(str_at(pod, "status.phase"), "Failed" | "Succeeded") {
        return true;
    }
    let marked = str_at(pod, "metadata.deletionTimestamp").parse::<Timestamp>();
    let grace = int_at(pod, "metadata.deletionGracePeriodSeconds");
    match (marked, grace) {
        (Ok(marked), Some(grace)) => {
            marked.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
        }
        _ => false,
    }
}

/// Requests and limits under the names that quotas have for them.
fn names(requests: &Resources, limits: &Resources) -> Amounts {
    let mut named = Amounts::from([("pods".to_owned(), Quantity::new(1, quantity::DECIMAL))]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            named.insert(name.to_owned(), request.clone());
            named.insert(format!("requests.{name}"), request.clone());
        }
        if let Some(limit) = limits.get(name) {
            named.insert(format!("limits.{name}"), limit.clone());
        }
    }
    for (name, request) in requests {
        if is_huge_page(name) {
            named.insert(name.clone(), request.clone());
            named.insert(format!("requests.{name}"), request.clone());
        }
        if is_extended(name) || name.starts_with("deviceclass.resource.kubernetes.io/") {
            named.insert(format!("requests.{name}"), request.clone());
        }
    }
    named
}

/// Requests and limits of the pod as a whole, overhead included.
fn whole(pod: &Value) -> (Resources, Resources) {
    let spec = effective(pod);
    let overhead = resources_at(&spec, "overhead");
    let total = |which: &str| {
        let mut total = aggregate(&spec, &format!("resources.{which}"));
        let own = resources_at(&spec, &format!("resources.{which}"));
        total.extend(own.into_iter().filter(|(name, _)| is_pod_level(name)));
        total
    };
    let (mut requests, mut limits) = (total("requests"), total("limits"));
    for (name, cost) in &overhead {
        let sum = requests.get(name).map_or_else(|| cost.clone(), |request| request.plus(cost));
        requests.insert(name.clone(), sum);
        if let Some(limit) = limits.get_mut(name).filter(|limit| !limit.is_zero()) {
            *limit = limit.plus(cost);
        }
    }
    (requests, limits)
}

/// The spec with what containers have while a resize is under way: the most of what is wanted, allocated and in force.
fn effective(pod: &Value) -> Value {
    let mut spec = at(pod, "spec").cloned().unwrap_or_default();
    let infeasible = list_at(pod, "status.conditions").iter().any(|condition| {
        str_at(condition, "type") == "PodResizePending" && str_at(condition, "reason") == "Infeasible"
    });
    for (list, statuses) in
        [("containers", "status.containerStatuses"), ("initContainers", "status.initContainerStatuses")]
    {
        for container in list_at_mut(&mut spec, list) {
            let name = str_at(container, "name").to_owned();
            let status = list_at(pod, statuses).iter().find(|status| str_at(status, "name") == name);
            let sidecar = list == "containers" || str_at(container, "restartPolicy") == "Always";
            if let Some(status) = status.filter(|status| sidecar && at(status, "resources").is_some()) {
                apply_status(container, status, infeasible);
            }
        }
    }
    spec
}

fn apply_status(container: &mut Value, status: &Value, infeasible: bool) {
    for (which, allocated) in [("requests", true), ("limits", false)] {
        let path = format!("resources.{which}");
        let mut most = if infeasible { Resources::new() } else { resources_at(container, &path) };
        raise(&mut most, resources_at(status, &path));
        if allocated {
            raise(&mut most, resources_at(status, "allocatedResources"));
        }
        set(container, &path, super::printed(&most));
    }
}

fn raise(most: &mut Resources, others: Resources) {
    for (name, amount) in others {
        if most.get(&name).is_none_or(|have| *have < amount) {
            most.insert(name, amount);
        }
    }
}
