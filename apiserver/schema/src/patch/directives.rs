//! The directives of a strategic merge patch, and how they are left out of what is taken over as it is.

use crate::{Object, Tree};

/// Object level: `replace`, `delete`; in a list's item also which item is meant.
pub(super) const PATCH: &str = "$patch";
/// The only keys that stay.
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
/// The order of a list that has merge keys, or of a list of scalars.
pub(super) const SET_ELEMENT_ORDER: &str = "$setElementOrder";
/// Scalars to take out of a list.
pub(super) const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";

/// The list's name in `$directive/list`.
pub(super) fn field_of<'a>(key: &'a str, directive: &str) -> Option<&'a str> {
    key.strip_prefix(directive)?.strip_prefix('/')
}

/// A part of a patch that has no counterpart in the object, ready to be taken over: nulls in objects and everything that
/// carries `$patch` are gone. `None` when it carries the directive itself.
pub(super) fn taken_over(patch: Tree) -> Option<Tree> {
    let mut patch = patch;
    drop_nulls(&mut patch);
    without_directives(patch)
}

fn drop_nulls(tree: &mut Tree) {
    match tree {
        Tree::Object(object) => object.retain(|_, value| {
            drop_nulls(value);
            !value.is_null()
        }),
        Tree::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// As [`taken_over`], but nulls stay.
pub(super) fn without_directives(tree: Tree) -> Option<Tree> {
    match tree {
        Tree::Object(object) if object.contains_key(PATCH) => None,
        Tree::Object(object) => {
            let kept = object.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Tree::Object(kept.collect::<Object>()))
        }
        Tree::Array(items) => Some(Tree::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}
