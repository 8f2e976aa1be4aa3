//! ControllerRevisions: what a workload's template was at some time. The data never changes, its number may.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployment::not_negative;
use crate::columns::{self, Column};
use crate::field::{self, BadValue, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, bool_at, int_at, list_at, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of ControllerRevisions.
pub(super) struct ControllerRevisions;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("apps", "v1", "controllerrevisions"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Controller", "The workload whose revision it is."),
    Column::text("Revision", "Number of the revision."),
    Column::AGE,
];

impl Strategy for ControllerRevisions {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = own_errors(obj);
        let path = Path::new("data");
        match at(obj, "data") {
            Some(Value::Object(_)) => {}
            Some(_) => errors.push(field::required(&path, "data must be a valid JSON object")),
            None => errors.push(field::required(&path, "data is mandatory")),
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(own_errors(new));
        let (data, before) = (at(new, "data"), at(old, "data"));
        if data != before {
            let value = BadValue::Json(data.cloned().unwrap_or(Value::Null));
            errors.push(field::invalid(&Path::new("data"), value, meta::IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        vec![
            columns::name(obj),
            json!(controller(obj)),
            json!(int_at(obj, "revision").unwrap_or(0)),
            columns::age(obj, now),
        ]
    }
}

fn own_errors(obj: &Value) -> Vec<Error> {
    let mut errors = meta::validate(obj, true, subdomain_rule);
    errors.extend(not_negative(obj, "revision", &Path::root()));
    errors
}

/// `kind.group/name` of the controller, in small letters as kubectl names resources.
fn controller(obj: &Value) -> String {
    let owners = list_at(obj, "metadata.ownerReferences");
    let Some(owner) = owners.iter().find(|owner| bool_at(owner, "controller") == Some(true)) else {
        return "<none>".to_owned();
    };
    let kind = str_at(owner, "kind").to_lowercase();
    let group = str_at(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", str_at(owner, "name"))
}
