//! The way from kubectl's client-side apply to this one.
//!
//! kubectl may take over what the annotation says it applied before, without a conflict, and the annotation keeps up with
//! what it applies now, so that both ways can be used in turn. Every other manager is out of this.

use super::super::compare::compare;
use super::super::of;
use super::super::set::Set;
use super::check;
use super::{ApplyError, Conflict};
use crate::node::Schema;
use crate::{Object, Tree};

/// The manager that this is about.
pub(super) const MANAGER: &str = "kubectl";

/// The annotation in which client-side apply keeps its last configuration.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Bytes that all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// `Ok` when every conflict is about a field that client-side apply had applied and nobody has changed since; else the
/// conflicts that are left.
pub(super) fn left_over(
    schema: &Schema,
    live: &Tree,
    api_version: &str,
    conflicts: Vec<Conflict>,
) -> Result<(), ApplyError> {
    let Some(own) = last_applied_fields(schema, live, api_version) else {
        return Err(ApplyError::Conflicts(conflicts));
    };
    let left: Vec<Conflict> =
        conflicts.into_iter().filter(|conflict| !own.contains(&conflict.path)).collect();
    if left.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(left)) }
}

/// What the annotation's configuration sets and the object still has.
fn last_applied_fields(schema: &Schema, live: &Tree, api_version: &str) -> Option<Set> {
    let text = annotation(live)?;
    let last: Tree = serde_json::from_str(text).ok()?;
    if last.get("apiVersion").and_then(Tree::as_str) != Some(api_version) {
        return None;
    }
    check::check(schema, &last).ok()?;
    check::check(schema, live).ok()?;
    let changed = compare(schema, &last, live);
    Some(
        of(schema, &last)
            .difference(&changed.modified)
            .difference(&changed.added)
            .difference(&changed.removed),
    )
}

fn annotation(object: &Tree) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// Brings the annotation, if there is one, up to the configuration just applied.
pub(super) fn follow(object: &mut Tree, config: &Tree) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Tree::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{}\n", super::super::element::json(&config));
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Tree::as_object_mut) else {
        return;
    };
    annotations.insert(ANNOTATION.to_owned(), Tree::String(text));
    if bytes(annotations) > ANNOTATIONS_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn bytes(annotations: &Object) -> usize {
    annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
}
