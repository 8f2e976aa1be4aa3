//! Metrics in version 1's shape, which lives on in annotations only.

use serde_json::{Map, Value, json};

use super::ordered::{self, Fields};
use crate::field::go_json;
use crate::quantity;
use crate::tree::{at, set, str_at};

/// How a value is written and read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A text or number that is always there.
    Always,
    /// A value that may be absent.
    Optional,
    /// A quantity that is zero when absent.
    Quantity,
    /// A quantity that may be absent.
    OptionalQuantity,
    Selector,
    Reference,
}

/// Version 1's name, version 2's path below the source, and the form.
type Row = (&'static str, &'static str, Form);

/// A source: its name in a metric, and its fields in version 1's order.
type Source = (&'static str, &'static [Row]);

const SPECS: [Source; 5] = [
    (
        "object",
        &[
            ("target", "describedObject", Form::Reference),
            ("metricName", "metric.name", Form::Always),
            ("targetValue", "target.value", Form::Quantity),
            ("selector", "metric.selector", Form::Selector),
            ("averageValue", "target.averageValue", Form::OptionalQuantity),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "metric.name", Form::Always),
            ("targetAverageValue", "target.averageValue", Form::Quantity),
            ("selector", "metric.selector", Form::Selector),
        ],
    ),
    (
        "resource",
        &[
            ("name", "name", Form::Always),
            ("targetAverageUtilization", "target.averageUtilization", Form::Optional),
            ("targetAverageValue", "target.averageValue", Form::OptionalQuantity),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "name", Form::Always),
            ("targetAverageUtilization", "target.averageUtilization", Form::Optional),
            ("targetAverageValue", "target.averageValue", Form::OptionalQuantity),
            ("container", "container", Form::Always),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "metric.name", Form::Always),
            ("metricSelector", "metric.selector", Form::Selector),
            ("targetValue", "target.value", Form::OptionalQuantity),
            ("targetAverageValue", "target.averageValue", Form::OptionalQuantity),
        ],
    ),
];

const STATUSES: [Source; 5] = [
    (
        "object",
        &[
            ("target", "describedObject", Form::Reference),
            ("metricName", "metric.name", Form::Always),
            ("currentValue", "current.value", Form::Quantity),
            ("selector", "metric.selector", Form::Selector),
            ("averageValue", "current.averageValue", Form::OptionalQuantity),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "metric.name", Form::Always),
            ("currentAverageValue", "current.averageValue", Form::Quantity),
            ("selector", "metric.selector", Form::Selector),
        ],
    ),
    (
        "resource",
        &[
            ("name", "name", Form::Always),
            ("currentAverageUtilization", "current.averageUtilization", Form::Optional),
            ("currentAverageValue", "current.averageValue", Form::Quantity),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "name", Form::Always),
            ("currentAverageUtilization", "current.averageUtilization", Form::Optional),
            ("currentAverageValue", "current.averageValue", Form::Quantity),
            ("container", "container", Form::Always),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "metric.name", Form::Always),
            ("metricSelector", "metric.selector", Form::Selector),
            ("currentValue", "current.value", Form::Quantity),
            ("currentAverageValue", "current.averageValue", Form::OptionalQuantity),
        ],
    ),
];

/// A metric of the spec as the annotation writes it.
pub(super) fn spec_to_v1(metric: &Value) -> String {
    to_v1(metric, &SPECS)
}

/// A metric of the status as the annotation writes it.
pub(super) fn status_to_v1(metric: &Value) -> String {
    to_v1(metric, &STATUSES)
}

fn to_v1(metric: &Value, sources: &[Source]) -> String {
    let mut fields = Fields::default();
    fields.raw("type", &go_json(&json!(str_at(metric, "type"))));
    for (name, rows) in sources {
        if let Some(source) = at(metric, name) {
            fields.raw(name, &write(source, rows));
        }
    }
    fields.finish()
}

