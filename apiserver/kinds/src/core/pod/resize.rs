//! What the `resize` subresource may change: processor and memory of running containers and of the pod.

use serde_json::{Map, Value};

use super::containers::is_sidecar;
use super::qos;
use super::validate::{self, Options, annotations, whole};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::tree::{at, carry_over, list_at, list_at_mut, map_at, remove, same, set, str_at};

/// Keeps of `new` only what a resize is about; the rest comes from `old`. A change of the containers themselves is left for
/// validation to refuse.
pub(super) fn keep_resources(new: &mut Value, old: &Value) {
    let lists = ["spec.containers", "spec.initContainers"];
    if lists.iter().any(|list| list_at(new, list).len() != list_at(old, list).len()) {
        return;
    }
    let kept = lists.map(|list| merged(list_at(new, list), list_at(old, list)));
    let pod_level = at(new, "spec.resources").cloned();
    carry_over(new, old, "spec");
    carry_over(new, old, "status");
    super::reset_metadata(new, old);
    for (list, containers) in lists.into_iter().zip(kept) {
        if !containers.is_empty() {
            set(new, list, containers);
        }
    }
    match pod_level {
        Some(resources) => set(new, "spec.resources", resources),
        None => drop(remove(new, "spec.resources")),
    }
}

fn merged(new: &[Value], old: &[Value]) -> Vec<Value> {
    let renamed = new.iter().zip(old).any(|(new, old)| str_at(new, "name") != str_at(old, "name"));
    if renamed {
        return new.to_vec();
    }
    let merge = |(new, old): (&Value, &Value)| {
        let mut container = old.clone();
        carry_over(&mut container, new, "resources");
        carry_over(&mut container, new, "resizePolicy");
        container
    };
    new.iter().zip(old).map(merge).collect()
}

/// Everything wrong with a resize.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<Error> {
    let options = Options::pod(Some(old));
    let spec_path = Path::new("spec");
    let mut errors = meta::validate_update(new, old);
    errors.extend(validate::metadata_and_spec(new, &options));
    if annotations::annotation(old, annotations::MIRROR).is_some() {
        return vec![field::forbidden(&whole(), "static pods cannot be resized")];
    }
    if str_at(old, "spec.os.name") == "windows" {
        return vec![field::forbidden(&whole(), "windows pods cannot be resized")];
    }
    if qos::class(old) != qos::compute(new) {
        let text = "Pod QOS Class may not change as a result of resizing";
        errors.push(field::invalid(&spec_path, str_at(new, "status.qosClass"), text));
    }
    if !node_can_resize(old) {
        errors.push(field::forbidden(&spec_path, "Pod running on node without support for resize"));
    }
    let mut masked = at(new, "spec").cloned().unwrap_or(Value::Null);
    errors.extend(pod_level(new, old, &mut masked));
    if !list_at(old, "status.nodeAllocatableResourceClaimStatuses").is_empty() {
        errors.push(field::forbidden(
            &spec_path,
            "pods with node allocatable resource claims cannot be resized",
        ));
    }
    let order = container_order(new, old);
    if !order.is_empty() {
        errors.extend(order);
        return errors;
    }
    for list in ["initContainers", "containers"] {
        errors.extend(nothing_removed(new, old, list));
    }
    errors.extend(only_processor_and_memory(&mut masked, old));
    if errors.is_empty() && !same(Some(&masked), at(old, "spec")) {
        errors.push(field::forbidden(&spec_path, "only cpu and memory resources are mutable"));
    }
    errors
}

/// A node that can resize reports the resources of its running containers.
fn node_can_resize(pod: &Value) -> bool {
    list_at(pod, "status.containerStatuses")
        .iter()
        .find(|status| at(status, "state.running").is_some())
        .is_none_or(|status| at(status, "resources").is_some())
}

