//! The pod template of a workload: what all of them do with it.

use serde_json::{Value, json};

use super::selector;
use crate::core::pod::validate::{self, Options};
use crate::core::pod::{defaults, features, warnings as pod_warnings};
use crate::field::{self, BadValue, Error, Path};
use crate::names::dns_label;
use crate::tree::{at, at_mut, set_default, str_at};

/// Defaults of the template.
pub(super) fn default(obj: &mut Value) {
    set_default(obj, "spec.template", json!({}));
    if let Some(template) = at_mut(obj, "spec.template") {
        defaults::template(template);
    }
}

/// Drops what the version does not serve.
pub(super) fn drop_disabled(obj: &mut Value, old: Option<&Value>) {
    if let Some(template) = at_mut(obj, "spec.template") {
        features::drop_disabled(template, old.and_then(|old| at(old, "spec.template")));
    }
}

/// The waivers for a template that replaces the one in `old`.
pub(super) fn options(old: Option<&Value>) -> Options {
    Options::template(old.and_then(|old| at(old, "spec.template")))
}

/// Everything wrong with selector and template of a workload whose pods run until they are deleted. The template is only
/// looked at when the selector can be evaluated.
pub(super) fn selected(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = selector::validate(spec, path);
    if selector::is_usable(spec) {
        errors.extend(always_running(spec, path, options));
    } else {
        let value = selector::printed(at(spec, "selector"));
        errors.push(field::invalid(&path.child("selector"), value, "invalid label selector"));
    }
    errors
}

/// Everything wrong with the template.
fn always_running(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let template = at(spec, "template").unwrap_or(&null);
    let path = path.child("template");
    let mut errors = Vec::new();
    if !selector::selects_all(spec) && !selector::matches_template(spec, template) {
        let labels = at(template, "metadata.labels").cloned().unwrap_or(Value::Null);
        let text = "`selector` does not match template `labels`";
        errors.push(field::invalid(&path.child("metadata").child("labels"), BadValue::Json(labels), text));
    }
    errors.extend(validate::template(template, &path, options));
    let policy = str_at(template, "spec.restartPolicy");
    if policy != "Always" {
        errors.push(field::not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]));
    }
    if at(template, "spec.activeDeadlineSeconds").is_some() {
        let text = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(field::forbidden(&path.child("spec").child("activeDeadlineSeconds"), text));
    }
    errors
}

/// Warnings about a workload whose pods are named after it. On update only when `old` and `new` differ in generation.
pub(super) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| crate::meta::generation(old) == crate::meta::generation(new)) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let texts = dns_label(str_at(new, "metadata.name"));
    if old.is_none() && !texts.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            texts.join(" ")
        ));
    }
    if let Some(template) = at(new, "spec.template") {
        warnings.extend(pod_warnings::template(template, &Path::new("spec.template")));
    }
    warnings
}