fn write(source: &Value, rows: &[Row]) -> String {
    let mut fields = Fields::default();
    for (name, path, form) in rows {
        let value = at(source, path);
        match (form, value) {
            (Form::Optional | Form::OptionalQuantity, value) => fields.optional(name, value),
            (Form::Always, value) => fields.raw(name, &go_json(value.unwrap_or(&json!("")))),
            (Form::Quantity, value) => fields.raw(name, &go_json(value.unwrap_or(&json!("0")))),
            (Form::Selector, Some(value)) => fields.raw(name, &ordered::selector(value)),
            (Form::Selector, None) => {}
            (Form::Reference, value) => fields.raw(name, &ordered::reference(value.unwrap_or(&Value::Null))),
        }
    }
    fields.finish()
}

/// A metric of the spec out of an annotation.
pub(super) fn spec_to_v2(metric: &Value) -> Value {
    let mut wide = to_v2(metric, &SPECS);
    for (name, _) in SPECS {
        let Some(source) = wide.get_mut(name) else { continue };
        let has = |path: &str| at(source, path).is_some();
        let ty = match name {
            "object" if has("target.averageValue") => "AverageValue",
            "external" if !has("target.value") => "AverageValue",
            "object" | "external" => "Value",
            "resource" | "containerResource" if has("target.averageUtilization") => "Utilization",
            _ => "AverageValue",
        };
        // Version 1 cannot leave out an object's value; beside an average, zero means that there is none.
        let is_zero = at(source, "target.value").is_some_and(|value| quantity::of(value).is_zero());
        if name == "object" && ty == "AverageValue" && is_zero {
            crate::tree::remove(source, "target.value");
        }
        set(source, "target.type", ty);
    }
    wide
}

/// A metric of the status out of an annotation.
pub(super) fn status_to_v2(metric: &Value) -> Value {
    let mut wide = to_v2(metric, &STATUSES);
    for (name, _) in STATUSES {
        if let Some(source) = wide.get_mut(name) {
            crate::tree::set_default(source, "current", json!({}));
        }
    }
    wide
}

fn to_v2(metric: &Value, sources: &[Source]) -> Value {
    let mut wide = Map::new();
    wide.insert("type".to_owned(), json!(str_at(metric, "type")));
    for (name, rows) in sources {
        if let Some(source) = at(metric, name).filter(|source| source.is_object()) {
            wide.insert((*name).to_owned(), read(source, rows));
        }
    }
    Value::Object(wide)
}

fn read(source: &Value, rows: &[Row]) -> Value {
    let mut wide = json!({});
    for (name, path, form) in rows {
        let value = source.get(*name).filter(|value| !value.is_null());
        let value = match form {
            Form::Always => Some(value.cloned().unwrap_or_else(|| json!(""))),
            Form::Quantity => {
                Some(value.map_or_else(|| json!("0"), |value| json!(quantity::of(value).to_string())))
            }
            Form::OptionalQuantity => value.map(|value| json!(quantity::of(value).to_string())),
            Form::Optional | Form::Selector => value.cloned(),
            Form::Reference => {
                let text = |name: &str| value.map_or("", |value| str_at(value, name));
                let mut reference = json!({"kind": text("kind"), "name": text("name")});
                if !text("apiVersion").is_empty() {
                    set(&mut reference, "apiVersion", text("apiVersion"));
                }
                Some(reference)
            }
        };
        if let Some(value) = value {
            set(&mut wide, path, value);
        }
    }
    wide
}

/// A condition of the status as the annotation writes it.
pub(super) fn condition(condition: &Value) -> String {
    let mut fields = Fields::default();
    for name in ["type", "status"] {
        fields.raw(name, &go_json(&json!(str_at(condition, name))));
    }
    fields.raw("lastTransitionTime", &go_json(at(condition, "lastTransitionTime").unwrap_or(&Value::Null)));
    for name in ["reason", "message"] {
        fields.text(name, str_at(condition, name));
    }
    fields.finish()
}
