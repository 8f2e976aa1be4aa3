//! Where a pod may run: node and pod affinity, tolerations, spreading, gates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::selectors::{label_keys, old_label_keys};
use super::{Options, Path, invalid_each, label, positive, qualified};
use crate::field::{self, Error};
use crate::meta::validate_label_name;
use crate::names::{dns_subdomain, label_value};
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, int_at, list_at, str_at, strings_at};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Everything wrong with the affinity.
pub(super) fn affinity(spec: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(affinity) = at(spec, "affinity.nodeAffinity") {
        errors.extend(node_affinity(affinity, options, &path.child("nodeAffinity")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        if let Some(affinity) = at(spec, &format!("affinity.{kind}")) {
            errors.extend(pod_affinity(affinity, options, &path.child(kind)));
        }
    }
    errors
}

fn node_affinity(affinity: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(required) = at(affinity, REQUIRED) {
        errors.extend(node_selector(required, options.any_node_affinity_values, &path.child(REQUIRED)));
    }
    for (index, term) in list_at(affinity, PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        errors.extend(weight(term, &path));
        let preference = at(term, "preference").unwrap_or(&Value::Null);
        errors.extend(node_selector_term(preference, true, &path.child("preference")));
    }
    errors
}

/// Everything wrong with a node selector: at least one term, and nothing wrong with any.
pub(crate) fn node_selector(selector: &Value, any_values: bool, path: &Path) -> Vec<Error> {
    let path = path.child("nodeSelectorTerms");
    let terms = list_at(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        return vec![field::required(&path, "must have at least one node selector term")];
    }
    let term_errors = |(index, term)| node_selector_term(term, any_values, &path.index(index));
    terms.iter().enumerate().flat_map(term_errors).collect()
}

fn node_selector_term(term: &Value, any_values: bool, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, requirement) in list_at(term, "matchExpressions").iter().enumerate() {
        errors.extend(label_requirement(
            requirement,
            any_values,
            &path.child("matchExpressions").index(index),
        ));
    }
    for (index, requirement) in list_at(term, "matchFields").iter().enumerate() {
        errors.extend(field_requirement(requirement, &path.child("matchFields").index(index)));
    }
    errors
}

fn label_requirement(requirement: &Value, any_values: bool, path: &Path) -> Vec<Error> {
    let values = strings_at(requirement, "values");
    let values_path = path.child("values");
    let mut errors = Vec::new();
    match str_at(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors
                .push(field::required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(field::forbidden(&values_path, text));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let text = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(field::required(&values_path, text));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(field::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    errors.extend(validate_label_name(str_at(requirement, "key"), &path.child("key")));
    if !any_values {
        for (index, value) in values.into_iter().enumerate() {
            errors.extend(invalid_each(&values_path.index(index), value, label_value(value)));
        }
    }
    errors
}

/// A requirement on a node's field; only its name can be asked for.
fn field_requirement(requirement: &Value, path: &Path) -> Vec<Error> {
    let values = strings_at(requirement, "values");
    let values_path = path.child("values");
    let mut errors = Vec::new();
    match str_at(requirement, "operator") {
        "In" | "NotIn" if values.len() != 1 => {
            let text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(field::required(&values_path, text));
        }
        "In" | "NotIn" => {}
        other => errors.push(field::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    let key = str_at(requirement, "key");
    if key != "metadata.name" {
        errors.push(field::invalid(&path.child("key"), key, "not a valid field selector key"));
        return errors;
    }
    for (index, value) in values.into_iter().enumerate() {
        errors.extend(invalid_each(&values_path.index(index), value, dns_subdomain(value)));
    }
    errors
}

fn weight(term: &Value, path: &Path) -> Option<Error> {
    let weight = int_at(term, "weight").unwrap_or(0);
    (!(1..=100).contains(&weight))
        .then(|| field::invalid(&path.child("weight"), weight, "must be in the range 1-100"))
}

fn pod_affinity(affinity: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, term) in list_at(affinity, REQUIRED).iter().enumerate() {
        errors.extend(pod_affinity_term(term, options, &path.child(REQUIRED).index(index)));
    }
    for (index, term) in list_at(affinity, PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        errors.extend(weight(term, &path));
        let term = at(term, "podAffinityTerm").unwrap_or(&Value::Null);
        errors.extend(pod_affinity_term(term, options, &path.child("podAffinityTerm")));
    }
    errors
}

fn pod_affinity_term(term: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let leniency = Leniency { any_values: options.any_affinity_values, ..Leniency::default() };
    let mut errors = Vec::new();
    for name in ["labelSelector", "namespaceSelector"] {
        errors.extend(validate_label_selector(term, name, leniency, &path.child(name)));
    }
    for namespace in strings_at(term, "namespaces") {
        errors.extend(label(namespace, &path.child("namespace")));
    }
    errors.extend(label_keys(term, path));
    let key = str_at(term, "topologyKey");
    if key.is_empty() {
        errors.push(field::required(&path.child("topologyKey"), "can not be empty"));
    }
    errors.extend(validate_label_name(key, &path.child("topologyKey")));
    errors
}

/// Everything wrong with tolerations.
pub(crate) fn tolerations(tolerations: &[Value], options: &Options, path: &Path) -> Vec<Error> {
    let toleration_errors = |(index, toleration)| self::toleration(toleration, options, &path.index(index));
    tolerations.iter().enumerate().flat_map(toleration_errors).collect()
}

fn toleration(toleration: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let (key, operator) = (str_at(toleration, "key"), str_at(toleration, "operator"));
    let (value, effect) = (str_at(toleration, "value"), str_at(toleration, "effect"));
    let operator_path = path.child("operator");
    let mut errors = Vec::new();
    if !key.is_empty() {
        errors.extend(validate_label_name(key, &path.child("key")));
    } else if operator != "Exists" {
        let text =
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(field::invalid(&operator_path, operator, text));
    }
    if at(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
        let text = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(field::invalid(&path.child("effect"), effect, text));
    }
    match operator {
        "Equal" | "" => {
            let texts = label_value(value);
            if !texts.is_empty() {
                errors.push(field::invalid(&operator_path, value, texts.join(";")));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.push(field::invalid(
                &operator_path,
                value,
                "value must be empty when `operator` is 'Exists'",
            ));
        }
        "Exists" => {}
        "Lt" | "Gt" if options.comparing_tolerations => errors.extend(number(value, &path.child("value"))),
        "Lt" | "Gt" => {
            errors.push(field::not_supported(&operator_path, operator, &["Equal", "Exists", "Lt", "Gt"]));
        }
        other => errors.push(field::not_supported(&operator_path, other, &["Equal", "Exists"])),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        errors.push(field::not_supported(&path.child("effect"), effect, &effects));
    }
    errors
}

/// A value that is compared must be a number in decimal.
fn number(value: &str, path: &Path) -> Vec<Error> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let canonical = value == "0"
        || (digits.starts_with(|c: char| matches!(c, '1'..='9'))
            && digits.bytes().all(|b| b.is_ascii_digit()));
    let mut errors = Vec::new();
    if !canonical {
        let text = "must be a valid decimal integer in canonical form";
        errors.push(field::invalid(path, value, text));
    }
    if value.parse::<i64>().is_err() {
        let what = if canonical { "value out of range" } else { "invalid syntax" };
        errors.push(field::invalid(
            path,
            value,
            format!("strconv.ParseInt: parsing {}: {what}", field::quote(value)),
        ));
    }
    errors
}

/// Everything wrong with the conditions that a pod waits for to be ready.
pub(super) fn readiness_gates(spec: &Value, path: &Path) -> Vec<Error> {
    let gate_errors =
        |(index, gate)| qualified(str_at(gate, "conditionType"), &path.index(index).child("conditionType"));
    list_at(spec, "readinessGates").iter().enumerate().flat_map(gate_errors).collect()
}

/// Everything wrong with the gates that a pod waits at to be scheduled.
pub(super) fn gates(spec: &Value, path: &Path) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, gate) in list_at(spec, "schedulingGates").iter().enumerate() {
        let name = str_at(gate, "name");
        errors.extend(qualified(name, &path.index(index)));
        if !seen.insert(name) {
            errors.push(field::duplicate(&path.index(index), name));
        }
    }
    errors
}

/// Everything wrong with the constraints that spread pods.
pub(super) fn spread_constraints(spec: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let constraints = list_at(spec, "topologySpreadConstraints");
    let mut errors = Vec::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        errors.extend(spread_topology(constraint, &path));
        errors.extend(spread_repeated(constraint, &constraints[index + 1..], &path));
        errors.extend(spread_policies(constraint, &path));
        errors.extend(if options.old_spread_keys {
            old_label_keys(constraint, &path.child("matchLabelKeys"))
        } else {
            label_keys(constraint, &path)
        });
        if !options.any_spread_selectors {
            let path = path.child("labelSelector");
            errors.extend(validate_label_selector(constraint, "labelSelector", Leniency::default(), &path));
        }
    }
    errors
}

fn spread_topology(constraint: &Value, path: &Path) -> Vec<Error> {
    let action = str_at(constraint, "whenUnsatisfiable");
    let mut errors = Vec::new();
    errors.extend(positive(int_at(constraint, "maxSkew").unwrap_or(0), &path.child("maxSkew")));
    if str_at(constraint, "topologyKey").is_empty() {
        errors.push(field::required(&path.child("topologyKey"), "can not be empty"));
    }
    let actions = ["DoNotSchedule", "ScheduleAnyway"];
    if !actions.contains(&action) {
        errors.push(field::not_supported(&path.child("whenUnsatisfiable"), action, &actions));
    }
    errors
}

/// A later constraint of the same kind: same topology, same action.
fn spread_repeated(constraint: &Value, later: &[Value], path: &Path) -> Option<Error> {
    let kind = |constraint: &Value| {
        (str_at(constraint, "topologyKey").to_owned(), str_at(constraint, "whenUnsatisfiable").to_owned())
    };
    let (key, action) = kind(constraint);
    let repeated = later.iter().any(|other| kind(other) == (key.clone(), action.clone()));
    let path = path.child("{topologyKey, whenUnsatisfiable}");
    repeated.then(|| field::duplicate(&path, format!("{{{key}, {action}}}")))
}

fn spread_policies(constraint: &Value, path: &Path) -> Vec<Error> {
    let action = str_at(constraint, "whenUnsatisfiable");
    let mut errors = Vec::new();
    if let Some(domains) = int_at(constraint, "minDomains") {
        let path = path.child("minDomains");
        errors.extend(positive(domains, &path));
        if action != "DoNotSchedule" {
            let text = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.push(field::invalid(&path, domains, text));
        }
    }
    for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        let policy = at(constraint, name).and_then(Value::as_str);
        if let Some(policy) = policy.filter(|policy| !matches!(*policy, "Honor" | "Ignore")) {
            errors.push(field::not_supported(&path.child(name), policy, &["Honor", "Ignore"]));
        }
    }
    errors
}
