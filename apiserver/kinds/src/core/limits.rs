//! What the LimitRanges of a namespace mean for one pod or claim: defaults, and bounds that must hold.
//!
//! An `Err` is the text of a 403 after `pods "name" is forbidden: `.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod::resource_math::{Resources, aggregate, resources_at};
use crate::quantity::Quantity;
use crate::tree::{at, list_at, list_at_mut, map_at, set, str_at};

/// Tells on a pod what was set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Above this many units upstream compares whole units and not thousandths.
const MILLI_MAX: i64 = i64::MAX / 1000;

/// Gives a pod's containers the defaults they lack. A later range only fills what an earlier one left.
pub fn default_pod(pod: &mut Value, ranges: &[Value]) {
    for range in ranges {
        let (requests, limits) = (defaults(range, "defaultRequest"), defaults(range, "default"));
        let mut set_here: Vec<String> = Vec::new();
        for (list, noun) in [("spec.containers", "container"), ("spec.initContainers", "init container")] {
            for container in list_at_mut(pod, list) {
                let name = str_at(container, "name").to_owned();
                for (which, wanted) in [("request", &requests), ("limit", &limits)] {
                    let filled = fill(container, &format!("resources.{which}s"), wanted);
                    if !filled.is_empty() {
                        set_here.push(format!("{} {which} for {noun} {name}", filled.join(", ")));
                    }
                }
            }
        }
        if !set_here.is_empty() {
            crate::tree::set_default(pod, "metadata.annotations", json!({}));
            pod["metadata"]["annotations"][ANNOTATION] =
                json!(format!("LimitRanger plugin set: {}", set_here.join("; ")));
        }
    }
}

/// The defaults for containers in a range; of several items a later one wins.
fn defaults(range: &Value, list: &str) -> Resources {
    let items = list_at(range, "spec.limits").iter().filter(|item| str_at(item, "type") == "Container");
    items.flat_map(|item| resources_at(item, list)).collect()
}

/// Adds what is missing at a path and returns its names.
fn fill(container: &mut Value, path: &str, wanted: &Resources) -> Vec<String> {
    let mut have = map_at(container, path).cloned().unwrap_or_default();
    let missing: Vec<String> = wanted.keys().filter(|name| !have.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        have.extend(missing.iter().map(|name| (name.clone(), json!(wanted[name].to_string()))));
        set(container, path, have);
    }
    missing
}

/// Whether a pod stays within the ranges; the first range that it leaves is told, with all it breaks of it.
pub fn check_pod(pod: &Value, ranges: &[Value]) -> Result<(), String> {
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    first_failure(ranges, |item, errors| match str_at(item, "type") {
        "Container" => {
            let containers =
                ["containers", "initContainers"].into_iter().flat_map(|list| list_at(spec, list));
            for container in containers {
                let (requests, limits) = (
                    resources_at(container, "resources.requests"),
                    resources_at(container, "resources.limits"),
                );
                bounds(item, &requests, &limits, errors);
            }
        }
        "Pod" => bounds(item, &of_pod(spec, "requests"), &of_pod(spec, "limits"), errors),
        _ => {}
    })
}

/// Whether a claim stays within the ranges.
pub fn check_claim(claim: &Value, ranges: &[Value]) -> Result<(), String> {
    let requests = resources_at(claim, "spec.resources.requests");
    first_failure(ranges, |item, errors| {
        if str_at(item, "type") != "PersistentVolumeClaim" {
            return;
        }
        let kind = str_at(item, "type");
        for (name, enforced) in resources_at(item, "min") {
            errors.extend(at_least(kind, &name, &enforced, requests.get(&name), None));
        }
        for (name, enforced) in resources_at(item, "max") {
            errors.extend(request_at_most(kind, &name, &enforced, requests.get(&name)));
        }
    })
}

fn first_failure(ranges: &[Value], check: impl Fn(&Value, &mut Vec<String>)) -> Result<(), String> {
    for range in ranges {
        let mut errors = Vec::new();
        list_at(range, "spec.limits").iter().for_each(|item| check(item, &mut errors));
        let mut seen = BTreeSet::new();
        errors.retain(|text| seen.insert(text.clone()));
        match errors.as_slice() {
            [] => {}
            [only] => return Err(only.clone()),
            several => return Err(format!("[{}]", several.join(", "))),
        }
    }
    Ok(())
}

