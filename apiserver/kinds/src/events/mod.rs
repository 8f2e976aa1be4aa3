//! Events as the events.k8s.io group shows them. Stored is the core group's shape; the two conversions are pure renamings.

use serde_json::{Map, Value, json};

use crate::columns::Column;
use crate::core::event;
use crate::field::Error;
use crate::tree::{at, int_at, str_at};
use crate::{Resource, Strategy, Subresource};

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&Events]
}

/// The group's field names beside the core group's, for selectors.
const FIELDS: &[(&str, &str)] = &[
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reason", "reason"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];

/// The strategy of events.k8s.io Events.
struct Events;

impl Strategy for Events {
    fn resource(&self) -> &'static Resource {
        crate::resource!("events.k8s.io", "v1", "events")
    }

    fn error_kind(&self) -> (&'static str, &'static str) {
        // The stored kind is the core group's, and errors name it.
        ("Event", "")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        event::validate_strict(&to_core(obj))
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        event::validate_strict_update(&to_core(new), &to_core(old))
    }

    fn columns(&self) -> &'static [Column] {
        event::COLUMNS
    }

    fn row(&self, stored: &Value, now: jiff::Timestamp) -> Vec<Value> {
        event::event_row(stored, now)
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ]
    }

    fn stored_field<'a>(&self, field: &'a str) -> Option<&'a str> {
        if field == "metadata.name" || field == "metadata.namespace" {
            return Some(field);
        }
        FIELDS.iter().find(|(shown, _)| *shown == field).map(|(_, stored)| *stored)
    }

    fn attributes(&self, stored: &Value) -> Vec<(&'static str, String)> {
        event::event_attributes(stored)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn garbage_collected(&self) -> bool {
        false
    }

    fn to_stored(&self, obj: Value) -> Value {
        to_core(&obj)
    }

    fn from_stored(&self, stored: Value) -> Value {
        from_core(&stored)
    }
}

/// An events.k8s.io event in the core group's shape.
pub fn to_core(event: &Value) -> Value {
    let mut core = Map::new();
    core.insert("apiVersion".to_owned(), json!("v1"));
    core.insert("kind".to_owned(), json!("Event"));
    copy(event, "metadata", &mut core, "metadata");
    keep(event, "regarding", &mut core, "involvedObject", json!({}));
    copy_text(event, "reason", &mut core, "reason");
    copy_text(event, "note", &mut core, "message");
    keep(event, "deprecatedSource", &mut core, "source", json!({}));
    keep(event, "deprecatedFirstTimestamp", &mut core, "firstTimestamp", Value::Null);
    keep(event, "deprecatedLastTimestamp", &mut core, "lastTimestamp", Value::Null);
    copy_count(event, "deprecatedCount", &mut core, "count");
    copy_text(event, "type", &mut core, "type");
    keep(event, "eventTime", &mut core, "eventTime", Value::Null);
    copy(event, "series", &mut core, "series");
    copy_text(event, "action", &mut core, "action");
    copy(event, "related", &mut core, "related");
    keep(event, "reportingController", &mut core, "reportingComponent", json!(""));
    keep(event, "reportingInstance", &mut core, "reportingInstance", json!(""));
    Value::Object(core)
}

/// A core event in the events.k8s.io group's shape.
pub fn from_core(core: &Value) -> Value {
    let mut event = Map::new();
    event.insert("apiVersion".to_owned(), json!("events.k8s.io/v1"));
    event.insert("kind".to_owned(), json!("Event"));
    copy(core, "metadata", &mut event, "metadata");
    keep(core, "involvedObject", &mut event, "regarding", json!({}));
    copy_text(core, "reason", &mut event, "reason");
    copy_text(core, "message", &mut event, "note");
    keep(core, "source", &mut event, "deprecatedSource", json!({}));
    keep(core, "firstTimestamp", &mut event, "deprecatedFirstTimestamp", Value::Null);
    keep(core, "lastTimestamp", &mut event, "deprecatedLastTimestamp", Value::Null);
    copy_count(core, "count", &mut event, "deprecatedCount");
    copy_text(core, "type", &mut event, "type");
    keep(core, "eventTime", &mut event, "eventTime", Value::Null);
    copy(core, "series", &mut event, "series");
    copy_text(core, "action", &mut event, "action");
    copy(core, "related", &mut event, "related");
    copy_text(core, "reportingComponent", &mut event, "reportingController");
    copy_text(core, "reportingInstance", &mut event, "reportingInstance");
    Value::Object(event)
}

fn copy(from: &Value, name: &str, to: &mut Map<String, Value>, as_name: &str) {
    if let Some(value) = at(from, name) {
        to.insert(as_name.to_owned(), value.clone());
    }
}

/// Copies a text that is left out when empty.
fn copy_text(from: &Value, name: &str, to: &mut Map<String, Value>, as_name: &str) {
    let text = str_at(from, name);
    if !text.is_empty() {
        to.insert(as_name.to_owned(), json!(text));
    }
}

/// Copies a number that is left out when zero.
fn copy_count(from: &Value, name: &str, to: &mut Map<String, Value>, as_name: &str) {
    let count = int_at(from, name).unwrap_or(0);
    if count != 0 {
        to.insert(as_name.to_owned(), json!(count));
    }
}

/// Copies a value that is never left out.
fn keep(from: &Value, name: &str, to: &mut Map<String, Value>, as_name: &str, absent: Value) {
    to.insert(as_name.to_owned(), at(from, name).cloned().unwrap_or(absent));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_both_conversions() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "count": 3, "message": "m",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c"}, "type": "Normal", "reason": "R",
            "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": ""});
        let event = from_core(&core);
        assert_eq!(
            event,
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "deprecatedCount": 3,
                "note": "m", "regarding": {"kind": "Pod", "name": "p"}, "deprecatedSource": {"component": "c"},
                "type": "Normal", "reason": "R", "deprecatedFirstTimestamp": "2020-01-01T00:00:00Z",
                "deprecatedLastTimestamp": null, "eventTime": null})
        );
        assert_eq!(to_core(&event), core);
    }
}
