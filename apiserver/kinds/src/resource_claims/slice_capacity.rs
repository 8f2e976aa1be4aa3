//! What of a device may be taken in parts: how much there is, and which amounts may be asked for.

use std::cmp::Ordering;

use serde_json::Value;

use super::items;
use crate::field::{self, Error, Path};
use crate::quantity::{Quantity, of};
use crate::tree::{at, list_at};

const OPTIONS_MAX: usize = 10;

/// Everything wrong with a capacity. Only a device that several claims share has a policy for requests.
pub(super) fn validate(capacity: &Value, is_shared: bool, path: &Path) -> Vec<Error> {
    let Some(policy) = at(capacity, "requestPolicy") else { return Vec::new() };
    let path = path.child("requestPolicy");
    if !is_shared {
        return vec![field::forbidden(&path, "allowMultipleAllocations must be true")];
    }
    let whole = quantity(capacity, "value").unwrap_or(Quantity::ZERO);
    let (options, range) = (list_at(policy, "validValues"), at(policy, "validRange"));
    let default = quantity(policy, "default");
    let required = |name: &str| {
        vec![field::required(&path.child("default"), format!("required when {name} is defined"))]
    };
    match (options.is_empty(), range, default) {
        (false, Some(_), _) => {
            let text = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            vec![field::forbidden(&path, text)]
        }
        (false, None, None) => required("validValues"),
        (true, Some(_), None) => required("validRange"),
        (false, None, Some(default)) => {
            validate_options(options, &default, &whole, &path.child("validValues"))
        }
        (true, Some(range), Some(default)) => {
            validate_range(range, &default, &whole, &path.child("validRange"))
        }
        (true, None, _) => Vec::new(),
    }
}

fn quantity(owner: &Value, name: &str) -> Option<Quantity> {
    at(owner, name).map(of)
}

fn is_more(left: &Quantity, right: &Quantity) -> bool {
    left.partial_cmp(right) == Some(Ordering::Greater)
}

fn validate_options(options: &[Value], default: &Quantity, whole: &Quantity, path: &Path) -> Vec<Error> {
    let amounts: Vec<Quantity> = options.iter().map(of).collect();
    let mut errors = Vec::new();
    for (index, pair) in amounts.windows(2).enumerate() {
        if is_more(&pair[0], &pair[1]) {
            let text = "values must be sorted in ascending order";
            errors.push(field::invalid(&path.index(index + 1), pair[1].to_string(), text));
        }
    }
    let rule = |amount: &Quantity, path: &Path| {
        let error = is_more(amount, whole).then(|| {
            let text = format!("option is larger than capacity value: {whole}");
            field::invalid(path, amount.to_string(), text)
        });
        error.into_iter().collect()
    };
    let by_value = |amount: &Quantity| amount.value().to_string();
    errors.extend(items::set(&amounts, OPTIONS_MAX, path, rule, by_value));
    if amounts.len() > OPTIONS_MAX || !amounts.iter().any(|amount| amount == default) {
        let text = "default value is not valid according to the requestPolicy";
        errors.push(field::invalid(path, default.to_string(), text));
    }
    errors
}

fn validate_range(range: &Value, default: &Quantity, whole: &Quantity, path: &Path) -> Vec<Error> {
    let (min_path, max_path) = (path.child("min"), path.child("max"));
    let Some(min) = quantity(range, "min") else {
        return vec![field::required(&min_path, "required when validRange is defined")];
    };
    let max = quantity(range, "max");
    let mut rules = vec![
        (is_more(&min, whole), &min_path, &min, format!("min is larger than capacity value: {whole}")),
        (is_more(&min, default), &min_path, default, format!("default is less than min: {min}")),
    ];
    if let Some(max) = &max {
        rules.extend([
            (is_more(&min, max), &max_path, &min, format!("min is larger than max: {max}")),
            (is_more(max, whole), &max_path, max, format!("max is larger than capacity value: {whole}")),
            (is_more(default, max), &max_path, default, format!("default is more than max: {max}")),
        ]);
    }
    let broken = rules.into_iter().filter(|(is_broken, ..)| *is_broken);
    let mut errors: Vec<Error> =
        broken.map(|(_, path, value, text)| field::invalid(path, value.to_string(), text)).collect();
    if let Some(step) = quantity(range, "step") {
        errors.extend(validate_step(&step, &min, [Some(default), max.as_ref()], whole, &path.child("step")));
    }
    errors
}

fn validate_step(
    step: &Quantity,
    min: &Quantity,
    fitting: [Option<&Quantity>; 2],
    whole: &Quantity,
    path: &Path,
) -> Vec<Error> {
    let next = min.plus(step);
    let mut errors = Vec::new();
    if is_more(&next, whole) {
        let text = format!("one step {next} is larger than capacity value: {whole}");
        errors.push(field::invalid(path, step.to_string(), text));
    }
    for value in fitting.into_iter().flatten() {
        let distance = value.value().saturating_sub(min.value());
        // A step of nothing fits nowhere; upstream would fail to divide by it.
        if distance.checked_rem(step.value()) != Some(0) {
            let text = format!("value is not a multiple of a given step ({step}) from ({min})");
            errors.push(field::invalid(path, value.to_string(), text));
        }
    }
    errors
}
