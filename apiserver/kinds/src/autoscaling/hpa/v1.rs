//! Version 1: every decision is that of version 2, on the object as version 2 sees it.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{legacy, v2};
use crate::columns::Column;
use crate::core::pod::internal;
use crate::field::{BadValue, Error};
use crate::tree::{at, int_at, list_at, map_at, remove, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree};

/// The strategy of version 1.
pub(crate) struct Autoscalers;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("autoscaling", "v1", "horizontalpodautoscalers"));

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// Annotations that carry what does not fit, and two that once did.
const CARRIERS: [&str; 6] = [
    METRICS,
    BEHAVIOR,
    CURRENT_METRICS,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

impl Strategy for Autoscalers {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        set_default(obj, "spec.minReplicas", 1);
        // What the annotations say is read, and said again in the server's words.
        *obj = to_v1(&to_v2(obj));
    }

    fn prepare_create(&self, obj: &mut Tree) {
        let mut wide = to_v2(obj);
        v2::Autoscalers.prepare_create(&mut wide);
        *obj = to_v1(&wide);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        let mut wide = to_v2(new);
        v2::Autoscalers.prepare_update(sub, &mut wide, &to_v2(old));
        *new = to_v1(&wide);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        v2::Autoscalers.validate(&to_v2(obj))
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        v2::Autoscalers.validate_update(sub, &to_v2(new), &to_v2(old))
    }

    fn columns(&self) -> &'static [Column] {
        v2::Autoscalers.columns()
    }

    fn row(&self, stored: &Tree, now: Timestamp) -> Vec<Tree> {
        v2::Autoscalers.row(stored, now)
    }

    fn to_stored(&self, obj: Tree) -> Tree {
        to_v2(&obj)
    }

    fn converts_metadata(&self) -> bool {
        true
    }

    fn from_stored(&self, stored: Tree) -> Tree {
        to_v1(&stored)
    }
}

/// A version 1 object as version 2 shows it.
fn to_v2(obj: &Value) -> Value {
    let mut wide = obj.clone();
    if !wide.is_object() {
        return wide;
    }
    set(&mut wide, "apiVersion", "autoscaling/v2");
    set(&mut wide, "kind", "HorizontalPodAutoscaler");
    let carried = take_carried(&mut wide);
    let parsed = |name: &str| -> Option<Value> { serde_json::from_str(carried.get(name)?.as_str()?).ok() };
    let parsed_list = |name: &str| parsed(name).and_then(|list| list.as_array().cloned());

    let mut metrics: Vec<Value> =
        parsed_list(METRICS).unwrap_or_default().iter().map(legacy::spec_to_v2).collect();
    if let Some(Value::Number(percent)) = remove(&mut wide, "spec.targetCPUUtilizationPercentage") {
        metrics.push(v2::cpu_metric(percent.as_i64().unwrap_or(0)));
    }
    if metrics.is_empty() {
        metrics.push(v2::cpu_metric(v2::CPU_UTILIZATION));
    }
    set(&mut wide, "spec.metrics", metrics);
    if let Some(behavior) = parsed(BEHAVIOR).as_ref().and_then(super::behavior::from_internal) {
        set(&mut wide, "spec.behavior", behavior);
    }
    widen_status(&mut wide, parsed_list(CURRENT_METRICS), parsed_list(CONDITIONS));
    wide
}

/// Takes the carrying annotations out.
fn take_carried(obj: &mut Value) -> Map<String, Value> {
    let mut annotations = map_at(obj, "metadata.annotations").cloned().unwrap_or_default();
    let carried: Map<String, Value> =
        CARRIERS.iter().filter_map(|name| annotations.remove_entry(*name)).collect();
    if annotations.is_empty() {
        remove(obj, "metadata.annotations");
    } else {
        set(obj, "metadata.annotations", annotations);
    }
    carried
}

