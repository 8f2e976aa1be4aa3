//! Events of the core group. The events.k8s.io group shows the same stored objects in another shape, which [`crate::events`]
//! converts; the rules for both are here, over the stored shape.

use serde_json::{Value, json};

use crate::columns::{Column, since};
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{self, validate_immutable};
use crate::names::{dns_subdomain, qualified_name, subdomain_rule};
use crate::tree::{at, int_at, same_at, str_at};
use crate::{Resource, Strategy, Subresource};

/// Bytes of the short fields of an event.
const SHORT_BYTES_MAX: usize = 128;

/// Bytes of an event's message.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Columns of events of both groups.
pub(crate) const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "Time since the event was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why it happened, in a word."),
    Column::text("Object", "What it is about."),
    Column::text("Subobject", "The part of the object.").wide(),
    Column::text("Source", "Who reported it.").wide(),
    Column::text("Message", "What happened."),
    Column::text("First Seen", "Time since the event was first seen.").wide(),
    Column::text("Count", "How often it was seen.").wide(),
    Column { priority: 1, ..Column::NAME },
];

/// Fields a selector may name in the core group.
pub(crate) const CORE_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The strategy of core Events.
pub(super) struct Events;

impl Strategy for Events {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "events")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate_legacy(obj, "reportingComponent")
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, _old: &Value) -> Vec<Error> {
        validate_legacy(new, "reportingComponent")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        event_row(obj, now)
    }

    fn selectable(&self) -> &'static [&'static str] {
        CORE_FIELDS
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        event_attributes(obj)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn garbage_collected(&self) -> bool {
        false
    }
}

/// The selectable fields of a stored event.
pub(crate) fn event_attributes(obj: &Value) -> Vec<(&'static str, String)> {
    let value = |field: &'static str| {
        let value = match field {
            "source" => match str_at(obj, "source.component") {
                "" => str_at(obj, "reportingComponent"),
                component => component,
            },
            other => str_at(obj, other),
        };
        (field, value.to_owned())
    };
    CORE_FIELDS.iter().map(|field| value(field)).collect()
}

/// The Table row of a stored event.
pub(crate) fn event_row(obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let first_of = |paths: &[&str]| {
        paths.iter().map(|path| str_at(obj, path)).find(|time| !time.is_empty()).unwrap_or("")
    };
    let first = since(first_of(&["firstTimestamp", "eventTime"]), now);
    let (last, count) = match at(obj, "series") {
        Some(series) => {
            (since(str_at(series, "lastObservedTime"), now), int_at(series, "count").unwrap_or(0))
        }
        None => {
            let last = str_at(obj, "lastTimestamp");
            let last = if last.is_empty() { first.clone() } else { since(last, now) };
            // An event of the new kind that happened once has no count.
            (last, int_at(obj, "count").filter(|count| *count != 0).unwrap_or(1))
        }
    };
    let kind = str_at(obj, "involvedObject.kind").to_lowercase();
    let target = match str_at(obj, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        json!(last),
        json!(str_at(obj, "type")),
        json!(str_at(obj, "reason")),
        json!(target),
        json!(str_at(obj, "involvedObject.fieldPath")),
        json!(source(obj)),
        json!(str_at(obj, "message").trim()),
        json!(first),
        json!(count),
        json!(str_at(obj, "metadata.name")),
    ]
}

fn source(obj: &Value) -> String {
    let first_of = |left: &str, right: &str| match str_at(obj, left) {
        "" => str_at(obj, right).to_owned(),
        value => value.to_owned(),
    };
    let component = first_of("source.component", "reportingComponent");
    match first_of("source.host", "reportingInstance") {
        host if host.is_empty() => component,
        host => format!("{component}, {host}"),
    }
}

/// The rules every event obeys, whichever group it came through. `reporter` is the group's name for who reports.
fn validate_legacy(obj: &Value, reporter: &str) -> Vec<Error> {
    let namespace = str_at(obj, "metadata.namespace");
    let mut errors: Vec<Error> = validate_namespace(obj, namespace).into_iter().collect();
    if at(obj, "eventTime").is_some() {
        errors.extend(validate_reporter(obj, reporter));
        errors.extend(validate_texts(obj));
    }
    let path = Path::new("namespace");
    errors.extend(dns_subdomain(namespace).into_iter().map(|text| field::invalid(&path, namespace, text)));
    errors
}

fn validate_namespace(obj: &Value, namespace: &str) -> Option<Error> {
    let involved = str_at(obj, "involvedObject.namespace");
    let agrees = match (at(obj, "eventTime").is_some(), involved.is_empty()) {
        (false, true) => namespace.is_empty() || namespace == "default",
        (false, false) => namespace == involved,
        (true, true) => namespace == "default" || namespace == "kube-system",
        (true, false) => true,
    };
    let path = Path::new("involvedObject.namespace");
    (!agrees).then(|| field::invalid(&path, involved, "does not match event.namespace"))
}

