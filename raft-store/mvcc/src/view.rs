//! The state at one revision: objects by key, and the indexes over them.
//!
//! A view is a handful of persistent trees. Cloning it is a few reference counts, so every reader may
//! keep the one it started with while apply goes on. Only apply and [`View::rewound`] change one.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::hash::StateHash;
use crate::history::{Compacted, History};
use crate::types::{Change, ChangeKind, Entry, Key, Revision};

type Place = (Arc<str>, Arc<str>);

/// Resource, attribute, value.
type IndexKey = (Arc<str>, Arc<str>, Arc<str>);

/// The objects of one resource in (namespace, name) order.
#[derive(Debug, Clone, Default)]
struct Table {
    entries: OrdMap<Place, Arc<Entry>>,
}

/// The state at one revision. Cheap to clone, never changes under its reader.
#[derive(Debug, Clone, Default)]
pub struct View {
    revision: Revision,
    tables: OrdMap<Arc<str>, Table>,
    /// (namespace, resource) to the number of objects; pairs without objects are absent.
    counts: OrdMap<Place, usize>,
    /// To the objects with that value. Nested, so that an index over one value
    /// costs one lookup and its scan touches nothing else.
    attributes: OrdMap<IndexKey, Table>,
    /// Owner's uid to what it owns, in key order.
    owners: OrdMap<Arc<str>, OrdMap<Key, Arc<Entry>>>,
    hash: StateHash,
}

impl View {
    /// The revision this view shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The order-independent hash of every object in it.
    pub fn hash(&self) -> StateHash {
        self.hash
    }

