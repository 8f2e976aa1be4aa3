//! What a claim asks for: requests for devices, constraints between them, configuration for their drivers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{items, names};
use crate::field::{self, BadValue, Error, Path};
use crate::meta::validate_label_name;
use crate::names::label_value;
use crate::tree::{at, int_at, list_at, list_at_mut, set, str_at, strings_at};

/// Configurations of a claim or a class.
pub(super) const CONFIGS_MAX: usize = 32;
const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const ONE_KIND: &str = "exactly one of `exactly` or `firstAvailable` is required";
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Sets how many devices a request is for, where it does not say.
pub(super) fn default(spec: &mut Value) {
    for request in list_at_mut(spec, "devices.requests") {
        if let Some(exactly) = crate::tree::at_mut(request, "exactly") {
            default_amount(exactly);
        }
        list_at_mut(request, "firstAvailable").iter_mut().for_each(default_amount);
    }
}

fn default_amount(request: &mut Value) {
    if str_at(request, "allocationMode").is_empty() {
        set(request, "allocationMode", "ExactCount");
    }
    if str_at(request, "allocationMode") == "ExactCount" && int_at(request, "count").unwrap_or(0) == 0 {
        set(request, "count", 1);
    }
}

/// Everything wrong with the specification of a claim.
pub(super) fn validate_spec(spec: &Value, path: &Path) -> Vec<Error> {
    let path = path.child("devices");
    let known = Requests::of(spec);
    let requests = list_at(spec, "devices.requests");
    let by_name = |request: &Value| str_at(request, "name").to_owned();
    let mut errors = items::set(requests, REQUESTS_MAX, &path.child("requests"), request, by_name);
    let constraints = list_at(spec, "devices.constraints");
    errors.extend(items::list(
        constraints,
        CONSTRAINTS_MAX,
        &path.child("constraints"),
        |constraint, path| validate_constraint(constraint, &known, path),
    ));
    let configs = list_at(spec, "devices.config");
    errors.extend(items::list(configs, CONFIGS_MAX, &path.child("config"), |config, path| {
        let mut errors = known.references(config, path);
        errors.extend(configuration(config, false, path));
        errors
    }));
    errors
}

/// The names of a claim's requests: `request`, and `request/alternative`.
pub(super) struct Requests(BTreeSet<String>);

impl Requests {
    /// Those of a claim's specification.
    pub(super) fn of(spec: &Value) -> Requests {
        let mut names = BTreeSet::new();
        for request in list_at(spec, "devices.requests") {
            let name = str_at(request, "name");
            let alternatives = list_at(request, "firstAvailable").iter();
            names.extend(alternatives.map(|other| format!("{name}/{}", str_at(other, "name"))));
            names.insert(name.to_owned());
        }
        Requests(names)
    }

    /// Everything wrong with the name of a request.
    pub(super) fn reference(&self, name: &str, path: &Path) -> Vec<Error> {
        let segments: Vec<&str> = name.split('/').collect();
        if segments.len() > 2 {
            return vec![field::invalid(path, name, NO_REQUEST)];
        }
        let mut errors: Vec<Error> =
            segments.into_iter().flat_map(|segment| names::label(segment, path)).collect();
        if !self.0.contains(name) {
            errors.push(field::invalid(path, name, NO_REQUEST));
        }
        errors
    }

    /// Everything wrong with the `requests` of a constraint or a configuration.
    pub(super) fn references(&self, owner: &Value, path: &Path) -> Vec<Error> {
        let listed = strings_at(owner, "requests");
        let rule = |name: &&str, path: &Path| self.reference(name, path);
        items::set(&listed, REQUESTS_MAX, &path.child("requests"), rule, |name| (*name).to_owned())
    }
}

fn request(request: &Value, path: &Path) -> Vec<Error> {
    let alternatives = list_at(request, "firstAvailable");
    let mut errors = names::label(str_at(request, "name"), &path.child("name"));
    match (at(request, "exactly"), alternatives.is_empty()) {
        (None, true) => errors.push(field::required(path, ONE_KIND)),
        (Some(_), false) => {
            let text = format!("{ONE_KIND}, but multiple fields are set");
            errors.push(field::invalid(path, BadValue::Json(Value::Null), text));
        }
        (Some(exactly), true) => errors.extend(wanted(exactly, &path.child("exactly"))),
        (None, false) => {
            let path = path.child("firstAvailable");
            let by_name = |other: &Value| str_at(other, "name").to_owned();
            errors.extend(items::set(alternatives, ALTERNATIVES_MAX, &path, alternative, by_name));
        }
    }
    errors
}

fn alternative(request: &Value, path: &Path) -> Vec<Error> {
    let mut errors = names::label(str_at(request, "name"), &path.child("name"));
    errors.extend(wanted(request, path));
    errors
}