fn validate_reporter(obj: &Value, reporter: &str) -> Vec<Error> {
    let (controller, path) = (str_at(obj, "reportingComponent"), Path::new(reporter));
    let mut errors = Vec::new();
    if controller.is_empty() {
        errors.push(field::required(&path, ""));
    }
    errors.extend(qualified_name(controller).into_iter().map(|text| field::invalid(&path, controller, text)));
    errors
}

fn validate_texts(obj: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    for (name, max) in
        [("reportingInstance", SHORT_BYTES_MAX), ("action", SHORT_BYTES_MAX), ("reason", SHORT_BYTES_MAX)]
    {
        if str_at(obj, name).is_empty() {
            errors.push(field::required(&Path::new(name), ""));
        }
        errors.extend(at_most(obj, name, max));
    }
    errors.extend(at_most(obj, "message", MESSAGE_BYTES_MAX));
    errors
}

fn at_most(obj: &Value, name: &str, max: usize) -> Option<Error> {
    let text = format!("can have at most {max} characters");
    (str_at(obj, name).len() > max).then(|| field::invalid(&Path::new(name), "", text))
}

/// Everything wrong with a new event of the newer group, in its stored shape.
pub(crate) fn validate_strict(obj: &Value) -> Vec<Error> {
    let mut errors = validate_legacy(obj, "reportingController");
    errors.extend(meta::validate(obj, true, subdomain_rule));
    errors.extend(validate_series(obj));
    if at(obj, "eventTime").is_none() {
        errors.push(field::required(&Path::new("eventTime"), ""));
    }
    let kind = str_at(obj, "type");
    if kind != "Normal" && kind != "Warning" {
        errors.push(field::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    let deprecated = [
        ("firstTimestamp", at(obj, "firstTimestamp").is_some()),
        ("lastTimestamp", at(obj, "lastTimestamp").is_some()),
        ("count", int_at(obj, "count").unwrap_or(0) != 0),
        ("source", !str_at(obj, "source.component").is_empty() || !str_at(obj, "source.host").is_empty()),
    ];
    let set = deprecated.into_iter().filter(|(_, is_set)| *is_set);
    errors.extend(set.map(|(name, _)| field::invalid(&Path::new(name), "", "needs to be unset")));
    errors
}

/// Everything wrong with a changed event of the newer group, in its stored shape: only the series may change.
pub(crate) fn validate_strict_update(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = validate_legacy(new, "reportingController");
    errors.extend(meta::validate_update(new, old));
    if !same_at(new, old, "series") {
        errors.extend(validate_series(new));
    }
    let fixed = [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    const TEXTS: [&str; 6] =
        ["message", "reason", "type", "action", "reportingComponent", "reportingInstance"];
    for (stored, shown) in fixed {
        if let Some(mut error) = validate_immutable(new, old, stored) {
            error.field = shown.to_owned();
            if TEXTS.contains(&stored) {
                error.bad_value = BadValue::from(str_at(new, stored));
            }
            if let Some(printed) = print_struct(new, stored) {
                error.bad_value = BadValue::Printed(printed);
            }
            errors.push(error);
        }
    }
    errors
}

/// References and sources print with Go's field names, all of them.
fn print_struct(obj: &Value, name: &str) -> Option<String> {
    const REFERENCE: &[(&str, &str)] = &[
        ("Kind", "kind"),
        ("Namespace", "namespace"),
        ("Name", "name"),
        ("UID", "uid"),
        ("APIVersion", "apiVersion"),
        ("ResourceVersion", "resourceVersion"),
        ("FieldPath", "fieldPath"),
    ];
    const SOURCE: &[(&str, &str)] = &[("Component", "component"), ("Host", "host")];
    let fields = match name {
        "involvedObject" | "related" => REFERENCE,
        "source" => SOURCE,
        _ => return None,
    };
    let value = at(obj, name);
    if value.is_none() && name == "related" {
        return None;
    }
    let text = |field: &str| value.map_or("", |value| str_at(value, field));
    let printed: Vec<String> = fields
        .iter()
        .map(|(shown, field)| format!("\"{shown}\":{}", field::go_json(&json!(text(field)))))
        .collect();
    Some(format!("{{{}}}", printed.join(",")))
}

fn validate_series(obj: &Value) -> Vec<Error> {
    let Some(series) = at(obj, "series") else { return Vec::new() };
    let mut errors = Vec::new();
    if int_at(series, "count").unwrap_or(0) < 2 {
        errors.push(field::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if str_at(series, "lastObservedTime").is_empty() {
        errors.push(field::required(&Path::new("series.lastObservedTime"), ""));
    }
    errors
}
