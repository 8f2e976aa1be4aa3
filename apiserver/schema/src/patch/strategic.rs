//! Strategic merge patch: lists merge by their merge keys, and directives say the rest.
//!
//! The rules per field (strategy, merge key) come from the schema; without a schema for a part, maps merge and lists are
//! replaced.

use super::PatchError;
use super::directives::{
    DELETE_FROM_LIST, PATCH, RETAIN_KEYS, SET_ELEMENT_ORDER, field_of, taken_over, without_directives,
};
use super::go_text::{go_list, go_text};
use super::order::{Places, arrange};
use crate::decode::go_kind;
use crate::decode::json_type;
use crate::node::{PatchStrategy, Schema, Shape};
use crate::{Object, Tree};

type Patched<T> = Result<T, PatchError>;

/// Applies a strategic merge patch to an object of a built-in kind.
pub fn strategic(schema: &Schema, original: &Tree, patch: &Tree) -> Result<Tree, PatchError> {
    let Tree::Object(patch) = patch else {
        let found = json_type(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    };
    let original = original.as_object().cloned().unwrap_or_default();
    merge_object(Some(schema), original, patch.clone()).map(Tree::Object)
}

fn merge_object(schema: Option<&Schema>, mut original: Object, mut patch: Object) -> Patched<Object> {
    if let Some(directive) = patch.get(PATCH) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(PATCH);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(unknown_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_element_orders(schema, &mut original, &mut patch)?;
    for (key, value) in patch {
        let (field, deletes) = match field_of(&key, DELETE_FROM_LIST) {
            Some(field) => (field, true),
            None if key.starts_with(DELETE_FROM_LIST) => {
                return Err(malformed("invalid patch format of primitive list"));
            }
            None => (key.as_str(), false),
        };
        merge_field(schema, &mut original, field, value, deletes)?;
    }
    Ok(original)
}

fn merge_field(
    schema: Option<&Schema>,
    original: &mut Object,
    name: &str,
    patch: Tree,
    deletes: bool,
) -> Patched<()> {
    if patch.is_null() {
        original.remove(name);
        return Ok(());
    }
    let current = original.get_mut(name);
    let merged = match (current.map(Tree::take), patch) {
        (Some(Tree::Object(current)), Tree::Object(patch)) => {
            let (child, strategy) = lookup(schema, name)?;
            if strategy.is_some_and(|strategy| strategy.replace) {
                Some(Tree::Object(patch))
            } else {
                Some(Tree::Object(merge_object(child, current, patch)?))
            }
        }
        (Some(Tree::Array(current)), Tree::Array(patch)) => {
            let (child, strategy) = lookup(schema, name)?;
            Some(Tree::Array(merge_list(child, strategy, current, patch, deletes)?))
        }
        // There is nothing to delete from.
        (current, _) if deletes => current,
        (_, patch) => taken_over(patch),
    };
    match merged {
        Some(merged) => original.insert(name.to_owned(), merged),
        None => original.remove(name),
    };
    Ok(())
}

/// What the schema says about a field: its node and its strategy. Upstream fails on a field that the struct does not have.
fn lookup<'a>(
    schema: Option<&'a Schema>,
    name: &str,
) -> Patched<(Option<&'a Schema>, Option<&'a PatchStrategy>)> {
    match schema.map(|schema| (schema, &schema.shape)) {
        Some((schema, Shape::Struct(inner))) => match inner.field(name) {
            Some(field) => Ok((Some(&*field.child), Some(&field.strategy))),
            None => {
                let text = format!(
                    "unable to find api field in struct {} for the json field {name:?}",
                    schema.go_name()
                );
                Err(PatchError::Broken(text))
            }
        },
        Some((_, Shape::Map(map))) => Ok((Some(&*map.value), None)),
        _ => Ok((None, None)),
    }
}

fn item_schema(list: Option<&Schema>) -> Option<&Schema> {
    match list.map(|list| &list.shape) {
        Some(Shape::List(list)) => Some(&*list.item),
        _ => None,
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Patched<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Tree::Array(keys) = keys else { return Err(malformed("invalid patch format of retainKeys")) };
    let kept = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
    let directive = |key: &str| key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(malformed("invalid patch format of retainKeys"));
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// Merges the lists that the patch gives an order for, and takes both out of the patch.
fn set_element_orders(schema: Option<&Schema>, original: &mut Object, patch: &mut Object) -> Patched<()> {
    let directives: Vec<String> =
        patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = match patch.remove(&directive) {
            Some(Tree::Array(order)) => order,
            other => return Err(bad_argument(other.as_ref())),
        };
        let name = field_of(&directive, SET_ELEMENT_ORDER)
            .ok_or_else(|| malformed("invalid patch format of setElementOrder list"))?;
        set_element_order(schema, original, patch, name, &order)?;
    }
    Ok(())
}

fn set_element_order(
    schema: Option<&Schema>,
    original: &mut Object,
    patch: &mut Object,
    name: &str,
    order: &[Tree],
) -> Patched<()> {
    let live = original.get(name).map(list_of).transpose()?;
    let patched = patch.get(name).map(list_of).transpose()?;
    let (child, strategy) = lookup(schema, name)?;
    let merge_key = strategy.and_then(|strategy| strategy.merge_key.as_deref());
    if let Some(patched) = patched {
        same_order(patched, order, merge_key)?;
    }
    let server = live.cloned().unwrap_or_default();
    let merged = match (live.is_some(), patch.remove(name)) {
        (true, None) => server.clone(),
        (false, Some(patched)) => match without_directives(patched) {
            Some(Tree::Array(items)) => items,
            _ => Vec::new(),
        },
        (true, Some(Tree::Array(patched))) => merge_list(child, strategy, server.clone(), patched, false)?,
        _ => return Ok(()),
    };
    if let Some(key) = merge_key {
        require_keys(&merged, key)?;
    }
    original.insert(name.to_owned(), Tree::Array(arrange(merged, order, &server, merge_key)));
    Ok(())
}

fn list_of(tree: &Tree) -> Patched<&Vec<Tree>> {
    tree.as_array().ok_or_else(|| bad_argument(Some(tree)))
}

/// The items of the patch must appear in the order list, in the same order; deletions do not count.
fn same_order(patch: &[Tree], order: &[Tree], merge_key: Option<&str>) -> Patched<()> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut items = patch.iter().filter(|item| item.get(PATCH).is_none()).peekable();
    for wanted in order {
        let Some(item) = items.peek() else { break };
        if same_item(item, wanted, merge_key)? {
            items.next();
        }
    }
    if items.peek().is_none() {
        return Ok(());
    }
    let (patch, order) = (go_list(patch), go_list(order));
    Err(PatchError::Broken(format!(
        "The order in patch list:\n{patch}\n doesn't match {SET_ELEMENT_ORDER} list:\n{order}\n"
    )))
}

fn same_item(a: &Tree, b: &Tree, merge_key: Option<&str>) -> Patched<bool> {
    let Some(key) = merge_key else { return Ok(a == b) };
    Ok(key_of(a, key)? == key_of(b, key)?)
}

fn key_of<'a>(item: &'a Tree, key: &str) -> Patched<&'a Tree> {
    let Tree::Object(object) = item else { return Err(bad_argument(Some(item))) };
    object.get(key).ok_or_else(|| no_merge_key(item, key))
}