/// What every request says: of which class, which and how many devices.
fn wanted(request: &Value, path: &Path) -> Vec<Error> {
    let (class, class_path) = (str_at(request, "deviceClassName"), path.child("deviceClassName"));
    let mut errors = if class.is_empty() {
        vec![field::required(&class_path, "")]
    } else {
        names::subdomain(class, &class_path)
    };
    errors.extend(selectors(list_at(request, "selectors"), &path.child("selectors")));
    errors.extend(amount(request, path));
    for (index, toleration) in list_at(request, "tolerations").iter().enumerate() {
        errors.extend(validate_toleration(toleration, &path.child("tolerations").index(index)));
    }
    errors
}

fn amount(request: &Value, path: &Path) -> Option<Error> {
    let count = int_at(request, "count").unwrap_or(0);
    match str_at(request, "allocationMode") {
        "All" => (count != 0).then(|| {
            let text = "must not be specified when allocationMode is 'All'";
            field::invalid(&path.child("count"), count, text)
        }),
        "ExactCount" => {
            (count <= 0).then(|| field::invalid(&path.child("count"), count, "must be greater than zero"))
        }
        other => Some(field::not_supported(&path.child("allocationMode"), other, &["All", "ExactCount"])),
    }
}

/// Everything wrong with a list of selectors.
pub(super) fn selectors(selectors: &[Value], path: &Path) -> Vec<Error> {
    items::list(selectors, SELECTORS_MAX, path, |selector, path| {
        let path = path.child("cel");
        let Some(cel) = at(selector, "cel") else { return vec![field::required(&path, "")] };
        let is_long = str_at(cel, "expression").len() > EXPRESSION_BYTES_MAX;
        let error = is_long.then(|| field::too_long(&path.child("expression"), EXPRESSION_BYTES_MAX));
        error.into_iter().collect()
    })
}

fn validate_constraint(constraint: &Value, known: &Requests, path: &Path) -> Vec<Error> {
    let mut errors = known.references(constraint, path);
    let attribute = |name: &str| at(constraint, name).and_then(Value::as_str);
    if let Some(name) = attribute("matchAttribute") {
        errors.extend(names::fully_qualified(name, &path.child("matchAttribute")));
    } else if let Some(name) = attribute("distinctAttribute") {
        errors.extend(names::fully_qualified(name, &path.child("distinctAttribute")));
    } else {
        let text = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        errors.push(field::required(path, text));
    }
    errors
}

/// Everything wrong with a configuration for a driver. A stored one may be longer than a new one.
pub(super) fn configuration(config: &Value, stored: bool, path: &Path) -> Vec<Error> {
    let path = path.child("opaque");
    let Some(opaque) = at(config, "opaque") else { return vec![field::required(&path, "")] };
    let mut errors = names::driver(str_at(opaque, "driver"), &path.child("driver"));
    let max = if stored { usize::MAX } else { PARAMETERS_BYTES_MAX };
    errors.extend(raw_object(opaque.get("parameters"), max, &path.child("parameters")));
    errors
}

/// What is wrong with a value that must be an object and is otherwise its reader's business.
pub(super) fn raw_object(value: Option<&Value>, max: usize, path: &Path) -> Option<Error> {
    match value {
        None | Some(Value::Null) => Some(field::required(path, "")),
        Some(value) if value.to_string().len() > max => Some(field::too_long(path, max)),
        Some(Value::Object(_)) => None,
        Some(_) => Some(field::invalid(path, "<value omitted>", "must be a valid JSON object")),
    }
}

fn value_errors(value: &str, path: &Path) -> Vec<Error> {
    label_value(value).into_iter().map(|text| field::invalid(path, value, text)).collect()
}

fn validate_toleration(toleration: &Value, path: &Path) -> Vec<Error> {
    let part = |name: &str| str_at(toleration, name);
    let mut errors = Vec::new();
    if !part("key").is_empty() {
        errors.extend(validate_label_name(part("key"), &path.child("key")));
    }
    let (value, value_path, operator_path) = (part("value"), path.child("value"), path.child("operator"));
    match part("operator") {
        "Exists" if value.is_empty() => {}
        "Exists" => {
            errors.push(field::invalid(&value_path, value, "must be empty for operator `Exists`"));
        }
        "Equal" => errors.extend(value_errors(value, &value_path)),
        "" => errors.push(field::required(&operator_path, "")),
        other => errors.push(field::not_supported(&operator_path, other, &["Equal", "Exists"])),
    }
    let effect = part("effect");
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.push(field::not_supported(&path.child("effect"), effect, EFFECTS));
    }
    errors
}

/// Everything wrong with a taint of a device.
pub(super) fn validate_taint(taint: &Value, path: &Path) -> Vec<Error> {
    let (value, effect, effect_path) =
        (str_at(taint, "value"), str_at(taint, "effect"), path.child("effect"));
    let mut errors = validate_label_name(str_at(taint, "key"), &path.child("key"));
    if !value.is_empty() {
        errors.extend(value_errors(value, &path.child("value")));
    }
    if effect.is_empty() {
        errors.push(field::required(&effect_path, ""));
    } else if !EFFECTS.contains(&effect) {
        errors.push(field::not_supported(&effect_path, effect, EFFECTS));
    }
    errors
}
