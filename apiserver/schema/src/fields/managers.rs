//! The managers of an object: who set which fields, by which operation.
//!
//! Decides how a plain write is booked. Never asks for the time: the caller says when the write happens.

use std::borrow::Cow;
use std::sync::LazyLock;

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
    let mut bookings = if untouched { stored(live) } else { given_or_stored(given.as_ref(), live) };
    if bookings.is_empty() && old.is_some() {
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
    take_from_all(&mut bookings, &comparison, write);
    give_to_writer(&mut bookings, comparison, write);
    cap(&mut bookings);
    let encoded = encode(bookings);
    if !encoded.is_null() {
        put_managers(new, encoded);
    }
}

/// An entry during a write. Most entries have nothing to do with it: theirs are never made a set of.
struct Booking {
    /// Who; the fields are there once they are needed.
    manager: Manager,
    /// The fields as they are stored, until then.
    stored: Option<Tree>,
}

impl Booking {
    fn is_empty(&self) -> bool {
        match &self.stored {
            Some(tree) => tree.as_object().is_none_or(Object::is_empty),
            None => self.manager.fields.is_empty(),
        }
    }

    fn fields(&mut self) -> &mut Set {
        if let Some(tree) = self.stored.take() {
            // What is stored was encoded here.
            self.manager.fields = Set::from_tree(&tree).unwrap_or_default();
        }
        &mut self.manager.fields
    }

    fn take(&mut self, gone: &Set) {
        if self.stored.as_ref().is_none_or(|tree| gone.meets(tree)) {
            self.fields().subtract(gone);
        }
    }

    fn add(&mut self, fields: Set) {
        self.fields().add(fields);
    }
}

impl From<Manager> for Booking {
    fn from(manager: Manager) -> Self {
        Self { manager, stored: None }
    }
}