fn widen_status(wide: &mut Value, metrics: Option<Vec<Value>>, conditions: Option<Vec<Value>>) {
    let percent = remove(wide, "status.currentCPUUtilizationPercentage").and_then(|percent| percent.as_i64());
    let metrics = match (metrics, percent) {
        (Some(metrics), _) => Value::Array(metrics.iter().map(legacy::status_to_v2).collect()),
        (None, Some(percent)) => json!([{"type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}]),
        (None, None) => Value::Null,
    };
    let mut status = map_at(wide, "status").cloned().unwrap_or_default();
    status.insert("currentMetrics".to_owned(), metrics);
    if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
        status.remove("currentReplicas");
    }
    status.entry("desiredReplicas").or_insert_with(|| json!(0));
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), Value::Array(conditions));
    }
    set(wide, "status", status);
}

/// A version 2 object as version 1 shows it.
fn to_v1(wide: &Value) -> Value {
    let mut obj = wide.clone();
    if !obj.is_object() {
        return obj;
    }
    set(&mut obj, "apiVersion", "autoscaling/v1");
    set(&mut obj, "kind", "HorizontalPodAutoscaler");
    take_carried(&mut obj);
    remove(&mut obj, "spec.metrics");
    remove(&mut obj, "spec.behavior");

    let (cpu, others): (Vec<&Value>, Vec<&Value>) =
        list_at(wide, "spec.metrics").iter().partition(|metric| is_cpu_share(metric));
    if let Some(percent) = cpu.first().and_then(|metric| int_at(metric, "resource.target.averageUtilization"))
    {
        set(&mut obj, "spec.targetCPUUtilizationPercentage", percent);
    }
    let mut carried: Vec<(&str, String)> = Vec::new();
    if !others.is_empty() {
        carried.push((METRICS, list(others.into_iter().map(legacy::spec_to_v1))));
    }
    if let Some(BadValue::Printed(behavior)) = at(wide, "spec.behavior")
        .map(|behavior| internal::bad_value("HorizontalPodAutoscalerBehavior", Some(behavior)))
    {
        carried.push((BEHAVIOR, behavior));
    }
    carried.extend(narrow_status(&mut obj, wide));
    if !carried.is_empty() {
        let mut annotations = map_at(&obj, "metadata.annotations").cloned().unwrap_or_default();
        annotations.extend(carried.into_iter().map(|(name, text)| (name.to_owned(), json!(text))));
        set(&mut obj, "metadata.annotations", annotations);
    }
    obj
}

fn is_cpu_share(metric: &Value) -> bool {
    str_at(metric, "type") == "Resource"
        && str_at(metric, "resource.name") == "cpu"
        && at(metric, "resource.target.averageUtilization").is_some()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn narrow_status(obj: &mut Value, wide: &Value) -> Vec<(&'static str, String)> {
    let mut carried = Vec::new();
    let metrics = list_at(wide, "status.currentMetrics");
    let conditions = list_at(wide, "status.conditions");
    let mut status = map_at(obj, "status").cloned().unwrap_or_default();
    for name in ["currentMetrics", "conditions"] {
        status.remove(name);
    }
    for name in ["currentReplicas", "desiredReplicas"] {
        status.entry(name).or_insert_with(|| json!(0));
    }
    let share = |metric: &&Value| {
        let is_cpu = str_at(metric, "type") == "Resource" && str_at(metric, "resource.name") == "cpu";
        is_cpu.then(|| int_at(metric, "resource.current.averageUtilization")).flatten()
    };
    if let Some(percent) = metrics.iter().filter_map(|metric| share(&metric)).next_back() {
        status.insert("currentCPUUtilizationPercentage".to_owned(), json!(percent));
    }
    if !metrics.is_empty() {
        carried.push((CURRENT_METRICS, list(metrics.iter().map(legacy::status_to_v1))));
    }
    if !conditions.is_empty() {
        carried.push((CONDITIONS, list(conditions.iter().map(legacy::condition))));
    }
    set(obj, "status", status);
    carried
}
