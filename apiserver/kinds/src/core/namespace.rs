//! Namespaces: the label with their name, the finalizer that keeps them until they are empty, and their phase.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta::{self, validate_label_name, validate_legacy_finalizer};
use crate::names::label_rule;
use crate::tree::{at, carry_over, set, set_default, str_at, strings_at};
use crate::{Resource, Strategy, Subresource};

/// The label every namespace carries.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The finalizer that stands for the namespace's content.
const CONTENT_FINALIZER: &str = "kubernetes";

const COLUMNS: &[Column] = &[Column::NAME, Column::text("Status", "Active or Terminating."), Column::AGE];

/// The strategy of namespaces.
pub(super) struct Namespaces;

impl Strategy for Namespaces {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "namespaces")
    }

    fn default(&self, obj: &mut Value) {
        label(obj);
        if str_at(obj, "status.phase").is_empty() {
            set(obj, "status.phase", "Active");
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        label(obj);
        set(obj, "status", json!({"phase": "Active"}));
        let mut finalizers = strings_at(obj, "spec.finalizers");
        if !finalizers.contains(&CONTENT_FINALIZER) {
            finalizers.push(CONTENT_FINALIZER);
        }
        let finalizers = json!(finalizers);
        set(obj, "spec.finalizers", finalizers);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        match sub {
            Subresource::Status => carry_over(new, old, "spec"),
            Subresource::Finalize => carry_over(new, old, "status"),
            _ => {
                carry_over(new, old, "spec.finalizers");
                carry_over(new, old, "status");
            }
        }
        set_default(new, "spec", json!({}));
        label(new);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, label_rule);
        let path = Path::new("spec.finalizers");
        for finalizer in strings_at(obj, "spec.finalizers") {
            errors.extend(validate_finalizer(finalizer, &path));
        }
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        match sub {
            Subresource::Status => {
                let mut errors = meta::validate_update(new, old);
                errors.extend(validate_phase(new));
                errors
            }
            Subresource::Finalize => {
                let mut errors = meta::validate_update(new, old);
                let path = Path::new("spec.finalizers");
                for (index, finalizer) in strings_at(new, "spec.finalizers").into_iter().enumerate() {
                    errors.extend(validate_finalizer(finalizer, &path.index(index)));
                }
                errors
            }
            _ => {
                let mut errors = self.validate(new);
                errors.extend(meta::validate_update(new, old));
                errors
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(str_at(obj, "status.phase")), columns::age(obj, now)]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", str_at(obj, "status.phase").to_owned())]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

/// A name that is not generated yet cannot be a label.
fn label(obj: &mut Value) {
    let name = str_at(obj, "metadata.name").to_owned();
    if name.is_empty() {
        return;
    }
    set_default(obj, "metadata.labels", json!({}));
    obj["metadata"]["labels"][NAME_LABEL] = json!(name);
}

fn validate_finalizer(finalizer: &str, path: &Path) -> Vec<Error> {
    let mut errors = validate_label_name(finalizer, path);
    errors.extend(validate_legacy_finalizer(finalizer, path));
    errors
}

fn validate_phase(new: &Value) -> Option<Error> {
    let phase = str_at(new, "status.phase");
    let (expected, text) = if at(new, "metadata.deletionTimestamp").is_none() {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    } else {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    };
    (phase != expected).then(|| field::invalid(&Path::new("status.Phase"), phase, text))
}
