//! The pod template of a workload: what all of them do with it.

use serde_json::{Value, json};

use super::selector;
use crate::core::pod::validate::{self, Options};
use crate::core::pod::{defaults, features, warnings as pod_warnings};
use crate::field::{self, BadValue, Error, Path};
use crate::names::dns_label;
use crate::tree::{at, at_mut, set_default, str_at};

/// Defaults of the template.
pub(crate) fn default(obj: &mut Value) {
    set_default(obj, "spec.template", json!({}));
    if let Some(template) = at_mut(obj, "spec.template") {
        defaults::template(template);
    }
}

/// Drops what the version does not serve.
pub(crate) fn drop_disabled(obj: &mut Value, old: Option<&Value>) {
    if let Some(template) = at_mut(obj, "spec.template") {
        features::drop_disabled(template, old.and_then(|old| at(old, "spec.template")));
    }
}

/// The waivers for a template that replaces the one in `old`.
pub(crate) fn options(old: Option<&Value>) -> Options {
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
    errors.extend(runs_always(spec, &path, "ReplicaSet"));
    errors
}

/// Everything wrong with a template at `path` whose pods must run until they are deleted; `kind` is the word for the
/// workload.
pub(crate) fn runs_always(spec: &Value, path: &Path, kind: &str) -> Vec<Error> {
    let path = path.child("spec");
    let mut errors = Vec::new();
    let policy = str_at(spec, "template.spec.restartPolicy");
    if policy != "Always" {
        errors.push(field::not_supported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if at(spec, "template.spec.activeDeadlineSeconds").is_some() {
        let text = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(field::forbidden(&path.child("activeDeadlineSeconds"), text));
    }
    errors
}

/// Warnings about a workload whose pods are named after it. On update only when `old` and `new` differ in generation.
pub(crate) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings: Vec<String> =
        if old.is_none() { name_warning(new).into_iter().collect() } else { Vec::new() };
    warnings.extend(content_warnings(new, old));
    warnings
}

/// The warning about a name that pods cannot be called after.
pub(crate) fn name_warning(obj: &Value) -> Option<String> {
    let texts = dns_label(str_at(obj, "metadata.name"));
    (!texts.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            texts.join(" ")
        )
    })
}

/// Warnings about the template. On update only when `old` and `new` differ in generation.
pub(crate) fn content_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| crate::meta::generation(old) == crate::meta::generation(new)) {
        return Vec::new();
    }
    let path = Path::new("spec.template");
    at(new, "spec.template").map_or_else(Vec::new, |template| pod_warnings::template(template, &path))
}