/// The entries of a stored object.
fn stored(tree: Option<&Tree>) -> Vec<Booking> {
    let mut bookings: Vec<Booking> = Vec::new();
    for (index, entry) in tree.and_then(Tree::as_array).into_iter().flatten().enumerate() {
        let Ok((manager, fields)) = decode_head(entry, index) else { return Vec::new() };
        let booking = Booking { manager, stored: fields.cloned() };
        match bookings.iter_mut().find(|other| other.manager.is_same(&booking.manager)) {
            Some(other) => *other = booking,
            None => bookings.push(booking),
        }
    }
    bookings
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

/// What a client sent counts, so that it can edit entries. Nothing or garbage leaves the stored ones, so that clients that
/// know nothing of managers do not delete them.
fn given_or_stored(given: Option<&Tree>, live: Option<&Tree>) -> Vec<Booking> {
    let items = given.and_then(Tree::as_array);
    let reset = items.is_some_and(|items| {
        items.is_empty() || (items.len() == 1 && items[0].as_object().is_some_and(Object::is_empty))
    });
    if reset {
        return Vec::new();
    }
    let given = decoded(given);
    if given.is_empty() { stored(live) } else { given.into_iter().map(Booking::from).collect() }
}

fn take_from_all(bookings: &mut Vec<Booking>, comparison: &Comparison, write: &Write<'_>) {
    let mut versions: Vec<(&str, Cow<'_, Comparison>)> = vec![(write.api_version, Cow::Borrowed(comparison))];
    bookings.retain_mut(|booking| {
        let version = &booking.manager.api_version;
        let at = match versions.iter().position(|(known, _)| known == version) {
            Some(at) => at,
            None => match write.others.iter().find(|other| other.api_version == version) {
                Some(other) => {
                    let comparison = compare(other.schema, other.old, other.new).without(write.reset);
                    versions.push((other.api_version, Cow::Owned(comparison)));
                    versions.len() - 1
                }
                // A version that is no longer served owns nothing.
                None => return false,
            },
        };
        let changed = &versions[at].1;
        for gone in [&changed.modified, &changed.added, &changed.removed] {
            booking.take(gone);
        }
        !booking.is_empty()
    });
}

fn give_to_writer(bookings: &mut Vec<Booking>, comparison: Comparison, write: &Write<'_>) {
    let mut fields = comparison.modified;
    fields.add(comparison.added);
    fields.subtract(never_owned());
    if fields.is_empty() {
        return;
    }
    let mut entry = Manager {
        name: if write.manager.is_empty() { "unknown".to_owned() } else { write.manager.to_owned() },
        operation: Operation::Update,
        api_version: write.api_version.to_owned(),
        subresource: write.subresource.to_owned(),
        time: Some(write.time.to_owned()),
        fields: Set::default(),
    };
    match bookings.iter_mut().find(|booking| booking.manager.is_same(&entry)) {
        Some(booking) => {
            booking.add(fields);
            booking.manager.time = entry.time;
        }
        None => {
            entry.fields = fields;
            bookings.push(entry.into());
        }
    }
}

/// Fields that identify the object or belong to the server.
pub(super) fn never_owned() -> &'static Set {
    static SET: LazyLock<Set> = LazyLock::new(|| Set::of_fields(NEVER_OWNED));
    &SET
}

const NEVER_OWNED: &[&[&str]] = &[
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
];

/// Merges the oldest managers of plain writes, version by version, until few enough are left.
///
/// The oldest of a version stays itself until a second one is merged with it; then it becomes the version's bucket, unless
/// an earlier merge has left one.
fn cap(bookings: &mut Vec<Booking>) {
    let is_update = |booking: &Booking| booking.manager.operation == Operation::Update;
    let count = bookings.iter().filter(|booking| is_update(booking)).count();
    let Some(mut excess) = count.checked_sub(UPDATE_MANAGERS_MAX).filter(|excess| *excess > 0) else {
        return;
    };
    let (mut updates, rest): (Vec<Booking>, Vec<Booking>) =
        std::mem::take(bookings).into_iter().partition(is_update);
    updates.sort_by(|a, b| age(&a.manager).cmp(&age(&b.manager)));
    let mut index = 0;
    while excess > 0 && index < updates.len() {
        let version = &updates[index].manager.api_version;
        let is_same_version = |other: &Booking| other.manager.api_version == *version;
        let first = updates[..index].iter().position(is_same_version);
        let bucket = updates.iter().position(|other| is_same_version(other) && is_bucket(&other.manager));
        let Some(first) = first.filter(|_| bucket != Some(index)) else {
            index += 1;
            continue;
        };
        let mut merged = updates.remove(index);
        // A bucket further back has moved up with the removal.
        let bucket = bucket.map_or(first, |bucket| if bucket > index { bucket - 1 } else { bucket });
        let bucket = &mut updates[bucket];
        bucket.manager.name = ANCIENT.to_owned();
        bucket.manager.subresource.clear();
        bucket.add(std::mem::take(merged.fields()));
        bucket.manager.time = merged.manager.time;
        excess -= 1;
    }
    *bookings = rest;
    bookings.append(&mut updates);
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
    let (mut manager, fields) = decode_head(entry, index)?;
    if let Some(fields) = fields {
        manager.fields = Set::from_tree(fields).map_err(|error| format!("error decoding set: {error}"))?;
    }
    Ok(manager)
}

/// An entry without its fields, and these as they stand there.
fn decode_head(entry: &Tree, index: usize) -> Result<(Manager, Option<&Tree>), String> {
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
    let fields = entry.get("fieldsV1").filter(|fields| !fields.is_null());
    let time = entry.get("time").and_then(Tree::as_str).map(str::to_owned);
    let manager = Manager {
        name: text("manager"),
        operation,
        api_version,
        subresource: text("subresource"),
        time,
        fields: Set::default(),
    };
    Ok((manager, fields))
}

/// Writes `managedFields` in upstream's order; `null` when nobody manages anything.
pub fn encode_managers(managers: Vec<Manager>) -> Tree {
    encode(managers.into_iter().map(Booking::from).collect())
}

fn encode(mut bookings: Vec<Booking>) -> Tree {
    bookings.retain(|booking| !booking.is_empty());
    if bookings.is_empty() {
        return Tree::Null;
    }
    bookings.sort_by(|a, b| {
        let (a, b) = (&a.manager, &b.manager);
        a.operation.cmp(&b.operation).then_with(|| age(a).cmp(&age(b)))
    });
    Tree::Array(bookings.into_iter().map(encode_booking).collect())
}

fn encode_booking(booking: Booking) -> Tree {
    let Booking { manager, stored } = booking;
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
    entry.insert("fieldsV1".to_owned(), stored.unwrap_or_else(|| manager.fields.to_tree()));
    Tree::Object(entry)
}

#[cfg(test)]
mod tests;
