//! The cell that tells how far a metric is from its target.

use serde_json::Value;

use crate::tree::{at, int_at, list_at, str_at};

/// Metrics shown before the rest is only counted.
const SHOWN_MAX: usize = 2;

/// `cpu: 40%/80%, 3/5 + 1 more...`
pub(super) fn targets(obj: &Value) -> String {
    let specs = list_at(obj, "spec.metrics");
    let statuses = list_at(obj, "status.currentMetrics");
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let cells: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| target(spec, statuses.get(index).unwrap_or(&Value::Null)))
        .collect();
    let shown = cells[..cells.len().min(SHOWN_MAX)].join(", ");
    match cells.len().checked_sub(SHOWN_MAX) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} + {more} more..."),
    }
}

fn target(spec: &Value, status: &Value) -> String {
    let (name, is_resource) = match str_at(spec, "type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let amount = |tree: &Value, part: &str, field: &str| {
        at(tree, &format!("{name}.{part}.{field}")).and_then(Value::as_str).map(str::to_owned)
    };
    let current = |field: &str| amount(status, "current", field).unwrap_or_else(|| "<unknown>".to_owned());
    let prefix =
        if is_resource { format!("{}: ", str_at(spec, &format!("{name}.name"))) } else { String::new() };
    let average = amount(spec, "target", "averageValue");
    if let Some(average) = average {
        let suffix = if matches!(name, "external" | "object") { " (avg)" } else { "" };
        return format!("{prefix}{}/{average}{suffix}", current("averageValue"));
    }
    if is_resource {
        let share = |tree: &Value, part: &str| {
            int_at(tree, &format!("{name}.{part}.averageUtilization")).map(|share| format!("{share}%"))
        };
        let current = share(status, "current").unwrap_or_else(|| "<unknown>".to_owned());
        let target = share(spec, "target").unwrap_or_else(|| "<auto>".to_owned());
        return format!("{prefix}{current}/{target}");
    }
    format!("{}/{}", current("value"), amount(spec, "target", "value").unwrap_or_else(|| "<nil>".to_owned()))
}
