//! What an update of a Job's spec may not change.

use serde_json::Value;

use super::job::has_condition;
use crate::core::pod::internal;
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{self, IMMUTABLE};
use crate::tree::{at, bool_at, carry_over, int_at, list_at, list_at_mut, remove, same, set, str_at};

/// Parts of a template that only say where pods may run, and what they are called.
const DIRECTIVES: [&str; 5] = [
    "spec.nodeSelector",
    "spec.tolerations",
    "spec.schedulingGates",
    "metadata.annotations",
    "metadata.labels",
];

/// Everything wrong with replacing the spec of `old` by that of `new`.
pub(super) fn errors(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors: Vec<Error> = completions_error(new, old).into_iter().collect();
    errors.extend(crate::apps::selector::immutable(new, old));
    errors.extend(template_error(new, old));
    errors.extend(fixed(new, old, "completionMode", None));
    errors.extend(fixed(new, old, "podFailurePolicy", Some("*PodFailurePolicy")));
    errors.extend(fixed(new, old, "backoffLimitPerIndex", None));
    errors.extend(fixed(new, old, "managedBy", None));
    errors.extend(fixed(new, old, "successPolicy", Some("*SuccessPolicy")));
    errors
}

/// What is wrong with a changed field of the spec; `ty` is the type as which a struct is printed.
fn fixed(new: &Value, old: &Value, name: &str, ty: Option<&'static str>) -> Option<Error> {
    let path = format!("spec.{name}");
    let (new, old) = (at(new, &path), at(old, &path));
    let value = || ty.map_or_else(|| BadValue::from(new), |ty| internal::bad_value(ty, new));
    (!same(new, old)).then(|| field::invalid(&Path::new(&path), value(), IMMUTABLE))
}

/// Completions of an indexed job may change together with its parallelism; all others are fixed.
fn completions_error(new: &Value, old: &Value) -> Option<Error> {
    if str_at(new, "spec.completionMode") != "Indexed" {
        return fixed(new, old, "completions", None);
    }
    let completions = int_at(new, "spec.completions")?;
    let is_same = int_at(old, "spec.completions") == Some(completions);
    let in_tandem = int_at(new, "spec.parallelism") == Some(completions);
    (!is_same && !in_tandem).then(|| {
        let text = "can only be modified in tandem with spec.parallelism";
        field::invalid(&Path::new("spec.completions"), completions, text)
    })
}

/// While a job is suspended and has no pods, its pods may be directed elsewhere and get other resources.
fn template_error(new: &Value, old: &Value) -> Option<Error> {
    let null = Value::Null;
    let template = at(new, "spec.template").unwrap_or(&null);
    let mut expected = at(old, "spec.template").cloned().unwrap_or(Value::Null);
    if !is_open(old) {
        let same = same(Some(template), Some(&expected));
        return (!same).then(|| field::invalid(&Path::new("spec.template"), printed(template), IMMUTABLE));
    }
    allow_directives(&mut expected, template);
    allow_resources(&mut expected, template);
    let same = same(at(template, "spec"), at(&expected, "spec"));
    (!same).then(|| {
        let value = internal::bad_value("PodSpec", at(template, "spec"));
        field::invalid(&Path::new("spec.template.spec"), value, IMMUTABLE)
    })
}

fn is_open(job: &Value) -> bool {
    let rests = at(job, "status.startTime").is_none() || has_condition(job, "Suspended");
    bool_at(job, "spec.suspend") == Some(true) && rests && int_at(job, "status.active").unwrap_or(0) == 0
}

fn allow_directives(expected: &mut Value, template: &Value) {
    const AFFINITY: &str = "spec.affinity";
    const NODE_AFFINITY: &str = "spec.affinity.nodeAffinity";
    for path in DIRECTIVES {
        carry_over(expected, template, path);
    }
    match (at(template, AFFINITY).is_some(), at(expected, AFFINITY).is_some()) {
        (false, false) => {}
        (false, true) => {
            remove(expected, NODE_AFFINITY);
        }
        (true, _) => match at(template, NODE_AFFINITY) {
            Some(affinity) => set(expected, NODE_AFFINITY, affinity.clone()),
            None => drop(remove(expected, NODE_AFFINITY)),
        },
    }
}

fn allow_resources(expected: &mut Value, template: &Value) {
    for path in ["spec.containers", "spec.initContainers"] {
        let wanted = list_at(template, path);
        if wanted.len() != list_at(expected, path).len() {
            continue;
        }
        for (container, wanted) in list_at_mut(expected, path).iter_mut().zip(wanted) {
            if str_at(container, "name") == str_at(wanted, "name") {
                carry_over(container, wanted, "resources");
            }
        }
    }
}

/// A template as Go prints it: its metadata's fields are its own.
fn printed(template: &Value) -> BadValue {
    let metadata = meta::print(template);
    let metadata = metadata.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or("");
    let BadValue::Printed(spec) = internal::bad_value("PodSpec", at(template, "spec")) else {
        return BadValue::Omitted;
    };
    let comma = if metadata.is_empty() { "" } else { "," };
    BadValue::Printed(format!("{{{metadata}{comma}\"Spec\":{spec}}}"))
}
