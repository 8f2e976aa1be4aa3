//! ReplicaSets.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployment::not_negative;
use super::{selector, template};
use crate::columns::{self, Column};
use crate::core::pod::validate::Options;
use crate::core::podtemplate::container_cell;
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, carry_over, int_at, same_at, set, set_default};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of ReplicaSets.
pub(super) struct ReplicaSets;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("apps", "v1", "replicasets"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Desired", "Pods there should be."),
    Column::integer("Current", "Pods there are."),
    Column::integer("Ready", "Pods that are ready."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Selector of the pods.").wide(),
];

impl Strategy for ReplicaSets {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        set_default(obj, "spec.replicas", 1);
        template::default(obj);
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({"replicas": 0}));
        set(obj, "metadata.generation", 1);
        template::drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        template::drop_disabled(new, Some(old));
        if !same_at(new, old, "spec") {
            set(new, "metadata.generation", meta::next(meta::generation(old)));
        }
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj, &template::options(None)));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(status_errors(new));
        } else {
            errors.extend(spec_errors(new, &template::options(Some(old))));
            errors.extend(selector::immutable(new, old));
        }
        errors
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
            json!(columns::label_selector(obj, "spec.selector")),
        ]
    }
}

fn spec_errors(obj: &Value, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors = Vec::new();
    for name in ["replicas", "minReadySeconds"] {
        errors.extend(not_negative(spec, name, &path));
    }
    errors.extend(template::selected(spec, &path, options));
    errors
}

pub(crate) fn status_errors(obj: &Value) -> Vec<Error> {
    let null = Value::Null;
    let status = at(obj, "status").unwrap_or(&null);
    let path = Path::new("status");
    let number = |name: &str| int_at(status, name).unwrap_or(0);
    let mut errors = Vec::new();
    for name in [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ] {
        errors.extend(not_negative(status, name, &path));
    }
    for name in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if number(name) > number("replicas") {
            errors.push(field::invalid(
                &path.child(name),
                number(name),
                "cannot be greater than status.replicas",
            ));
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        let text = "cannot be greater than readyReplicas";
        errors.push(field::invalid(&path.child("availableReplicas"), number("availableReplicas"), text));
    }
    errors
}
