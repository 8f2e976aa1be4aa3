//! Requests and limits of containers and of the pod as a whole.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::options::{Options, is_multiple_of_page};
use super::{Path, Scope, claims};
use crate::core::pod::resource_math::{
    aggregate, is_counted, is_extended, is_huge_page, is_native, is_pod_level, may_overcommit, resources_at,
};
use crate::field::{self, Error};
use crate::meta;
use crate::names::qualified_name;
use crate::quantity::{self, Quantity};
use crate::tree::{at, list_at, str_at};

/// Unprefixed resource names upstream knows, quota's included.
pub(crate) const STANDARD: [&str; 20] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
];

/// Whose resources are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Container,
    Pod,
}

/// Everything wrong with a container's resources.
pub(super) fn container(container: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let resources = at(container, "resources").unwrap_or(&Value::Null);
    requirements(resources, Level::Container, &scope.claims, scope.options, path)
}

/// Everything wrong with the overhead of running the pod, which counts as limits.
pub(super) fn overhead(spec: &Value, options: &Options, path: &Path) -> Vec<Error> {
    let Some(overhead) = at(spec, "overhead") else { return Vec::new() };
    limits(overhead, options, path)
}

/// Everything wrong with the limits of a container that asks for nothing else.
pub(crate) fn limits(limits: &Value, options: &Options, path: &Path) -> Vec<Error> {
    requirements(&json!({"limits": limits}), Level::Container, &BTreeSet::new(), options, path)
}

/// Everything wrong with the resources of the pod as a whole.
pub(super) fn pod_level(scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let Some(resources) = at(scope.spec, "resources") else { return Vec::new() };
    let path = path.child("resources");
    if str_at(scope.spec, "os.name") == "windows" {
        return vec![field::forbidden(&path, "may not be set for a windows pod")];
    }
    let mut errors = Vec::new();
    if at(resources, "claims").is_some() {
        errors.push(field::forbidden(
            &path.child("claims"),
            "claims may not be set for Resources at pod-level",
        ));
    }
    errors.extend(requirements(resources, Level::Pod, &scope.claims, scope.options, &path));
    errors.extend(consistency(scope.spec, &path));
    errors
}

/// The pod must have room for its containers.
fn consistency(spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let requests = resources_at(spec, "resources.requests");
    for (name, sum) in aggregate(spec, "resources.requests") {
        if let Some(request) = requests.get(&name).filter(|request| sum > **request) {
            let text = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(field::invalid(&path.child("requests").key(&name), request.to_string(), text));
        }
    }
    let limits = resources_at(spec, "resources.limits");
    for (name, sum) in aggregate(spec, "resources.limits") {
        if let Some(limit) = limits.get(&name).filter(|limit| is_huge_page(&name) && sum > **limit) {
            let text = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.push(field::invalid(&path.child("limits").key(&name), limit.to_string(), text));
        }
    }
    for (index, container) in list_at(spec, "containers").iter().enumerate() {
        for (name, own) in resources_at(container, "resources.limits") {
            if let Some(limit) = limits.get(&name).filter(|limit| own > **limit) {
                let path = path.child("containers").index(index).key(&name).child("limits");
                let text = format!("must be less than or equal to pod limits of {limit}");
                errors.push(field::invalid(&path, own.to_string(), text));
            }
        }
    }
    errors
}

fn requirements(
    resources: &Value,
    level: Level,
    of_pod: &BTreeSet<&str>,
    options: &Options,
    path: &Path,
) -> Vec<Error> {
    let (limits, requests) = (resources_at(resources, "limits"), resources_at(resources, "requests"));
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let mut errors = Vec::new();
    for (name, limit) in &limits {
        errors.extend(entry(name, limit, level, &limits_path.key(name)));
        errors.extend(huge_page_amount(name, limit, options, &limits_path.key(name)));
    }
    for (name, request) in &requests {
        errors.extend(entry(name, request, level, &requests_path.key(name)));
        match limits.get(name) {
            Some(limit) if request != limit && !may_overcommit(name) => {
                let text = format!("must be equal to {name} limit of {limit}");
                errors.push(field::invalid(&requests_path, request.to_string(), text));
            }
            Some(limit) if request > limit => {
                let text = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(field::invalid(&requests_path, request.to_string(), text));
            }
            None if !may_overcommit(name) => {
                let text = "Limit must be set for non overcommitable resources";
                errors.push(field::required(&limits_path, text));
            }
            _ => {}
        }
        errors.extend(huge_page_amount(name, request, options, &requests_path.key(name)));
    }
    let mut names = limits.keys().chain(requests.keys());
    let has_ordinary = names.clone().any(|name| matches!(name.as_str(), "cpu" | "memory"));
    if !has_ordinary && names.any(|name| is_huge_page(name)) {
        errors.push(field::forbidden(path, "HugePages require cpu or memory"));
    }
    errors.extend(claims::references(list_at(resources, "claims"), of_pod, &path.child("claims")));
    errors
}

/// Name and amount of one resource.
fn entry(name: &str, amount: &Quantity, level: Level, path: &Path) -> Vec<Error> {
    let mut errors = match level {
        Level::Container => container_name(name, path),
        Level::Pod => pod_name(name, path),
    };
    if quantity::is_negative(amount) {
        errors.push(field::invalid(path, amount.to_string(), meta::NOT_NEGATIVE));
    }
    if is_counted(name) && !quantity::is_whole(amount) {
        errors.push(field::invalid(path, amount.to_string(), "must be an integer"));
    }
    errors
}

/// What is wrong with the name of a resource of any kind.
pub(crate) fn resource_name(name: &str, path: &Path) -> Vec<Error> {
    let errors = super::invalid_each(path, name, qualified_name(name));
    if errors.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !is_quota_huge_page(name) {
        return vec![field::invalid(path, name, "must be a standard resource type or fully qualified")];
    }
    errors
}

fn is_quota_huge_page(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// What is wrong with the name of a resource that a container may ask for.
pub(crate) fn container_name(name: &str, path: &Path) -> Vec<Error> {
    let mut errors = resource_name(name, path);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.push(field::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(field::invalid(path, name, "doesn't follow extended resource name standard"));
    }
    errors
}

fn pod_name(name: &str, path: &Path) -> Vec<Error> {
    let mut errors = resource_name(name, path);
    if errors.is_empty() && !is_pod_level(name) {
        errors.push(field::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
    errors
}

fn huge_page_amount(name: &str, amount: &Quantity, options: &Options, path: &Path) -> Option<Error> {
    let bad = is_huge_page(name) && !options.any_huge_pages && !is_multiple_of_page(name, amount);
    bad.then(|| {
        let text = format!("{amount} is not positive integer multiple of {name}");
        field::invalid(path, amount.to_string(), text)
    })
}
