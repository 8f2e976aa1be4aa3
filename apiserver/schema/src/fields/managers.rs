//! The managers of an object: who set which fields, by which operation.
//!
//! Decides how a plain write is booked. Never asks for the time: the caller says when the write happens.

use super::compare::{Comparison, compare};
use super::set::Set;
use crate::decode;
use crate::node::Schema;
use crate::{Object, Tree};

/// Managers of plain writes an object may have. Beyond this number the oldest are merged into one.
const UPDATE_MANAGERS_MAX: usize = 10;
/// The name under which the oldest managers are merged.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Name.
    pub name: String,
    /// Operation.
    pub operation: Operation,
    /// `group/version` that the paths belong to.
    pub api_version: String,
    /// Subresource that was written, or empty.
    pub subresource: String,
    /// Time of the last change, RFC 3339 in whole seconds; `None` when never noted.
    pub time: Option<String>,
    /// The fields.
    pub fields: Set,
}

impl Manager {
    /// Whether two entries are one manager's. An applier is the same in every version.
    pub fn is_same(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.name == other.name
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

/// A plain write.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The writer's name; empty counts as `unknown`.
    pub manager: &'a str,
    /// `group/version` of the request.
    pub api_version: &'a str,
    /// Subresource written, or empty. A subresource cannot set `managedFields`.
    pub subresource: &'a str,
    /// Now, RFC 3339 in whole seconds.
    pub time: &'a str,
    /// Fields the resource resets in this kind of write (`status` on the main resource): nobody owns them through it.
    pub reset: &'a Set,
    /// The two objects in other versions that entries may be written in.
    pub others: &'a [Version<'a>],
}

/// Both objects of a write, in another version.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// `group/version`.
    pub api_version: &'a str,
    /// The kind in that version.
    pub schema: &'a Schema,
    /// The object before the write.
    pub old: &'a Tree,
    /// The object after the write.
    pub new: &'a Tree,
}

/// Books a plain write: brings `metadata.managedFields` of `new` up to date.
///
/// `old` is the live object, or `None` for a create. Both are conformed and defaulted. Fields that changed become the
/// writer's and nobody else's, fields that are gone are nobody's. An empty list, or a list of one empty entry, in `new`
/// ends the bookkeeping for the object.
pub fn update_managers(schema: &Schema, old: Option<&Tree>, new: &mut Tree, write: &Write<'_>) {
    let given = take_managers(new);
    let live = old.and_then(|old| old.pointer("/metadata/managedFields"));
    let untouched = given.is_none() || !write.subresource.is_empty() || given.as_ref() == live;
    let mut managers = if untouched { decoded(live) } else { given_or_live(given.as_ref(), live) };
    if managers.is_empty() && old.is_some() {
        return;
    }

    let nothing;
    let before = match old {
        Some(old) => old,
        None => {
            nothing = decode::zero(schema);
            &nothing
        }
    };
    let comparison = compare(schema, before, new).without(write.reset);
    if untouched && comparison.is_empty() {
        if let Some(live) = live {
            put_managers(new, live.clone());
        }
        return;
    }
    take_from_others(&mut managers, &comparison, write);
    give_to_writer(&mut managers, &comparison, write);
    cap(&mut managers);
    let encoded = encode_managers(managers);
    if !encoded.is_null() {
        put_managers(new, encoded);
    }
}

pub(super) fn take_managers(object: &mut Tree) -> Option<Tree> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

pub(super) fn put_managers(object: &mut Tree, managers: Tree) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Tree::Object(Object::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("managedFields".to_owned(), managers);
    }
}

/// Garbage counts as nothing.
fn decoded(tree: Option<&Tree>) -> Vec<Manager> {
    tree.and_then(|tree| decode_managers(tree).ok()).unwrap_or_default()
}

/// What a client sent counts, so that it can edit entries. Nothing or garbage leaves the live ones, so that clients that
/// know nothing of managers do not delete them.
fn given_or_live(given: Option<&Tree>, live: Option<&Tree>) -> Vec<Manager> {
    let items = given.and_then(Tree::as_array);
    let reset = items.is_some_and(|items| {
        items.is_empty() || (items.len() == 1 && items[0].as_object().is_some_and(Object::is_empty))
    });
    if reset {
        return Vec::new();
    }
    let given = decoded(given);
    if given.is_empty() { decoded(live) } else { given }
}

fn take_from_others(managers: &mut Vec<Manager>, comparison: &Comparison, write: &Write<'_>) {
    let mut versions: Vec<(&str, Comparison)> = vec![(write.api_version, comparison.clone())];
    managers.retain_mut(|manager| {
        let at = match versions.iter().position(|(version, _)| *version == manager.api_version) {
            Some(at) => at,
            None => match write.others.iter().find(|other| other.api_version == manager.api_version) {
                Some(other) => {
                    let comparison = compare(other.schema, other.old, other.new).without(write.reset);
                    versions.push((other.api_version, comparison));
                    versions.len() - 1
                }
                // A version that is no longer served owns nothing.
                None => return false,
            },
        };
        let changed = &versions[at].1;
        for gone in [&changed.modified, &changed.added, &changed.removed] {
            if !gone.is_empty() {
                manager.fields = manager.fields.difference(gone);
            }
        }
        !manager.fields.is_empty()
    });
}

