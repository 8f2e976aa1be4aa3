//! Version 2, the stored one.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::metrics::{self, References};
use super::{behavior, cells};
use crate::apps::deployment::not_negative;
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, carry_over, int_at, list_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of version 2.
pub(crate) struct Autoscalers;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("autoscaling", "v2", "horizontalpodautoscalers"));

/// The share of its request that a pod's CPU should use when nothing else is said.
pub(super) const CPU_UTILIZATION: i64 = 80;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Reference", "What is scaled."),
    Column::text("Targets", "Each metric as it is, and as it should be."),
    Column::text("MinPods", "Fewest pods."),
    Column::text("MaxPods", "Most pods."),
    Column::text("Replicas", "Pods there are."),
    Column::AGE,
];

impl Strategy for Autoscalers {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        set_default(obj, "spec.minReplicas", 1);
        if list_at(obj, "spec.metrics").is_empty() {
            set(obj, "spec.metrics", vec![cpu_metric(CPU_UTILIZATION)]);
        }
        behavior::default(obj);
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({"currentMetrics": null, "desiredReplicas": 0}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        carry_over(new, old, if sub == Subresource::Status { "spec" } else { "status" });
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj, None));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            let null = Value::Null;
            let status = at(new, "status").unwrap_or(&null);
            for name in ["currentReplicas", "desiredReplicas"] {
                errors.extend(not_negative(status, name, &Path::new("status")));
            }
        } else {
            errors.extend(spec_errors(new, Some(old)));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let target = "spec.scaleTargetRef";
        let (kind, name) = (str_at(obj, &format!("{target}.kind")), str_at(obj, &format!("{target}.name")));
        let min = int_at(obj, "spec.minReplicas").map_or_else(|| "<unset>".to_owned(), |min| min.to_string());
        vec![
            columns::name(obj),
            json!(format!("{kind}/{name}")),
            json!(cells::targets(obj)),
            json!(min),
            json!(int_at(obj, "spec.maxReplicas").unwrap_or(0)),
            json!(int_at(obj, "status.currentReplicas").unwrap_or(0)),
            columns::age(obj, now),
        ]
    }
}

/// The metric that wants this share of the requested CPU in use.
pub(super) fn cpu_metric(percent: i64) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn spec_errors(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors = bound_errors(spec, old, &path);
    errors.extend(metrics::reference_errors(spec, "scaleTargetRef", &path, target_references(spec, old)));
    errors.extend(metrics::errors(spec, &path.child("metrics"), described_references(old)));
    errors.extend(behavior::errors(spec, &path.child("behavior")));
    errors
}

fn bound_errors(spec: &Value, old: Option<&Value>, path: &Path) -> Vec<Error> {
    let was_zero = old.is_some_and(|old| int_at(old, "spec.minReplicas") == Some(0));
    let lowest = i64::from(!was_zero);
    let (min, max) = (int_at(spec, "minReplicas"), int_at(spec, "maxReplicas").unwrap_or(0));
    let max_path = path.child("maxReplicas");
    let mut errors = Vec::new();
    if let Some(min) = min.filter(|min| *min < lowest) {
        let text = format!("must be greater than or equal to {lowest}");
        errors.push(field::invalid(&path.child("minReplicas"), min, text));
    }
    if max == 0 {
        errors.push(field::required(&max_path, "must be set and greater than 0"));
    } else if max < 0 {
        errors.push(field::invalid(&max_path, max, "must be greater than or equal to 1"));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(field::invalid(&max_path, max, "must be greater than or equal to `minReplicas`"));
    }
    errors
}

/// A target that does not change kind may keep whatever version it has; only one kind of the core group scales.
fn target_references(spec: &Value, old: Option<&Value>) -> References {
    let kept = |old: &Value| {
        ["apiVersion", "kind"].iter().all(|name| {
            str_at(old, &format!("spec.scaleTargetRef.{name}"))
                == str_at(spec, &format!("scaleTargetRef.{name}"))
        })
    };
    References {
        any: old.is_some_and(kept),
        any_group: str_at(spec, "scaleTargetRef.kind") == "ReplicationController",
    }
}

/// Described objects may be of any group, and of any version when a stored one already is.
fn described_references(old: Option<&Value>) -> References {
    let strict = References { any_group: true, any: false };
    let is_broken = |metric: &Value| {
        str_at(metric, "type") == "Object"
            && at(metric, "object.describedObject")
                .is_some_and(|reference| metrics::version_error(reference, strict).is_some())
    };
    let any = old.is_some_and(|old| list_at(old, "spec.metrics").iter().any(is_broken));
    References { any, ..strict }
}