    /// The object at a key.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entry(key).cloned()
    }

    /// The object at a key, borrowed.
    pub fn entry(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.tables.get(&key.resource)?.entries.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// The objects of a resource, in one namespace or all, in (namespace, name) order, strictly after a
    /// place if one is given.
    pub fn list<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        self.tables.get(resource).into_iter().flat_map({
            let wanted = namespace.map(Arc::<str>::from);
            let start = start_of(namespace, after);
            move |table| table.from(start.clone(), wanted.clone())
        })
    }

    /// How many objects of a resource there are, in one namespace or all.
    pub fn count(&self, resource: &str, namespace: Option<&str>) -> usize {
        match namespace {
            None => self.tables.get(resource).map_or(0, |table| table.entries.len()),
            Some(namespace) => {
                let place: Place = (namespace.into(), resource.into());
                self.counts.get(&place).copied().unwrap_or(0)
            }
        }
    }

    /// The resources that have objects in a namespace, with their numbers.
    pub fn resources_in<'a>(
        &'a self,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Arc<str>, usize)> + use<'a> {
        let namespace: Arc<str> = namespace.into();
        let start: Place = (namespace.clone(), "".into());
        self.counts
            .range(start..)
            .take_while(move |((here, _), _)| *here == namespace)
            .map(|((_, resource), count)| (resource, *count))
    }

    /// The objects of a resource whose attribute has a value, in (namespace, name) order.
    pub fn by_attribute<'a>(
        &'a self,
        resource: &str,
        name: &str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let index = (resource.into(), name.into(), value.into());
        self.attributes.get(&index).into_iter().flat_map(|table| table.entries.values())
    }

    /// Everything an owner owns, of any resource, in key order.
    pub fn by_owner<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        self.owners.get(uid).into_iter().flat_map(|owned| owned.values())
    }

    /// The resources that have objects.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tables.keys()
    }

    /// Every object, in key order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.tables.values().flat_map(|table| table.entries.values())
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.tables.values().map(|table| table.entries.len()).sum()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// This view as it was at an earlier revision, undone backwards through the history. A revision
    /// inside a transaction is read as the transaction's last.
    pub fn rewound(&self, history: &History, at: Revision) -> Result<View, Compacted> {
        let wanted = history.visible(at)?;
        let mut view = self.clone();
        for change in history.between(wanted, self.revision).rev() {
            view.undo(change);
        }
        view.revision = wanted;
        Ok(view)
    }

    /// A view that holds exactly these objects: how a snapshot becomes a state again.
    pub(crate) fn restored(revision: Revision, entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        let mut view = Self { revision, ..Self::default() };
        for entry in entries {
            view.replace(None, Some(&entry));
        }
        view
    }

    /// Moves to the revision at which everything applied so far is visible.
    pub(crate) fn advance(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Takes a change into the state.
    pub(crate) fn redo(&mut self, change: &Change) {
        let after = (change.kind != ChangeKind::Deleted).then_some(&change.entry);
        self.replace(change.previous.as_ref(), after);
    }

    fn undo(&mut self, change: &Change) {
        let after = (change.kind != ChangeKind::Deleted).then_some(&change.entry);
        self.replace(after, change.previous.as_ref());
    }

    /// The one place that changes objects and indexes, so that they cannot disagree.
    fn replace(&mut self, before: Option<&Arc<Entry>>, after: Option<&Arc<Entry>>) {
        if let Some(entry) = before {
            self.hash.remove(entry.digest());
            if after.is_none() {
                self.forget(entry);
            }
            self.unindex(entry, after);
        }
        if let Some(entry) = after {
            self.hash.add(entry.digest());
            self.store(entry, before.is_none());
            self.index(entry);
        }
    }

    fn store(&mut self, entry: &Arc<Entry>, new: bool) {
        let key = &entry.object.key;
        let before = self.tables.entry(key.resource.clone()).or_default().put(entry);
        assert_eq!(before, !new, "an index disagrees with the table about {key}");
        if new {
            *self.counts.entry((key.namespace.clone(), key.resource.clone())).or_insert(0) += 1;
        }
    }

    fn forget(&mut self, entry: &Arc<Entry>) {
        let key = &entry.object.key;
        let table = self.tables.get_mut(&key.resource).expect("a stored object has a table");
        if table.take(key) {
            self.tables.remove(&key.resource);
        }
        let place = (key.namespace.clone(), key.resource.clone());
        let count = self.counts.get_mut(&place).expect("a stored object is counted");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&place);
        }
    }

    fn index(&mut self, entry: &Arc<Entry>) {
        let object = &entry.object;
        for (name, value) in &object.attributes {
            let index = (object.key.resource.clone(), name.clone(), value.clone());
            self.attributes.entry(index).or_default().put(entry);
        }
        for owner in &object.owners {
            self.owners.entry(owner.clone()).or_default().insert(object.key.clone(), entry.clone());
        }
    }

    /// Removes from the indexes what `after` does not overwrite there.
    fn unindex(&mut self, entry: &Arc<Entry>, after: Option<&Arc<Entry>>) {
        let object = &entry.object;
        for attribute in &object.attributes {
            if after.is_some_and(|after| after.object.attributes.contains(attribute)) {
                continue;
            }
            let index = (object.key.resource.clone(), attribute.0.clone(), attribute.1.clone());
            if self.attributes.get_mut(&index).is_some_and(|table| table.take(&object.key)) {
                self.attributes.remove(&index);
            }
        }
        for owner in &object.owners {
            if after.is_some_and(|after| after.object.owners.contains(owner)) {
                continue;
            }
            let Some(owned) = self.owners.get_mut(owner) else { continue };
            owned.remove(&object.key);
            if owned.is_empty() {
                self.owners.remove(owner);
            }
        }
    }
}

impl Table {
    /// Returns whether the key was present before.
    fn put(&mut self, entry: &Arc<Entry>) -> bool {
        let key = &entry.object.key;
        self.entries.insert((key.namespace.clone(), key.name.clone()), entry.clone()).is_some()
    }

    /// Returns whether the table is empty now.
    fn take(&mut self, key: &Key) -> bool {
        self.entries.remove(&(key.namespace.clone(), key.name.clone()));
        self.entries.is_empty()
    }

    fn from(&self, start: Bound<Place>, namespace: Option<Arc<str>>) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries
            .range((start, Bound::Unbounded))
            .take_while(move |((here, _), _)| namespace.as_ref().is_none_or(|wanted| here == wanted))
            .map(|(_, entry)| entry)
    }
}

/// Where a list begins: at its namespace, or after the given place if that lies further on.
fn start_of(namespace: Option<&str>, after: Option<(&str, &str)>) -> Bound<Place> {
    let first = namespace.map(|namespace| (namespace, ""));
    match (first, after) {
        (None, None) => Bound::Unbounded,
        (Some((namespace, name)), None) => Bound::Included((namespace.into(), name.into())),
        (Some(first), Some(after)) if after < first => Bound::Included((first.0.into(), first.1.into())),
        (_, Some((namespace, name))) => Bound::Excluded((namespace.into(), name.into())),
    }
}
