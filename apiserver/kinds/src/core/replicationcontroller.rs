//! ReplicationControllers: replica sets as they were first, with a selector that is a plain map of labels.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::validate::{self, Options};
use super::podtemplate::container_cell;
use crate::apps::deployment::not_negative;
use crate::apps::template;
use crate::columns::{self, Column};
use crate::field::{self, BadValue, Error, Path};
use crate::names::long_name_rule;
use crate::tree::{at, carry_over, entries_at, int_at, map_at, set, set_default};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of ReplicationControllers.
pub(super) struct ReplicationControllers;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("", "v1", "replicationcontrollers"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Desired", "Pods there should be."),
    Column::integer("Current", "Pods there are."),
    Column::integer("Ready", "Pods that are ready."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Labels of the pods.").wide(),
];

impl Strategy for ReplicationControllers {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        if let Some(labels) = map_at(obj, "spec.template.metadata.labels").cloned() {
            for path in ["spec.selector", "metadata.labels"] {
                if map_at(obj, path).is_none_or(serde_json::Map::is_empty) {
                    set(obj, path, labels.clone());
                }
            }
        }
        set_default(obj, "spec.replicas", 1);
        if at(obj, "spec.template").is_some() {
            template::default(obj);
        }
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({"replicas": 0}));
        meta::start_generation(obj);
        template::drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        template::drop_disabled(new, Some(old));
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, long_name_rule);
        errors.extend(spec_errors(obj, &template::options(None)));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(crate::apps::replicaset::status_errors(new));
        } else {
            errors.extend(spec_errors(new, &template::options(Some(old))));
        }
        errors
    }

    fn status_warns(&self) -> bool {
        true
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        template::warnings(new, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let number = |name: &str| json!(int_at(obj, name).unwrap_or(0));
        vec![
            columns::name(obj),
            number("spec.replicas"),
            number("status.replicas"),
            number("status.readyReplicas"),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.template.spec.containers", "image")),
            json!(columns::labels(obj, "spec.selector")),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn attributes(&self, obj: &Tree) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int_at(obj, "status.replicas").unwrap_or(0).to_string())]
    }

    fn orphans_by_default(&self) -> bool {
        true
    }
}

fn spec_errors(obj: &Value, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors: Vec<Error> = not_negative(spec, "minReadySeconds", &path).into_iter().collect();
    if entries_at(spec, "selector").is_empty() {
        errors.push(field::required(&path.child("selector"), ""));
    }
    errors.extend(not_negative(spec, "replicas", &path));
    errors.extend(template_errors(spec, &path.child("template"), options));
    errors
}

fn template_errors(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let Some(template) = at(spec, "template") else { return vec![field::required(path, "")] };
    let mut errors = Vec::new();
    let labels = map_at(template, "metadata.labels");
    let has =
        |(key, value): (&str, &str)| labels.is_some_and(|labels| labels.get(key) == Some(&json!(value)));
    if !entries_at(spec, "selector").into_iter().all(has) {
        let labels = labels.map_or(Value::Null, |labels| Value::Object(labels.clone()));
        let path = path.child("metadata").child("labels");
        let text = "`selector` does not match template `labels`";
        errors.push(field::invalid(&path, BadValue::Json(labels), text));
    }
    errors.extend(validate::template(template, path, options));
    errors.extend(template::runs_always(spec, path, "ReplicationController"));
    errors
}