fn require_keys(items: &[Tree], key: &str) -> Patched<()> {
    items.iter().try_for_each(|item| key_of(item, key).map(drop))
}

fn merge_list(
    list: Option<&Schema>,
    strategy: Option<&PatchStrategy>,
    original: Vec<Tree>,
    patch: Vec<Tree>,
    deletes: bool,
) -> Patched<Vec<Tree>> {
    let merges = strategy.is_some_and(|strategy| strategy.merge);
    if !merges && !deletes {
        return Ok(patch);
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !of_objects(&original, &patch)? {
        return Ok(if deletes {
            let gone = Places::of(&patch, None);
            original.into_iter().filter(|item| gone.at(item).is_none()).collect()
        } else {
            merge_scalars(original, patch)
        });
    }
    let Some(merge_key) = strategy.and_then(|strategy| strategy.merge_key.as_deref()) else {
        return Err(PatchError::Broken("cannot merge lists without merge key for struct".to_owned()));
    };
    merge_objects(item_schema(list), original, patch, merge_key)
}

/// Whether the items are objects. All must be of one type.
fn of_objects(original: &[Tree], patch: &[Tree]) -> Patched<bool> {
    let mut types = original.iter().chain(patch).map(go_kind);
    let first = types.next();
    if first == Some("slice") {
        return Err(PatchError::Unprocessable("lists of lists are not supported".to_owned()));
    }
    if types.all(|other| Some(other) == first) {
        return Ok(first == Some("map"));
    }
    let text = format!("list element types are not identical: [{} {}]", go_list(original), go_list(patch));
    Err(PatchError::Broken(text))
}

fn merge_scalars(original: Vec<Tree>, patch: Vec<Tree>) -> Vec<Tree> {
    let mut known = Places::of(&[], None);
    let merged: Vec<Tree> =
        original.iter().chain(&patch).filter(|item| known.put(item, 0)).cloned().collect();
    arrange(merged, &patch, &original, None)
}

fn merge_objects(
    schema: Option<&Schema>,
    original: Vec<Tree>,
    patch: Vec<Tree>,
    merge_key: &str,
) -> Patched<Vec<Tree>> {
    let (original, patch) = list_directives(original, patch, merge_key)?;
    let mut merged = original.clone();
    let mut places = Places::of(&merged, Some(merge_key));
    for item in &patch {
        key_of(item, merge_key)?;
        match places.at(item) {
            Some(at) => {
                let (Tree::Object(current), Tree::Object(patch)) = (merged[at].take(), item.clone()) else {
                    unreachable!("all items are objects")
                };
                merged[at] = Tree::Object(merge_object(schema, current, patch)?);
            }
            None => {
                places.put(item, merged.len());
                merged.push(item.clone());
            }
        }
    }
    require_keys(&merged, merge_key)?;
    Ok(arrange(merged, &patch, &original, Some(merge_key)))
}

/// Carries out the items that are directives: what is left of the original, and the patch without them.
fn list_directives(
    mut original: Vec<Tree>,
    patch: Vec<Tree>,
    merge_key: &str,
) -> Patched<(Vec<Tree>, Vec<Tree>)> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut deleted = Places::of(&[], Some(merge_key));
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(PATCH) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                key_of(&item, merge_key)?;
                deleted.put(&item, 0);
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(PatchError::Broken(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            _ => return Err(unknown_directive(directive, item.as_object().unwrap_or(&Object::new()))),
        }
    }
    original.retain(|item| deleted.at(item).is_none());
    Ok(if replace { (rest, Vec::new()) } else { (original, rest) })
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

fn unknown_directive(directive: &Tree, patch: &Object) -> PatchError {
    let map = go_text(&Tree::Object(patch.clone()));
    PatchError::Broken(format!("unknown patch type: {} in map: {map}", go_text(directive)))
}

fn no_merge_key(item: &Tree, key: &str) -> PatchError {
    PatchError::Broken(format!("map: {} does not contain declared merge key: {key}", go_text(item)))
}

fn bad_argument(found: Option<&Tree>) -> PatchError {
    let found = match found.map(go_kind) {
        None | Some("invalid") => "%!s(<nil>)".to_owned(),
        Some("map") => "map[string]interface {}".to_owned(),
        Some("slice") => "[]interface {}".to_owned(),
        Some(other) => other.to_owned(),
    };
    PatchError::Broken(format!("expected a []interface {{}}, but received a {found}"))
}

#[cfg(test)]
mod tests;
