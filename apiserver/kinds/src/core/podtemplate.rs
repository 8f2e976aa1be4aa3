//! PodTemplate: a pod template on its own, which controllers outside the cluster may use.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::validate::{self, Options};
use super::pod::{defaults, features, warnings};
use crate::columns::{self, Column};
use crate::field::{Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, at_mut, list_at, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategies of this module.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&PodTemplates]
}

/// The strategy of pod templates.
struct PodTemplates;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("", "v1", "podtemplates"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Containers", "Names of the template's containers."),
    Column::text("Images", "Images of the template's containers."),
    Column::text("Pod Labels", "Labels of the pods made of the template."),
];

impl Strategy for PodTemplates {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        set_default(obj, "template", json!({}));
        if let Some(template) = at_mut(obj, "template") {
            defaults::template(template);
        }
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "metadata.generation", 1);
        if let Some(template) = at_mut(obj, "template") {
            features::drop_disabled(template, None);
        }
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Tree, old: &Tree) {
        if let Some(template) = at_mut(new, "template") {
            features::drop_disabled(template, at(old, "template"));
        }
        if !same_at(new, old, "template") {
            set(new, "metadata.generation", meta::next(meta::generation(old)));
        }
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(template_errors(obj, None));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(template_errors(new, at(old, "template")));
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        if old.is_some_and(|old| meta::generation(old) == meta::generation(new)) {
            return Vec::new();
        }
        at(new, "template")
            .map_or_else(Vec::new, |template| warnings::template(template, &Path::new("template")))
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, _now: Timestamp) -> Vec<Tree> {
        vec![
            columns::name(obj),
            json!(container_cell(obj, "template.spec.containers", "name")),
            json!(container_cell(obj, "template.spec.containers", "image")),
            json!(columns::labels(obj, "template.metadata.labels")),
        ]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn template_errors(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let template = at(obj, "template").unwrap_or(&Value::Null);
    validate::template(template, &Path::new("template"), &Options::template(old))
}

/// One field of every container in the list at `path`, joined by commas.
pub(crate) fn container_cell(obj: &Value, path: &str, field: &str) -> String {
    let cells: Vec<&str> = list_at(obj, path).iter().map(|container| str_at(container, field)).collect();
    cells.join(",")
}
