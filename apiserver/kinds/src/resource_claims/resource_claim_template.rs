//! ResourceClaimTemplates: what the claims of each pod are made of.

use serde_json::Value;

use super::device_request;
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::meta::{IMMUTABLE, validate_annotations, validate_labels};
use crate::names::subdomain_rule;
use crate::tree::{at, at_mut, map_at, same_at};
use crate::{Resource, Strategy, Subresource, meta};

const COLUMNS: &[Column] = &[Column::NAME, Column::AGE];

/// The strategy of ResourceClaimTemplates.
pub(super) struct ResourceClaimTemplates;

impl Strategy for ResourceClaimTemplates {
    fn resource(&self) -> &'static Resource {
        crate::resource!("resource.k8s.io", "v1", "resourceclaimtemplates")
    }

    fn default(&self, obj: &mut Value) {
        if let Some(spec) = at_mut(obj, "spec.spec") {
            device_request::default(spec);
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(validate_metadata(obj, &Path::new("spec.metadata")));
        let spec = at(obj, "spec.spec").unwrap_or(&Value::Null);
        errors.extend(device_request::validate_spec(spec, &Path::new("spec.spec")));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(meta::validate_update(new, old));
        if !same_at(new, old, "spec") {
            let spec = internal::bad_value("ResourceClaimTemplateSpec", at(new, "spec"));
            errors.push(field::invalid(&Path::new("spec"), spec, IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

/// A claim takes labels and annotations from its template; the rest of its metadata is its own.
fn validate_metadata(obj: &Value, path: &Path) -> Vec<Error> {
    let Some(metadata) = at(obj, "spec.metadata") else { return Vec::new() };
    let mut errors = validate_annotations(metadata, &path.child("annotations"));
    errors.extend(validate_labels(metadata, "labels", &path.child("labels")));
    let others = map_at(obj, "spec.metadata").into_iter().flatten();
    let others = others
        .filter(|(name, value)| !value.is_null() && !["annotations", "labels"].contains(&name.as_str()));
    errors.extend(others.map(|(name, _)| {
        let printed = if name == "uid" { "uID" } else { name };
        field::forbidden(&path.child(printed), "cannot be set")
    }));
    errors
}
