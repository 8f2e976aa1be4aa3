//! Fields whose feature is off in the version served: they are dropped unless what is stored already has them.

use serde_json::Value;

use super::containers::{change_each, each};
use crate::tree::{at, at_mut, list_at, list_at_mut, remove};

/// Drops from a pod or template what the version does not serve. `old` is what it replaces.
pub(crate) fn drop_disabled(owner: &mut Value, old: Option<&Value>) {
    let null = Value::Null;
    let old_spec = old.and_then(|old| at(old, "spec")).unwrap_or(&null);
    let Some(spec) = at_mut(owner, "spec") else { return };
    for source in ["clusterTrustBundle", "podCertificate"] {
        if !projects(old_spec, source) {
            drop_projection(spec, source);
        }
    }
    if at(old_spec, "schedulingGroup").is_none() {
        remove(spec, "schedulingGroup");
    }
    if !each(old_spec).any(|container| at(container, "lifecycle.stopSignal").is_some()) {
        change_each(spec, drop_stop_signal);
    }
}

/// Drops from a pod's status what the version does not serve.
pub(super) fn drop_disabled_status(pod: &mut Value, old: &Value) {
    if list_at(old, "status.nodeAllocatableResourceClaimStatuses").is_empty() {
        remove(pod, "status.nodeAllocatableResourceClaimStatuses");
    }
    if !mounts_in_status(old).any(|mount| at(mount, "volumeStatus").is_some()) {
        for list in STATUSES {
            for mount in
                list_at_mut(pod, list).iter_mut().flat_map(|status| list_at_mut(status, "volumeMounts"))
            {
                remove(mount, "volumeStatus");
            }
        }
    }
}

const STATUSES: [&str; 3] =
    ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"];

fn mounts_in_status(pod: &Value) -> impl Iterator<Item = &Value> {
    STATUSES
        .into_iter()
        .flat_map(|list| list_at(pod, list))
        .flat_map(|status| list_at(status, "volumeMounts"))
}

fn projects(spec: &Value, source: &str) -> bool {
    list_at(spec, "volumes")
        .iter()
        .flat_map(|volume| list_at(volume, "projected.sources"))
        .any(|projection| at(projection, source).is_some())
}

fn drop_projection(spec: &mut Value, source: &str) {
    for volume in list_at_mut(spec, "volumes") {
        for projection in list_at_mut(volume, "projected.sources") {
            remove(projection, source);
        }
    }
}

fn drop_stop_signal(container: &mut Value) {
    if remove(container, "lifecycle.stopSignal").is_none() {
        return;
    }
    if at(container, "lifecycle").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        remove(container, "lifecycle");
    }
}
