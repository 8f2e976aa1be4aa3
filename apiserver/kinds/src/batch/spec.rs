//! What a Job's spec may say, in a Job and in a CronJob's template.

use serde_json::{Value, json};

use super::policies;
use crate::apps::deployment::not_negative;
use crate::apps::{selector, template};
use crate::core::pod::validate::{self, Options};
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::field::{self, BadValue, Error, Path};
use crate::names::{dns_subdomain, pattern};
use crate::selector::{Leniency, has_invalid_value, validate_label_selector};
use crate::tree::{at, at_mut, int_at, list_at_mut, map_at, set, set_default, str_at};

/// Pods that an indexed job may run at once.
const PARALLELISM_MAX: i64 = 100_000;
/// Failed indexes that the status can name.
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Completions up to which all limits of an indexed job are the ones above.
const COMPLETIONS_SOFT: i64 = 100_000;
/// Failed indexes beyond [`COMPLETIONS_SOFT`].
const FAILED_INDEXES_BEYOND: i64 = 10_000;
/// Pods at once beyond [`COMPLETIONS_SOFT`].
const PARALLELISM_BEYOND: i64 = 10_000;
/// Bytes of the name in `managedBy`.
const MANAGED_BY_BYTES_MAX: usize = 63;

/// Rules that a stored job already breaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Waivers {
    pub(super) template: Options,
    /// Its template was made before labels had a domain.
    pub(super) old_labels: bool,
    any_values: bool,
}

impl Waivers {
    /// The waivers of a job that replaces `old`.
    pub(super) fn of(old: &Value) -> Waivers {
        let null = Value::Null;
        let labels = map_at(old, "spec.template.metadata.labels");
        let has = |label: &str| labels.is_some_and(|labels| labels.contains_key(label));
        Waivers {
            template: template::options(Some(old)),
            old_labels: !has("batch.kubernetes.io/job-name") || !has("batch.kubernetes.io/controller-uid"),
            any_values: has_invalid_value(at(old, "spec").unwrap_or(&null), "selector"),
        }
    }
}

/// Defaults inside the spec that hold in CronJobs too.
pub(super) fn default_template(spec: &mut Value) {
    set_default(spec, "template", json!({}));
    if let Some(template) = at_mut(spec, "template") {
        defaults::template(template);
    }
    for rule in list_at_mut(spec, "podFailurePolicy.rules") {
        for condition in list_at_mut(rule, "onPodConditions") {
            if str_at(condition, "status").is_empty() {
                set(condition, "status", "True");
            }
        }
    }
}

/// Everything wrong with the spec of a Job.
pub(super) fn errors(job: &Value, waivers: &Waivers) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(job, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors = content_errors(spec, &path, &waivers.template);
    let leniency = Leniency { any_values: waivers.any_values, ..Leniency::default() };
    if at(spec, "selector").is_none() {
        errors.push(field::required(&path.child("selector"), ""));
    }
    errors.extend(validate_label_selector(spec, "selector", leniency, &path.child("selector")));
    let template = at(spec, "template").unwrap_or(&null);
    if selector::is_usable(spec) && !selector::matches_template(spec, template) {
        let labels = at(template, "metadata.labels").cloned().unwrap_or(Value::Null);
        let path = path.child("template").child("metadata").child("labels");
        let text = "`selector` does not match template `labels`";
        errors.push(field::invalid(&path, BadValue::Json(labels), text));
    }
    errors
}

/// Everything wrong with a spec whose selector is not made yet.
pub(super) fn content_errors(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let mut errors: Vec<Error> = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ]
    .into_iter()
    .filter_map(|name| not_negative(spec, name, path))
    .collect();
    if at(spec, "maxFailedIndexes").is_some() && at(spec, "backoffLimitPerIndex").is_none() {
        let path = path.child("backoffLimitPerIndex");
        errors.push(field::required(&path, "when maxFailedIndexes is specified"));
    }
    errors.extend(managed_by_errors(spec, &path.child("managedBy")));
    errors.extend(mode_errors(spec, path));
    errors.extend(policies::failure_errors(spec, &path.child("podFailurePolicy")));
    errors.extend(policies::success_errors(spec, &path.child("successPolicy")));
    errors.extend(replacement_error(spec, &path.child("podReplacementPolicy")));
    let template_path = path.child("template");
    errors.extend(validate::template(at(spec, "template").unwrap_or(&null), &template_path, options));
    errors.extend(restart_error(spec, &template_path.child("spec").child("restartPolicy")));
    errors
}

fn managed_by_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(name) = at(spec, "managedBy").and_then(Value::as_str) else { return Vec::new() };
    let mut errors = domain_prefixed_errors(name, path);
    if name.len() > MANAGED_BY_BYTES_MAX {
        errors.push(field::too_long(path, MANAGED_BY_BYTES_MAX));
    }
    errors
}

