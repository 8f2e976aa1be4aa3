//! Walks over the containers of a pod spec. It decides only the order in which upstream visits them.

use serde_json::Value;

use crate::field::Path;
use crate::tree::{list_at, list_at_mut, str_at};

/// The container lists of a pod spec, in the order in which upstream reports about them.
pub(crate) const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Every container of the spec with its path.
pub(crate) fn all<'a>(spec: &'a Value, spec_path: &'a Path) -> impl Iterator<Item = (Path, &'a Value)> {
    LISTS.into_iter().flat_map(move |list| {
        let path = spec_path.child(list);
        list_at(spec, list).iter().enumerate().map(move |(index, container)| (path.index(index), container))
    })
}

/// Every container of the spec.
pub(crate) fn each(spec: &Value) -> impl Iterator<Item = &Value> {
    LISTS.into_iter().flat_map(move |list| list_at(spec, list))
}

/// Calls `change` on every container of the spec.
pub(crate) fn change_each(spec: &mut Value, mut change: impl FnMut(&mut Value)) {
    for list in LISTS {
        list_at_mut(spec, list).iter_mut().for_each(&mut change);
    }
}

/// Whether an init container keeps running beside the main containers.
pub(crate) fn is_sidecar(container: &Value) -> bool {
    str_at(container, "restartPolicy") == "Always"
}