/// Resources of the pod as a whole; afterwards `masked` has the old processor and memory there.
fn pod_level(new: &Value, old: &Value, masked: &mut Value) -> Vec<Error> {
    let amounts = |pod: &Value| {
        ["spec.resources.requests", "spec.resources.limits"]
            .iter()
            .map(|list| map_at(pod, list).map_or(0, Map::len))
            .sum::<usize>()
    };
    if amounts(new) + amounts(old) == 0 {
        return Vec::new();
    }
    let path = Path::new("spec");
    let of_old = at(old, "spec.resources");
    let resources_path = path.child("resources");
    if of_old.is_some() && at(new, "spec.resources").is_none() {
        return vec![field::forbidden(&resources_path, "pod-level resources cannot be removed")];
    }
    let mut errors = Vec::new();
    for (list, noun) in [("requests", "requests"), ("limits", "limits")] {
        let name = format!("spec.resources.{list}");
        if of_old.is_some() && removed(map_at(new, &name), map_at(old, &name)) {
            let text = format!("pod-level resource {noun} cannot be removed");
            errors.push(field::forbidden(&resources_path.child(list), text));
        }
    }
    mask(masked, "resources", of_old.unwrap_or(&Value::Null));
    if !same(at(masked, "resources"), of_old) {
        let text = "only cpu and memory resources are mutable at pod-level";
        errors.push(field::forbidden(&path, text));
    }
    errors
}

fn container_order(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    for list in ["containers", "initContainers"] {
        let name = format!("spec.{list}");
        let path = Path::new(&name);
        let (new, old) = (list_at(new, &name), list_at(old, &name));
        if new.len() != old.len() {
            errors.push(field::forbidden(&path, format!("{list} may not be added or removed on resize")));
            continue;
        }
        for (index, (new, old)) in new.iter().zip(old).enumerate() {
            if str_at(new, "name") != str_at(old, "name") {
                let text = format!("{list} may not be renamed or reordered on resize");
                errors.push(field::forbidden(&path.index(index).child("name"), text));
            }
        }
    }
    errors
}

fn nothing_removed(new: &Value, old: &Value, list: &str) -> Vec<Error> {
    let name = format!("spec.{list}");
    let path = Path::new(&name);
    let mut errors = Vec::new();
    for (index, (new, old)) in list_at(new, &name).iter().zip(list_at(old, &name)).enumerate() {
        for which in ["requests", "limits"] {
            let field_name = format!("resources.{which}");
            if removed(map_at(new, &field_name), map_at(old, &field_name)) {
                let text = format!("resource {which} cannot be removed");
                errors.push(field::forbidden(&path.index(index).child(&field_name), text));
            }
        }
    }
    errors
}

fn removed(new: Option<&Map<String, Value>>, old: Option<&Map<String, Value>>) -> bool {
    old.is_some_and(|old| old.keys().any(|name| new.is_none_or(|new| !new.contains_key(name))))
}

/// Whatever differs once processor and memory are as they were may not differ.
fn only_processor_and_memory(masked: &mut Value, old: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    let mut errors = Vec::new();
    for (container, old) in list_at_mut(masked, "containers").iter_mut().zip(list_at(old, "spec.containers"))
    {
        mask(container, "resources", at(old, "resources").unwrap_or(&Value::Null));
        if !same(Some(container), Some(old)) {
            errors.push(field::forbidden(&path, "only cpu and memory resources are mutable"));
        }
    }
    let init = list_at_mut(masked, "initContainers").iter_mut().zip(list_at(old, "spec.initContainers"));
    for (index, (container, old)) in init.enumerate() {
        let path = path.child("initContainers").index(index);
        let modified = !same(Some(container), Some(old));
        mask(container, "resources", at(old, "resources").unwrap_or(&Value::Null));
        if !same(Some(container), Some(old)) {
            let text = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(field::forbidden(&path, text));
        }
        if modified && !is_sidecar(container) {
            let restarts = |policy: &&Value| str_at(policy, "restartPolicy") == "RestartContainer";
            for _ in list_at(container, "resizePolicy").iter().filter(restarts) {
                let text =
                    "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                errors.push(field::forbidden(&path, text));
            }
        }
    }
    errors
}

/// Gives processor and memory under `name` the values they have in `old`. Claims do not survive, as upstream has it.
fn mask(owner: &mut Value, name: &str, old: &Value) {
    remove(owner, &format!("{name}.claims"));
    for list in ["limits", "requests"] {
        let mut amounts = map_at(owner, &format!("{name}.{list}")).cloned().unwrap_or_default();
        for resource in ["cpu", "memory"] {
            match map_at(old, list).and_then(|amounts| amounts.get(resource)) {
                Some(amount) => drop(amounts.insert(resource.to_owned(), amount.clone())),
                None => drop(amounts.remove(resource)),
            }
        }
        let path = format!("{name}.{list}");
        if amounts.is_empty() {
            remove(owner, &path);
        } else {
            set(owner, &path, amounts);
        }
    }
}