/// What the pod needs as a whole: what it says itself of processor and memory, else what its containers need.
fn of_pod(spec: &Value, which: &str) -> Resources {
    let mut total = aggregate(spec, &format!("resources.{which}"));
    let own = resources_at(spec, &format!("resources.{which}"));
    total.extend(own.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")));
    total
}

fn bounds(item: &Value, requests: &Resources, limits: &Resources, errors: &mut Vec<String>) {
    let kind = str_at(item, "type");
    for (name, enforced) in resources_at(item, "min") {
        errors.extend(at_least(kind, &name, &enforced, requests.get(&name), limits.get(&name)));
    }
    for (name, enforced) in resources_at(item, "max") {
        errors.extend(at_most(kind, &name, &enforced, requests.get(&name), limits.get(&name)));
    }
    for (name, enforced) in resources_at(item, "maxLimitRequestRatio") {
        errors.extend(ratio(kind, &name, &enforced, requests.get(&name), limits.get(&name)));
    }
}

/// Amounts in the finest unit that holds them all, absent ones as zero.
fn comparable<const N: usize>(amounts: [Option<&Quantity>; N]) -> [i64; N] {
    let value = |amount: &Quantity| amount.value();
    let whole = amounts.map(|amount| amount.map_or(0, value));
    if whole.iter().all(|value| *value <= MILLI_MAX) {
        amounts.map(|amount| amount.map_or(0, Quantity::milli_value))
    } else {
        whole
    }
}

fn at_least(
    kind: &str,
    name: &str,
    enforced: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let [request_value, limit_value, enforced_value] = comparable([request, limit, Some(enforced)]);
    let rule = format!("minimum {name} usage per {kind} is {enforced}");
    let Some(request) = request else { return Some(format!("{rule}.  No request is specified")) };
    if request_value < enforced_value {
        return Some(format!("{rule}, but request is {request}"));
    }
    limit.filter(|_| limit_value < enforced_value).map(|limit| format!("{rule}, but limit is {limit}"))
}

fn at_most(
    kind: &str,
    name: &str,
    enforced: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let [request_value, limit_value, enforced_value] = comparable([request, limit, Some(enforced)]);
    let rule = format!("maximum {name} usage per {kind} is {enforced}");
    let Some(limit) = limit else { return Some(format!("{rule}.  No limit is specified")) };
    if limit_value > enforced_value {
        return Some(format!("{rule}, but limit is {limit}"));
    }
    request
        .filter(|_| request_value > enforced_value)
        .map(|request| format!("{rule}, but request is {request}"))
}

/// For what has requests only.
fn request_at_most(
    kind: &str,
    name: &str,
    enforced: &Quantity,
    request: Option<&Quantity>,
) -> Option<String> {
    let [request_value, enforced_value] = comparable([request, Some(enforced)]);
    let rule = format!("maximum {name} usage per {kind} is {enforced}");
    match request {
        None => Some(format!("{rule}.  No request is specified")),
        Some(request) => {
            (request_value > enforced_value).then(|| format!("{rule}, but request is {request}"))
        }
    }
}

fn ratio(
    kind: &str,
    name: &str,
    enforced: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let rule = format!("{name} max limit to request ratio per {kind} is {enforced}");
    let [request, limit, _] = comparable([request, limit, Some(enforced)]);
    if request == 0 {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    }
    if limit == 0 {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    }
    let provided = limit as f64 / request as f64;
    let too_large = if enforced.value() <= MILLI_MAX {
        provided * 1000.0 > enforced.milli_value() as f64
    } else {
        provided > enforced.value() as f64
    };
    too_large.then(|| format!("{rule}, but provided ratio is {provided:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(items: Value) -> Value {
        json!({"spec": {"limits": items}})
    }

    fn pod(containers: Value) -> Value {
        json!({"metadata": {}, "spec": {"containers": containers}})
    }

    fn check(items: Value, containers: Value, text: &str) {
        let outcome = check_pod(&pod(containers), &[range(items)]);
        assert_eq!(outcome.err().unwrap_or_default(), text);
    }

    #[test]
    fn what_is_missing_is_filled_in_and_told() {
        let mut pod = pod(json!([{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "1"}}}]));
        let items = json!([{"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}}]);
        default_pod(&mut pod, &[range(items)]);
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu, memory limit for container b"
        );
        assert_eq!(
            pod["spec"]["containers"],
            json!([
                {"name": "a", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "2", "memory": "1Gi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}},
            ])
        );
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        let cpu =
            |amount: &str| json!([{"resources": {"requests": {"cpu": amount}, "limits": {"cpu": amount}}}]);
        let container = |list: &str| json!([{"type": "Container", list: {"cpu": "1"}}]);
        check(container("min"), cpu("1"), "");
        check(container("min"), cpu("900m"), "minimum cpu usage per Container is 1, but request is 900m");
        check(
            container("min"),
            json!([{}]),
            "minimum cpu usage per Container is 1.  No request is specified",
        );
        check(container("max"), cpu("2"), "maximum cpu usage per Container is 1, but limit is 2");
        check(container("max"), json!([{}]), "maximum cpu usage per Container is 1.  No limit is specified");
        let ratio = json!([{"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}}]);
        check(
            ratio.clone(),
            json!([{}]),
            "cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0",
        );
        let uneven = json!([{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}}]);
        check(ratio, uneven, "cpu max limit to request ratio per Pod is 2, but provided ratio is 3.000000");
    }

    #[test]
    fn the_first_range_that_fails_tells_all_it_has_to_say() {
        let first =
            range(json!([{"type": "Container", "max": {"cpu": "1"}}, {"type": "Pod", "max": {"cpu": "1"}}]));
        let second = range(json!([{"type": "Pod", "max": {"memory": "1"}}]));
        let pod = pod(json!([{"resources": {"limits": {"cpu": "2", "memory": "2"}}}]));
        assert_eq!(
            check_pod(&pod, &[first, second]).err().unwrap_or_default(),
            "[maximum cpu usage per Container is 1, but limit is 2, maximum cpu usage per Pod is 1, but limit is 2]"
        );
    }
}
