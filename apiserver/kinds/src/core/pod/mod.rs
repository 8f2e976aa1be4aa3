//! Pods: the largest kind, split by concept.
//!
//! The strategy here only wires the parts together. [`admission`], [`binding`] and [`eviction`] hold decisions that the
//! API server takes outside a plain write.

pub mod admission;
mod app_armor;
pub mod binding;
mod cells;
mod conditions;
mod container_status;
pub(crate) mod containers;
pub(crate) mod defaults;
pub(crate) mod diff;
pub mod eviction;
pub(crate) mod features;
mod image;
pub(crate) mod internal;
mod label_keys;
pub mod logs;
pub mod node_fit;
mod overlaps;
pub mod qos;
mod resize;
mod resource_defaults;
pub(crate) mod resource_math;
mod status;
mod update;
pub(crate) mod validate;
pub(crate) mod volume_defaults;
pub(crate) mod warnings;

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::Error;
use crate::names::dns_label;
use crate::tree::{at, bool_at, carry_over, int_at, list_at, remove, same_at, set, str_at};
use crate::{Column, Resource, Strategy, Subresource, Tree, meta};

/// The strategies of this module.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&Pods]
}

/// The strategy of pods.
struct Pods;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("", "v1", "pods"));

impl Strategy for Pods {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        defaults::pod(obj);
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "metadata.generation", 1);
        let class = qos::compute(obj);
        set(obj, "status", json!({"phase": "Pending", "qosClass": class}));
        features::drop_disabled(obj, None);
        if !list_at(obj, "spec.schedulingGates").is_empty() {
            set_gated(obj);
        }
        label_keys::merge(obj);
        app_armor::annotations_to_fields(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        match sub {
            Subresource::Status => prepare_status(new, old),
            Subresource::EphemeralContainers => {
                let containers = at(new, "spec.ephemeralContainers").cloned();
                carry_over(new, old, "spec");
                carry_over(new, old, "status");
                reset_metadata(new, old);
                match containers {
                    Some(containers) => set(new, "spec.ephemeralContainers", containers),
                    None => drop(remove(new, "spec.ephemeralContainers")),
                }
            }
            Subresource::Resize => resize::keep_resources(new, old),
            _ => carry_over(new, old, "status"),
        }
        features::drop_disabled(new, Some(old));
        features::drop_disabled_status(new, old);
        if sub != Subresource::Status && !same_at(new, old, "spec") {
            set(new, "metadata.generation", meta::next(meta::generation(new)));
        }
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        validate::create(obj, &validate::Options::pod(None))
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        match sub {
            Subresource::Status => status::validate(new, old),
            Subresource::EphemeralContainers => update::ephemeral_containers(new, old),
            Subresource::Resize => resize::validate(new, old),
            _ => update::validate(new, old),
        }
    }

    fn status_warns(&self) -> bool {
        true
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        if let Some(old) = old {
            return if same_at(new, old, "spec") { warnings::status(new) } else { Vec::new() };
        }
        let name = str_at(new, "metadata.name");
        let texts = dns_label(name);
        let mut warnings = app_armor::warnings(new);
        if !texts.is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                texts.join(" ")
            ));
        }
        warnings.extend(warnings::pod(new));
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        cells::COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        cells::row(obj, now)
    }

    fn row_conditions(&self, obj: &Tree) -> Vec<Tree> {
        cells::conditions(obj)
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn stored_field<'a>(&self, field: &'a str) -> Option<&'a str> {
        // The name that the oldest clients know.
        let field = if field == "spec.host" { "spec.nodeName" } else { field };
        let is_known =
            matches!(field, "metadata.name" | "metadata.namespace") || self.selectable().contains(&field);
        is_known.then_some(field)
    }

    fn attributes(&self, obj: &Tree) -> Vec<(&'static str, String)> {
        let ip = list_at(obj, "status.podIPs").first().map_or("", |entry| str_at(entry, "ip"));
        let host_network = bool_at(obj, "spec.hostNetwork").unwrap_or(false);
        let value = |name: &'static str| match name {
            "spec.hostNetwork" => host_network.to_string(),
            "status.podIP" => ip.to_owned(),
            // The label is known and selects nothing: no pod has a value for it.
            "status.podIPs" => String::new(),
            plain => str_at(obj, plain).to_owned(),
        };
        self.selectable().iter().map(|name| (*name, value(name))).collect()
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }

    fn graceful_period(&self, obj: &Tree, requested: Option<i64>) -> Option<i64> {
        let never_ran = str_at(obj, "spec.nodeName").is_empty();
        let has_ended = matches!(str_at(obj, "status.phase"), "Failed" | "Succeeded");
        if never_ran || has_ended {
            return Some(0);
        }
        let period = requested.or_else(|| int_at(obj, "spec.terminationGracePeriodSeconds")).unwrap_or(0);
        Some(if period < 0 { 1 } else { period })
    }
}

/// A pod that waits at a gate says so from the start. The time is that of its creation.
fn set_gated(pod: &mut Value) {
    let now = at(pod, "metadata.creationTimestamp").cloned().unwrap_or(Value::Null);
    let condition = conditions::Condition {
        ty: "PodScheduled",
        status: "False",
        reason: "SchedulingGated",
        message: "Scheduling is blocked due to non-empty scheduling gates",
    };
    conditions::update(pod, condition, &now);
}

fn prepare_status(new: &mut Value, old: &Value) {
    carry_over(new, old, "spec");
    carry_over(new, old, "metadata.ownerReferences");
    carry_over(new, old, "metadata.deletionTimestamp");
    if str_at(new, "status.qosClass").is_empty() {
        carry_over(new, old, "status.qosClass");
    }
    status::keep_observed_generations(new, old);
}

/// Takes metadata that a subresource may not change from `old`. Managed fields are the exception.
fn reset_metadata(new: &mut Value, old: &Value) {
    for name in [
        "deletionTimestamp",
        "generation",
        "selfLink",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
    ] {
        carry_over(new, old, &format!("metadata.{name}"));
    }
}

#[cfg(test)]
mod tests;
