//! Requests that default to limits, for containers and for the pod as a whole. Pods only, never templates.

use serde_json::{Map, Value, json};

use super::resource_math::{Resources, aggregate, is_huge_page, is_pod_level, may_overcommit, resources_at};
use crate::tree::{at, list_at_mut, map_at, set};

/// Fills in the requests of every container, then those of the pod.
pub(super) fn pod(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        list_at_mut(spec, list).iter_mut().for_each(requests_from_limits);
    }
    if at(spec, "resources").is_some() {
        huge_page_limits(spec);
        pod_requests(spec);
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = map_at(container, "resources.limits").cloned() else { return };
    let mut requests = map_at(container, "resources.requests").cloned().unwrap_or_default();
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
    set_resources(container, "resources.requests", requests);
}

/// The pod's limit of huge pages is the sum of its containers', unless the pod says otherwise.
fn huge_page_limits(spec: &mut Value) {
    let requests = resources_at(spec, "resources.requests");
    let mut limits = map_at(spec, "resources.limits").cloned().unwrap_or_default();
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    let sums: Resources = aggregate(spec, "resources.limits");
    for (name, sum) in sums.iter().filter(|(name, _)| is_huge_page(name) && !requests.contains_key(*name)) {
        limits.entry(name.clone()).or_insert_with(|| json!(sum.to_string()));
    }
    set_resources(spec, "resources.limits", limits);
}

/// The pod's requests are the sum of its containers', or else its own limits.
fn pod_requests(spec: &mut Value) {
    let limits = map_at(spec, "resources.limits").cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let mut requests = map_at(spec, "resources.requests").cloned().unwrap_or_default();
    for (name, sum) in aggregate(spec, "resources.requests") {
        if is_pod_level(&name) && may_overcommit(&name) {
            requests.entry(name).or_insert_with(|| json!(sum.to_string()));
        }
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| is_pod_level(name)) {
        requests.entry(name).or_insert(limit);
    }
    set_resources(spec, "resources.requests", requests);
}

fn set_resources(owner: &mut Value, path: &str, resources: Map<String, Value>) {
    if !resources.is_empty() {
        set(owner, path, resources);
    }
}
