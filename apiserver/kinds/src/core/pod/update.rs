//! What an update of a pod may change: images, a few numbers, more tolerations, fewer gates, new ephemeral containers.

use serde_json::Value;

use super::validate::{self, Options, annotations, scheduling, whole};
use super::{diff, internal};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::inclusive_range;
use crate::tree::{
    at, carry_over, entries_at, int_at, list_at, list_at_mut, remove, same, same_at, set, str_at,
};

/// What the text about a refused update allows.
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const NODE_TERMS: &str = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

/// Everything wrong with replacing the pod `old` by `new`.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<Error> {
    let options = Options::pod(Some(old));
    let mut errors = meta::validate_update(new, old);
    errors.extend(validate::metadata_and_spec(new, &options));
    errors.extend(annotation_changes(new, old, &options));

    let null = Value::Null;
    let (new_spec, old_spec) = (at(new, "spec").unwrap_or(&null), at(old, "spec").unwrap_or(&null));
    for list in ["containers", "initContainers"] {
        let path = Path::new("spec").child(list);
        if list_at(new_spec, list).len() != list_at(old_spec, list).len() {
            errors.push(field::forbidden(&path, "pod updates may not add or remove containers"));
            return errors;
        }
        errors.extend(images(list_at(new_spec, list), &path));
    }
    match deadline(new_spec, old_spec) {
        Deadline::Fine => {}
        Deadline::Gone(error) => errors.push(error),
        Deadline::Wrong(error) => {
            errors.push(error);
            return errors;
        }
    }
    errors.extend(only_more_tolerations(new_spec, old_spec, &options));
    errors.extend(only_fewer_gates(new_spec, old_spec));
    if !same(Some(new_spec), Some(old_spec)) {
        errors.extend(nothing_else(new_spec, old_spec));
    }
    errors
}

/// Annotations that are fixed once the pod exists, and what is wrong with the others.
pub(super) fn annotation_changes(new: &Value, old: &Value, options: &Options) -> Vec<Error> {
    let path = Path::new("metadata.annotations");
    let mut errors = Vec::new();
    for (name, value) in entries_at(old, "metadata.annotations") {
        if annotations::annotation(new, name) == Some(value) {
            continue;
        }
        if name.starts_with(annotations::APP_ARMOR) {
            errors.push(field::forbidden(&path.key(name), "may not remove or update AppArmor annotations"));
        }
        if name == annotations::MIRROR {
            errors.push(field::forbidden(&path.key(name), "may not remove or update mirror pod annotation"));
        }
    }
    for (name, _) in entries_at(new, "metadata.annotations") {
        if annotations::annotation(old, name).is_some() {
            continue;
        }
        if name.starts_with(annotations::APP_ARMOR) {
            errors.push(field::forbidden(&path.key(name), "may not add AppArmor annotations"));
        }
        if name == annotations::MIRROR {
            errors.push(field::forbidden(&path.key(name), "may not add mirror pod annotation"));
        }
    }
    let spec = at(new, "spec").unwrap_or(&Value::Null);
    errors.extend(annotations::validate(new, spec, &path, options));
    errors
}

fn images(containers: &[Value], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let (image, path) = (str_at(container, "image"), path.index(index).child("image"));
        if image.is_empty() {
            errors.push(field::required(&path, ""));
        }
        if image.trim() != image {
            errors.push(field::invalid(&path, image, "must not have leading or trailing whitespace"));
        }
    }
    errors
}

/// How a deadline has changed.
enum Deadline {
    Fine,
    /// It was taken away; the rest is still looked at.
    Gone(Error),
    /// It is out of range or later than before; nothing else is looked at.
    Wrong(Error),
}

fn deadline(new: &Value, old: &Value) -> Deadline {
    let path = Path::new("spec.activeDeadlineSeconds");
    match (int_at(new, "activeDeadlineSeconds"), int_at(old, "activeDeadlineSeconds")) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            Deadline::Wrong(field::invalid(&path, new, inclusive_range(0, i64::from(i32::MAX))))
        }
        (Some(new), Some(old)) if old < new => {
            Deadline::Wrong(field::invalid(&path, new, "must be less than or equal to previous value"))
        }
        (None, Some(_)) => Deadline::Gone(field::invalid(
            &path,
            None,
            "must not update from a positive integer to nil value",
        )),
        _ => Deadline::Fine,
    }
}

fn only_more_tolerations(new: &Value, old: &Value, options: &Options) -> Vec<Error> {
    let path = Path::new("spec.tolerations");
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    let tolerations = list_at(new, "tolerations");
    let kept: Vec<Value> = tolerations.iter().map(without_seconds).collect();
    if list_at(old, "tolerations").iter().any(|old| !kept.contains(&without_seconds(old))) {
        let text = "existing toleration can not be modified except its tolerationSeconds";
        return vec![field::forbidden(&path, text)];
    }
    scheduling::tolerations(tolerations, options, &path)
}