/// What is wrong with a path that must begin with a domain.
fn domain_prefixed_errors(name: &str, path: &Path) -> Vec<Error> {
    const PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let Some((host, rest)) = name.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty())
    else {
        return vec![field::invalid(path, name, "must be a domain-prefixed path (such as \"acme.io/foo\")")];
    };
    let mut errors: Vec<Error> =
        dns_subdomain(host).into_iter().map(|text| field::invalid(path, host, text)).collect();
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !rest.chars().all(fits) {
        errors.push(field::invalid(path, rest, pattern("Invalid path", PATH, &[])));
    }
    errors
}

fn mode_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let mode = at(spec, "completionMode").and_then(Value::as_str);
    let mut errors = Vec::new();
    if let Some(unknown) = mode.filter(|mode| !matches!(*mode, "NonIndexed" | "Indexed")) {
        errors.push(field::not_supported(&path.child("completionMode"), unknown, &["NonIndexed", "Indexed"]));
    }
    match mode {
        Some("Indexed") => errors.extend(indexed_errors(spec, path)),
        None | Some("NonIndexed") => {
            for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(number) = int_at(spec, name) {
                    errors.push(field::invalid(
                        &path.child(name),
                        number,
                        "requires indexed completion mode",
                    ));
                }
            }
        }
        Some(_) => {}
    }
    errors
}

fn indexed_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let (completions, parallelism) = (int_at(spec, "completions"), int_at(spec, "parallelism"));
    let failed = int_at(spec, "maxFailedIndexes");
    let failed_path = path.child("maxFailedIndexes");
    let parallelism_path = path.child("parallelism");
    let mut errors = Vec::new();
    if completions.is_none() {
        errors.push(field::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    if let Some(number) = parallelism.filter(|number| *number > PARALLELISM_MAX) {
        let text = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
        errors.push(field::invalid(&parallelism_path, number, text));
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        errors.push(field::invalid(&failed_path, failed, "must be less than or equal to completions"));
    }
    if let Some(number) = failed.filter(|number| *number > FAILED_INDEXES_MAX) {
        let text = format!("must be less than or equal to {FAILED_INDEXES_MAX}");
        errors.push(field::invalid(&failed_path, number, text));
    }
    if completions.is_none_or(|number| number <= COMPLETIONS_SOFT)
        || at(spec, "backoffLimitPerIndex").is_none()
    {
        return errors;
    }
    let beyond = |limit: i64| {
        format!(
            "must be less than or equal to {limit} when completions are above {COMPLETIONS_SOFT} and used with backoff limit per index"
        )
    };
    if failed.is_none() {
        let text = format!("must be specified when completions is above {COMPLETIONS_SOFT}");
        errors.push(field::required(&failed_path, text));
    }
    if let Some(number) = parallelism.filter(|number| *number > PARALLELISM_BEYOND) {
        errors.push(field::invalid(&parallelism_path, number, beyond(PARALLELISM_BEYOND)));
    }
    if let Some(number) = failed.filter(|number| *number > FAILED_INDEXES_BEYOND) {
        errors.push(field::invalid(&failed_path, number, beyond(FAILED_INDEXES_BEYOND)));
    }
    errors
}

fn replacement_error(spec: &Value, path: &Path) -> Option<Error> {
    let policy = at(spec, "podReplacementPolicy")?.as_str()?;
    let has_failure_policy = at(spec, "podFailurePolicy").is_some();
    let allowed: &[&str] = if has_failure_policy { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    (!allowed.contains(&policy)).then(|| field::not_supported(path, policy, allowed))
}

fn restart_error(spec: &Value, path: &Path) -> Option<Error> {
    match str_at(spec, "template.spec.restartPolicy") {
        "" | "Always" => Some(field::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if at(spec, "podFailurePolicy").is_some() => {
            let text = "only \"Never\" is supported when podFailurePolicy is specified";
            Some(field::invalid(path, "OnFailure", text))
        }
        "OnFailure" | "Never" => None,
        policy => Some(field::not_supported(path, policy, &["OnFailure", "Never"])),
    }
}

/// Warnings about the spec at `path`.
pub(super) fn warnings(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let number = |name: &str| int_at(spec, name).unwrap_or(0);
    if str_at(spec, "completionMode") == "Indexed"
        && number("completions") > COMPLETIONS_SOFT
        && number("parallelism") > PARALLELISM_BEYOND
    {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    if let Some(template) = at(spec, "template") {
        warnings.extend(pod_warnings::template(template, &path.child("template")));
    }
    warnings
}
