//! The state at one revision: objects by key, and the indexes over them.
//!
//! A view is a handful of persistent trees. Cloning it is a few reference counts, so every reader may
//! keep the one it started with while apply goes on. Only apply and [`View::rewound`] change one.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::hash::StateHash;
use crate::history::{Compacted, History};
use crate::order::{Owned, OwnerQuery, Place, Stored, TagQuery, Tagged};
use crate::types::{Change, ChangeKind, Entry, Key, Revision};

/// The state at one revision. Cheap to clone, never changes under its reader.
///
/// The trees hold nothing but pointers to entries, in different orders: a key or an index value is
/// stored once, in the object itself.
#[derive(Debug, Clone, Default)]
pub struct View {
    revision: Revision,
    /// Resource to its objects in (namespace, name) order; resources without objects are absent.
    tables: OrdMap<Arc<str>, OrdSet<Stored>>,
    /// (namespace, resource) to the number of objects; pairs without objects are absent.
    counts: OrdMap<(Arc<str>, Arc<str>), usize>,
    /// One for each attribute of each object, by (resource, attribute, value, namespace, name).
    attributes: OrdSet<Tagged>,
    /// One for each owner of each object, by (owner, key).
    owners: OrdSet<Owned>,
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
        self.find(&key.resource, &key.namespace, &key.name)
    }

    /// The object at a key that was never made.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        self.tables.get(resource)?.get(&Place { namespace, name }).map(|stored| &stored.0)
    }

    /// The objects of a resource, in one namespace or all, in (namespace, name) order, strictly after a
    /// place if one is given. Where it ends is looked up once: no object is read to find out.
    pub fn list<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let next = namespace.map(|namespace| format!("{namespace}\0"));
        let end = next.as_deref().map(|namespace| Place { namespace, name: "" });
        let start = start_of(namespace, after);
        // A place behind the namespace has nothing after it.
        let is_empty = matches!((start, end), (Bound::Excluded(start), Some(end)) if start >= end);
        let bounds = (start, end.map_or(Bound::Unbounded, Bound::Excluded));
        let table = self.tables.get(resource).filter(|_| !is_empty);
        table.map(|table| table.range(bounds)).into_iter().flatten().map(|stored| &stored.0)
    }

    /// How many objects of a resource there are, in one namespace or all.
    pub fn count(&self, resource: &str, namespace: Option<&str>) -> usize {
        match namespace {
            None => self.tables.get(resource).map_or(0, OrdSet::len),
            Some(namespace) => {
                let place = (namespace.into(), resource.into());
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
        let start: (Arc<str>, Arc<str>) = (namespace.clone(), "".into());
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
        let query = TagQuery { resource, name, value };
        let mut postings = self.attributes.range((Bound::Included(query), Bound::Unbounded));
        let first = postings.next().filter(|first| first.is(&query));
        let rest = postings.take_while(move |posting| first.is_some_and(|first| posting.same_group(first)));
        first.into_iter().chain(rest).map(Tagged::entry)
    }

    /// Everything an owner owns, of any resource, in key order.
    pub fn by_owner<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let query = OwnerQuery { uid };
        let mut postings = self.owners.range((Bound::Included(query), Bound::Unbounded));
        let first = postings.next().filter(|first| first.is(&query));
        let rest = postings.take_while(move |posting| first.is_some_and(|first| posting.same_group(first)));
        first.into_iter().chain(rest).map(Owned::entry)
    }

    /// The resources that have objects.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tables.keys()
    }

    /// Every object, in key order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.tables.values().flatten().map(|stored| &stored.0)
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.tables.values().map(OrdSet::len).sum()
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
        let before = self.tables.entry(key.resource.clone()).or_default().insert(Stored(entry.clone()));
        assert_eq!(before.is_none(), new, "an index disagrees with the table about {key}");
        if new {
            *self.counts.entry((key.namespace.clone(), key.resource.clone())).or_insert(0) += 1;
        }
    }

    fn forget(&mut self, entry: &Arc<Entry>) {
        let key = &entry.object.key;
        let table = self.tables.get_mut(&key.resource).expect("a stored object has a table");
        table.remove(&Place { namespace: &key.namespace, name: &key.name });
        if table.is_empty() {
            self.tables.remove(&key.resource);
        }
        let place = (key.namespace.clone(), key.resource.clone());
        let count = self.counts.get_mut(&place).expect("a stored object is counted");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&place);
        }
    }

    /// Overwrites what an earlier version of the object had in the same places.
    fn index(&mut self, entry: &Arc<Entry>) {
        for posting in Tagged::all(entry) {
            self.attributes.insert(posting);
        }
        for posting in Owned::all(entry) {
            self.owners.insert(posting);
        }
    }

    /// Removes from the indexes what `after` does not overwrite there.
    fn unindex(&mut self, entry: &Arc<Entry>, after: Option<&Arc<Entry>>) {
        for posting in Tagged::all(entry) {
            if after.is_none_or(|after| !after.object.attributes.contains(posting.attribute())) {
                self.attributes.remove(&posting);
            }
        }
        for posting in Owned::all(entry) {
            if after.is_none_or(|after| !after.object.owners.contains(posting.uid())) {
                self.owners.remove(&posting);
            }
        }
    }
}

/// Where a list begins: at its namespace, or after the given place if that lies further on.
fn start_of<'a>(namespace: Option<&'a str>, after: Option<(&'a str, &'a str)>) -> Bound<Place<'a>> {
    let first = namespace.map(|namespace| Place { namespace, name: "" });
    let after = after.map(|(namespace, name)| Place { namespace, name });
    match (first, after) {
        (None, None) => Bound::Unbounded,
        (Some(first), None) => Bound::Included(first),
        (Some(first), Some(after)) if after < first => Bound::Included(first),
        (_, Some(after)) => Bound::Excluded(after),
    }
}