fn only_fewer_gates(new: &Value, old: &Value) -> Vec<Error> {
    let path = Path::new("spec.schedulingGates");
    let names: Vec<&str> = list_at(old, "schedulingGates").iter().map(|gate| str_at(gate, "name")).collect();
    let added = list_at(new, "schedulingGates")
        .iter()
        .enumerate()
        .filter(|(_, gate)| !names.contains(&str_at(gate, "name")));
    added
        .map(|(index, gate)| {
            let text =
                format!("only deletion is allowed, but found new scheduling gate '{}'", str_at(gate, "name"));
            field::forbidden(&path.index(index).child("name"), text)
        })
        .collect()
}

/// Puts everything that may change back to what it was; what then differs may not change.
fn nothing_else(new: &Value, old: &Value) -> Vec<Error> {
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        for (container, old) in list_at_mut(&mut munged, list).iter_mut().zip(list_at(old, list)) {
            set(container, "image", str_at(old, "image"));
        }
    }
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        carry_over(&mut munged, old, name);
    }
    let grace = |spec: &Value| int_at(spec, "terminationGracePeriodSeconds");
    if grace(old).is_some_and(|seconds| seconds < 0) && grace(&munged) == Some(1) {
        carry_over(&mut munged, old, "terminationGracePeriodSeconds");
    }
    let mut errors = Vec::new();
    if !list_at(old, "schedulingGates").is_empty() {
        errors.extend(tighten_while_gated(&mut munged, old));
    }
    if !same(Some(&munged), Some(old)) {
        let diff = diff::unified(&internal::pretty("PodSpec", old), &internal::pretty("PodSpec", &munged));
        let text = format!("pod updates may not change fields other than {UPDATABLE}\n{diff}");
        errors.push(field::forbidden(&Path::new("spec"), text));
    }
    errors
}

/// A pod that waits at a gate may still be told to run on fewer nodes.
fn tighten_while_gated(munged: &mut Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    if !same_at(munged, old, "nodeSelector") {
        let lost = entries_at(old, "nodeSelector")
            .into_iter()
            .any(|entry| !entries_at(munged, "nodeSelector").contains(&entry));
        if lost {
            let text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.push(field::invalid(&Path::new("spec.nodeSelector"), at(munged, "nodeSelector"), text));
        }
        carry_over(munged, old, "nodeSelector");
    }
    if at(munged, "affinity.nodeAffinity") != at(old, "affinity.nodeAffinity") {
        errors.extend(node_affinity_change(munged, old));
        put_back_node_affinity(munged, old);
    }
    errors
}

fn put_back_node_affinity(munged: &mut Value, old: &Value) {
    carry_over(munged, old, "affinity.nodeAffinity");
    let empty = at(munged, "affinity").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty);
    if empty && at(old, "affinity").is_none() {
        remove(munged, "affinity");
    }
}

fn node_affinity_change(new: &Value, old: &Value) -> Vec<Error> {
    let name = format!("affinity.nodeAffinity.{NODE_TERMS}");
    let path = Path::new("spec").child(&name);
    let (new_terms, old_terms) = (list_at(new, &name), list_at(old, &name));
    if !old_terms.is_empty() && new_terms.len() != old_terms.len() {
        let text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let value = internal::bad_value("[]NodeSelectorTerm", at(new, &name));
        return vec![field::invalid(&path, value, text)];
    }
    let changed = old_terms.iter().zip(new_terms).enumerate().filter(|(_, (old, new))| !only_adds(new, old));
    changed
        .map(|(index, (_, new))| {
            let text = "only additions are allowed (no mutations or deletions)";
            field::invalid(&path.index(index), internal::bad_value("NodeSelectorTerm", Some(new)), text)
        })
        .collect()
}

/// Whether a term only has more requirements than before. A term without any matches nothing and stays so.
fn only_adds(new: &Value, old: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    let was_empty = lists.iter().all(|list| list_at(old, list).is_empty());
    if was_empty && lists.iter().any(|list| !list_at(new, list).is_empty()) {
        return false;
    }
    lists.iter().all(|list| list_at(new, list).starts_with(list_at(old, list)))
}

/// Everything wrong with an update of the ephemeral containers.
pub(super) fn ephemeral_containers(new: &Value, old: &Value) -> Vec<Error> {
    let options = Options::pod(Some(old));
    let mut errors = meta::validate_update(new, old);
    errors.extend(validate::metadata_and_spec(new, &options));
    errors.extend(annotation_changes(new, old, &options));
    if annotations::annotation(old, annotations::MIRROR).is_some() {
        return vec![field::forbidden(&whole(), "static pods do not support ephemeral containers")];
    }
    let path = Path::new("spec.ephemeralContainers");
    let containers = list_at(new, "spec.ephemeralContainers");
    for old in list_at(old, "spec.ephemeralContainers") {
        let name = str_at(old, "name");
        let quoted = field::quote(name);
        match containers.iter().rfind(|container| str_at(container, "name") == name) {
            None => {
                let text = format!("existing ephemeral containers {quoted} may not be removed\n");
                errors.push(field::forbidden(&path, text));
            }
            Some(new) if !same(Some(new), Some(old)) => {
                let ty = "EphemeralContainer";
                let diff = diff::unified(&internal::pretty(ty, old), &internal::pretty(ty, new));
                let text = format!("existing ephemeral containers {quoted} may not be changed\n{diff}");
                errors.push(field::forbidden(&path, text));
            }
            Some(_) => {}
        }
    }
    errors
}