fn give_to_writer(managers: &mut Vec<Manager>, comparison: &Comparison, write: &Write<'_>) {
    let fields = comparison.modified.union(&comparison.added).difference(&never_owned());
    if fields.is_empty() {
        return;
    }
    let entry = Manager {
        name: if write.manager.is_empty() { "unknown".to_owned() } else { write.manager.to_owned() },
        operation: Operation::Update,
        api_version: write.api_version.to_owned(),
        subresource: write.subresource.to_owned(),
        time: Some(write.time.to_owned()),
        fields,
    };
    match managers.iter_mut().find(|manager| manager.is_same(&entry)) {
        Some(manager) => {
            manager.fields = manager.fields.union(&entry.fields);
            manager.time = entry.time;
        }
        None => managers.push(entry),
    }
}

/// Fields that identify the object or belong to the server.
pub(super) fn never_owned() -> Set {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

/// Merges the oldest managers of plain writes, version by version, until few enough are left.
///
/// The oldest of a version stays itself until a second one is merged with it; then it becomes the version's bucket, unless
/// an earlier merge has left one.
fn cap(managers: &mut Vec<Manager>) {
    let count = managers.iter().filter(|manager| manager.operation == Operation::Update).count();
    let Some(mut excess) = count.checked_sub(UPDATE_MANAGERS_MAX).filter(|excess| *excess > 0) else {
        return;
    };
    let (mut updates, rest): (Vec<Manager>, Vec<Manager>) =
        std::mem::take(managers).into_iter().partition(|manager| manager.operation == Operation::Update);
    updates.sort_by(|a, b| age(a).cmp(&age(b)));
    let mut index = 0;
    while excess > 0 && index < updates.len() {
        let is_same_version = |other: &Manager| other.api_version == updates[index].api_version;
        let first = updates[..index].iter().position(is_same_version);
        let bucket = updates.iter().position(|other| is_same_version(other) && is_bucket(other));
        let Some(first) = first.filter(|_| bucket != Some(index)) else {
            index += 1;
            continue;
        };
        let manager = updates.remove(index);
        // A bucket further back has moved up with the removal.
        let bucket = bucket.map_or(first, |bucket| if bucket > index { bucket - 1 } else { bucket });
        let bucket = &mut updates[bucket];
        bucket.name = ANCIENT.to_owned();
        bucket.subresource.clear();
        bucket.fields = bucket.fields.union(&manager.fields);
        bucket.time = manager.time;
        excess -= 1;
    }
    *managers = rest;
    managers.append(&mut updates);
}

fn age(manager: &Manager) -> (&Option<String>, &str, &str, &str) {
    (&manager.time, &manager.name, &manager.api_version, &manager.subresource)
}

fn is_bucket(manager: &Manager) -> bool {
    manager.name == ANCIENT && manager.subresource.is_empty()
}

/// Reads `managedFields`. The error is the reason upstream gives.
pub fn decode_managers(tree: &Tree) -> Result<Vec<Manager>, String> {
    let mut managers: Vec<Manager> = Vec::new();
    for (index, entry) in tree.as_array().into_iter().flatten().enumerate() {
        let manager = decode_manager(entry, index)?;
        match managers.iter_mut().find(|other| other.is_same(&manager)) {
            Some(other) => *other = manager,
            None => managers.push(manager),
        }
    }
    Ok(managers)
}

fn decode_manager(entry: &Tree, index: usize) -> Result<Manager, String> {
    let text = |name: &str| entry.get(name).and_then(Tree::as_str).unwrap_or("").to_owned();
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType").as_str() {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
        other => {
            return Err(format!(
                "invalid fieldsType {} in managed fields entry {index}",
                crate::go::quote(other)
            ));
        }
    }
    let fields = match entry.get("fieldsV1") {
        None | Some(Tree::Null) => Set::default(),
        Some(fields) => Set::from_tree(fields).map_err(|error| format!("error decoding set: {error}"))?,
    };
    let time = entry.get("time").and_then(Tree::as_str).map(str::to_owned);
    Ok(Manager {
        name: text("manager"),
        operation,
        api_version,
        subresource: text("subresource"),
        time,
        fields,
    })
}

/// Writes `managedFields` in upstream's order; `null` when nobody manages anything.
pub fn encode_managers(mut managers: Vec<Manager>) -> Tree {
    managers.retain(|manager| !manager.fields.is_empty());
    if managers.is_empty() {
        return Tree::Null;
    }
    let key = |manager: &Manager| {
        let Manager { operation, time, name, api_version, subresource, .. } = manager.clone();
        (operation, time, name, api_version, subresource)
    };
    managers.sort_by_cached_key(key);
    Tree::Array(managers.into_iter().map(encode_manager).collect())
}

fn encode_manager(manager: Manager) -> Tree {
    let mut entry = Object::new();
    let mut text = |name: &str, value: String| {
        if !value.is_empty() {
            entry.insert(name.to_owned(), Tree::String(value));
        }
    };
    text("apiVersion", manager.api_version);
    text("fieldsType", "FieldsV1".to_owned());
    text("manager", manager.name);
    text("operation", if manager.operation == Operation::Apply { "Apply" } else { "Update" }.to_owned());
    text("subresource", manager.subresource);
    text("time", manager.time.unwrap_or_default());
    entry.insert("fieldsV1".to_owned(), manager.fields.to_tree());
    Tree::Object(entry)
}

#[cfg(test)]
mod tests;
