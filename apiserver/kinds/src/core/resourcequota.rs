//! ResourceQuotas: how much of something a namespace may use together.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod::defaults::round_quantities;
use super::pod::internal;
use super::pod::resource_math::{is_counted, is_huge_page, resources_at};
use super::pod::validate::resources::{STANDARD, resource_name};
use crate::columns::{self, Column};
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{self, NOT_NEGATIVE};
use crate::names::subdomain_rule;
use crate::quantity::{self, Quantity};
use crate::tree::{at, at_mut, carry_over, list_at, map_at, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource};

/// What a quota can be narrowed to, in the order of names.
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Scopes that exclude each other.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Request", "What is requested and counted, of what may be."),
    Column::text("Limit", "What limits add up to, of what they may."),
    Column::AGE,
];

/// The strategy of ResourceQuotas.
pub(super) struct ResourceQuotas;

impl Strategy for ResourceQuotas {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "resourcequotas")
    }

    fn default(&self, obj: &mut Value) {
        for list in ["spec.hard", "status.hard", "status.used"] {
            if let Some(quantities) = at_mut(obj, list) {
                round_quantities(quantities);
            }
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        carry_over(new, old, if sub == Subresource::Status { "spec" } else { "status" });
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj));
        errors.extend(status_errors(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(status_errors(new));
            return errors;
        }
        errors.extend(spec_errors(new));
        let scopes = |quota| strings_at(quota, "spec.scopes").into_iter().collect::<BTreeSet<_>>();
        if scopes(new) != scopes(old) {
            errors.push(field::invalid(&Path::new("spec.scopes"), at(new, "spec.scopes"), meta::IMMUTABLE));
        }
        errors
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let hard = resources_at(new, "spec.hard");
        let mut warnings = Vec::new();
        for name in ["cpu", "memory", "storage", "ephemeral-storage"] {
            let (requests, limits) = (format!("requests.{name}"), format!("limits.{name}"));
            let short = hard.get_key_value(name).filter(|_| matches!(name, "cpu" | "memory"));
            let request = hard.get_key_value(&requests).or(short);
            if let (Some((name, request)), Some(limit)) = (request, hard.get(&limits))
                && request > limit
            {
                warnings
                    .push(format!("ResourceQuota {name} ({request}) should be less than {limits} ({limit})"));
            }
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let used = resources_at(obj, "status.used");
        let cell = |of_limits: bool| {
            let hard = map_at(obj, "status.hard").into_iter().flatten();
            let shown = hard.filter(|(name, _)| name.starts_with("limits.") == of_limits);
            let texts = shown.map(|(name, hard)| {
                let used = used.get(name).unwrap_or(&Quantity::ZERO);
                format!("{name}: {used}/{}", quantity::of(hard))
            });
            texts.collect::<Vec<_>>().join(", ")
        };
        vec![columns::name(obj), json!(cell(false)), json!(cell(true)), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn spec_errors(obj: &Value) -> Vec<Error> {
    let mut errors = quantities(obj, "spec.hard");
    errors.extend(scopes(obj, &Path::new("spec.scopes")));
    if at(obj, "spec.scopeSelector").is_some() {
        errors.extend(scope_selector(obj, &Path::new("spec.scopeSelector.matchExpressions")));
    }
    errors
}

fn status_errors(obj: &Value) -> Vec<Error> {
    let mut errors = quantities(obj, "status.hard");
    errors.extend(quantities(obj, "status.used"));
    errors
}

fn quantities(obj: &Value, list: &str) -> Vec<Error> {
    let path = Path::new(list);
    let mut errors = Vec::new();
    for (name, amount) in map_at(obj, list).into_iter().flatten() {
        let (path, amount) = (path.key(name), quantity::of(amount));
        errors.extend(resource_name(name, &path));
        if !name.contains('/') && !is_standard(name) {
            errors.push(field::invalid(&path, name, "must be a standard resource for quota"));
        }
        if quantity::is_negative(&amount) {
            errors.push(field::invalid(&path, amount.to_string(), NOT_NEGATIVE));
        }
        if is_counted(name) && !quantity::is_whole(&amount) {
            errors.push(field::invalid(&path, amount.to_string(), "must be an integer"));
        }
    }
    errors
}

/// Whether quotas know the resource without a domain.
fn is_standard(name: &str) -> bool {
    (STANDARD.contains(&name) && name != "storage")
        || is_huge_page(name)
        || name.starts_with("requests.hugepages-")
}

/// Whether a scope narrows this resource. A scope nobody knows is refused elsewhere.
fn fits(scope: &str, resource: &str) -> bool {
    let computed = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"]
        .contains(&resource);
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        scope if SCOPES.contains(&scope) => resource == "pods" || computed,
        _ => true,
    }
}

/// The resources of the quota that a scope does not fit.
fn misfits<'a>(obj: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a String> {
    let hard = map_at(obj, "spec.hard").into_iter().flatten().map(|(name, _)| name);
    hard.filter(move |name| is_standard(name) && !fits(scope, name))
}

fn scopes(obj: &Value, path: &Path) -> Vec<Error> {
    let listed = strings_at(obj, "spec.scopes");
    let invalid = |text: &str| field::invalid(path, at(obj, "spec.scopes"), text);
    let mut errors = Vec::new();
    for scope in &listed {
        if !SCOPES.contains(scope) {
            errors.push(invalid("unsupported scope"));
        }
        errors.extend(misfits(obj, scope).map(|_| invalid("unsupported scope applied to resource")));
    }
    let opposed = OPPOSITES.iter().filter(|pair| pair.iter().all(|scope| listed.contains(scope)));
    errors.extend(opposed.map(|_| invalid("conflicting scopes")));
    errors
}

fn scope_selector(obj: &Value, path: &Path) -> Vec<Error> {
    let requirements = list_at(obj, path.as_str());
    let mut errors = Vec::new();
    for requirement in requirements {
        let scope = str_at(requirement, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.push(field::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        let selector = || internal::bad_value("ScopeSelector", at(obj, "spec.scopeSelector"));
        errors.extend(
            misfits(obj, scope)
                .map(|_| field::invalid(path, selector(), "unsupported scope applied to resource")),
        );
        errors.extend(requirement_errors(requirement, path));
    }
    let names: Vec<&str> = requirements.iter().map(|requirement| str_at(requirement, "scopeName")).collect();
    let opposed = OPPOSITES.iter().filter(|pair| pair.iter().all(|scope| names.contains(scope)));
    errors.extend(opposed.map(|_| field::invalid(path, at(obj, "spec.scopes"), "conflicting scopes")));
    errors
}

fn requirement_errors(requirement: &Value, path: &Path) -> Vec<Error> {
    let (scope, operator) = (str_at(requirement, "scopeName"), str_at(requirement, "operator"));
    let values = strings_at(requirement, "values");
    let mut errors = Vec::new();
    let takes_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if !takes_values && SCOPES.contains(&scope) && operator != "Exists" {
        errors.push(field::invalid(&path.child("operator"), operator, EXISTS_ONLY));
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(field::required(&path.child("values"), text));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(field::invalid(&path.child("values"), BadValue::Json(json!(values)), text));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(field::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    errors
}
