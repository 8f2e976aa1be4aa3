//! LimitRanges: how much one pod, container or claim may ask for, and what it gets when it does not ask.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::pod::defaults::round_quantities;
use super::pod::resource_math::{Resources, may_overcommit, resources_at};
use super::pod::validate::resources::{container_name, resource_name};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::{qualified_name, subdomain_rule};
use crate::quantity::Quantity;
use crate::tree::{at_mut, list_at, list_at_mut, map_at, set, str_at};
use crate::{Resource, Strategy, Subresource};

/// Above this many units upstream compares whole units and not thousandths.
const MILLI_MAX: i64 = i64::MAX / 1000;

/// The strategy of LimitRanges.
pub(super) struct LimitRanges;

impl Strategy for LimitRanges {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "limitranges")
    }

    fn default(&self, obj: &mut Value) {
        for item in list_at_mut(obj, "spec.limits") {
            for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
                if let Some(quantities) = at_mut(item, list) {
                    round_quantities(quantities);
                }
            }
            if str_at(item, "type") == "Container" {
                default_container(item);
            }
        }
    }

    /// A limit range without any name is called by its uid.
    fn prepare_create(&self, obj: &mut Value) {
        if str_at(obj, "metadata.name").is_empty() {
            let uid = str_at(obj, "metadata.uid").to_owned();
            set(obj, "metadata.name", uid);
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        let mut seen = BTreeSet::new();
        for (index, item) in list_at(obj, "spec.limits").iter().enumerate() {
            let path = Path::new("spec.limits").index(index);
            let ty = str_at(item, "type");
            errors.extend(type_errors(ty, &path.child("type")));
            if !seen.insert(ty) {
                errors.push(field::duplicate(&path.child("type"), ty));
            }
            errors.extend(item_errors(item, &path));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, _old: &Value) -> Vec<Error> {
        self.validate(new)
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

/// The default limit is the maximum, the default request the default limit or else the minimum.
fn default_container(item: &mut Value) {
    let entries = |item: &Value, name: &str| map_at(item, name).cloned().unwrap_or_default();
    for (name, source) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        let mut filled: Map<String, Value> = entries(item, name);
        for (resource, amount) in entries(item, source) {
            filled.entry(resource).or_insert(amount);
        }
        if !filled.is_empty() {
            set(item, name, filled);
        }
    }
}

fn type_errors(ty: &str, path: &Path) -> Vec<Error> {
    let errors: Vec<Error> =
        qualified_name(ty).into_iter().map(|text| field::invalid(path, ty, text)).collect();
    let known = ["Pod", "Container", "PersistentVolumeClaim"].contains(&ty);
    if errors.is_empty() && !ty.contains('/') && !known {
        return vec![field::invalid(path, ty, "must be a standard limit type or fully qualified")];
    }
    errors
}

/// The quantities of one item.
struct Item {
    min: Resources,
    max: Resources,
    default: Resources,
    default_request: Resources,
    ratio: Resources,
}

fn item_errors(item: &Value, path: &Path) -> Vec<Error> {
    let of_pod = str_at(item, "type") == "Pod";
    let mut errors = names(item, "max", path);
    errors.extend(names(item, "min", path));
    for name in ["default", "defaultRequest"] {
        if !of_pod {
            errors.extend(names(item, name, path));
        } else if map_at(item, name).is_some_and(|entries| !entries.is_empty()) {
            errors.push(field::forbidden(&path.child(name), "may not be specified when `type` is 'Pod'"));
        }
    }
    let is_bounded = ["min", "max"].iter().any(|name| resources_at(item, name).contains_key("storage"));
    if str_at(item, "type") == "PersistentVolumeClaim" && !is_bounded {
        let text = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(field::required(&path.child("limits"), text));
    }
    errors.extend(names(item, "maxLimitRequestRatio", path));

    let defaults = |name| if of_pod { Resources::new() } else { resources_at(item, name) };
    let item = Item {
        min: resources_at(item, "min"),
        max: resources_at(item, "max"),
        default: defaults("default"),
        default_request: defaults("defaultRequest"),
        ratio: resources_at(item, "maxLimitRequestRatio"),
    };
    let lists = [&item.min, &item.max, &item.default, &item.default_request, &item.ratio];
    let resources: BTreeSet<&String> = lists.into_iter().flat_map(Resources::keys).collect();
    for resource in resources {
        errors.extend(order_errors(&item, resource, path));
        errors.extend(ratio_errors(&item, resource, &path.child("maxLimitRequestRatio").key(resource)));
        errors.extend(overcommit_error(&item, resource, &path.child("defaultRequest").key(resource)));
    }
    errors
}

fn names(item: &Value, list: &str, path: &Path) -> Vec<Error> {
    let of_container = matches!(str_at(item, "type"), "Pod" | "Container");
    let rule = if of_container { container_name } else { resource_name };
    let names = map_at(item, list).into_iter().flatten().map(|(name, _)| name);
    names.flat_map(|name| rule(name, &path.child(list).key(name))).collect()
}

/// Minimum, default request, default limit and maximum must stand in this order.
fn order_errors(item: &Item, resource: &str, path: &Path) -> Vec<Error> {
    let of = |list: &Resources| list.get(resource).cloned();
    let (min, max) = (of(&item.min), of(&item.max));
    let (default, request) = (of(&item.default), of(&item.default_request));
    let at = |name: &str| path.child(name).key(resource);
    // The lesser, the greater, which of them is shown, and where.
    let min_default = ("min value", "default value");
    let pairs = [
        (&min, &max, ("min value", "max value"), &min, at("min")),
        (&min, &request, ("min value", "default request value"), &request, at("defaultRequest")),
        (&request, &max, ("default request value", "max value"), &request, at("defaultRequest")),
        (
            &request,
            &default,
            ("default request value", "default limit value"),
            &request,
            at("defaultRequest"),
        ),
        (&min, &default, min_default, &min, at("default")),
        (&default, &max, ("default value", "max value"), &max, at("default")),
    ];
    let mut errors = Vec::new();
    for (lesser, greater, (lesser_name, greater_name), shown, path) in pairs {
        if let (Some(lesser), Some(greater), Some(shown)) = (lesser, greater, shown)
            && lesser > greater
        {
            let text = format!("{lesser_name} {lesser} is greater than {greater_name} {greater}");
            errors.push(field::invalid(&path, shown.to_string(), text));
        }
    }
    errors
}

fn ratio_errors(item: &Item, resource: &str, path: &Path) -> Vec<Error> {
    let Some(ratio) = item.ratio.get(resource) else { return Vec::new() };
    let mut errors = Vec::new();
    if ratio.milli_value() < 1000 {
        errors.push(field::invalid(path, ratio.to_string(), format!("ratio {ratio} is less than 1")));
    }
    if let (Some(min), Some(max)) = (item.min.get(resource), item.max.get(resource)) {
        let fine = [ratio, min, max].iter().all(|quantity| quantity.value() < MILLI_MAX);
        let units = |quantity: &Quantity| {
            if fine { quantity.milli_value() as f64 / 1000.0 } else { quantity.value() as f64 }
        };
        let most = units(max) / units(min);
        if units(ratio) > most {
            let text = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(field::invalid(path, ratio.to_string(), text));
        }
    }
    errors
}

/// What cannot be overcommitted is limited to what is requested.
fn overcommit_error(item: &Item, resource: &str, path: &Path) -> Option<Error> {
    let (default, request) = (item.default.get(resource)?, item.default_request.get(resource)?);
    let text = format!("default value {default} must equal to defaultRequest value {request} in {resource}");
    (!may_overcommit(resource) && default != request).then(|| field::invalid(path, request.to_string(), text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `TYPE JSON | DEFAULT REQUEST`: what a range of one item defaults to.
    fn check(item: Value, default: Value, request: Value) {
        let mut range = json!({"spec": {"limits": [item]}});
        LimitRanges.default(&mut range);
        let item = &range["spec"]["limits"][0];
        assert_eq!((&item["default"], &item["defaultRequest"]), (&default, &request), "{item}");
    }

    #[test]
    fn defaults_follow_the_bounds() {
        let cpu = |amount: &str| json!({"cpu": amount});
        check(json!({"type": "Container", "max": cpu("2")}), cpu("2"), cpu("2"));
        check(json!({"type": "Container", "max": cpu("2"), "default": cpu("1")}), cpu("1"), cpu("1"));
        check(json!({"type": "Container", "min": cpu("1")}), Value::Null, cpu("1"));
        check(json!({"type": "Pod", "max": cpu("2")}), Value::Null, Value::Null);
    }

    #[test]
    fn what_is_not_overcommitted_has_equal_defaults() {
        let range = json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": [
            {"type": "Container", "default": {"example.com/gpu": "2"}, "defaultRequest": {"example.com/gpu": "1"}}]}});
        let errors: Vec<String> = LimitRanges.validate(&range).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                r#"spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in example.com/gpu"#
            ]
        );
    }
}
