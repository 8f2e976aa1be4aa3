//! The orders in which a view's trees hold their entries, and the questions they are searched with.
//!
//! An element is a pointer to an entry; what it is ordered by is read from the object. So an index costs
//! sixteen bytes a posting, whether its values are shared by many objects or by none.

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};

use crate::types::{Entry, Key};

/// An object in its resource's table, by (namespace, name).
#[derive(Debug, Clone)]
pub(crate) struct Stored(pub(crate) Arc<Entry>);

/// A place in a resource's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// One attribute of an object, by (resource, attribute, value, namespace, name).
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    entry: Arc<Entry>,
    /// Position among the object's attributes.
    position: u32,
}

/// The first place of a group of objects with the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TagQuery<'a> {
    pub(crate) resource: &'a str,
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

/// One owner of an object, by (owner, key).
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    entry: Arc<Entry>,
    /// Position among the object's owners.
    position: u32,
}

/// The first place of a group of objects with the same owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwnerQuery<'a> {
    pub(crate) uid: &'a str,
}

impl Stored {
    fn place(&self) -> Place<'_> {
        place(&self.0)
    }
}

impl Tagged {
    pub(crate) fn all(entry: &Arc<Entry>) -> impl Iterator<Item = Self> {
        (0..).zip(&entry.object.attributes).map(|(position, _)| Self { entry: entry.clone(), position })
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    pub(crate) fn attribute(&self) -> &(Arc<str>, Arc<str>) {
        &self.entry.object.attributes[self.position as usize]
    }

    pub(crate) fn is(&self, query: &TagQuery<'_>) -> bool {
        self.group() == *query
    }

    pub(crate) fn same_group(&self, other: &Self) -> bool {
        self.group() == other.group()
    }

    fn group(&self) -> TagQuery<'_> {
        let (name, value) = self.attribute();
        TagQuery { resource: &self.entry.object.key.resource, name, value }
    }
}

impl Owned {
    pub(crate) fn all(entry: &Arc<Entry>) -> impl Iterator<Item = Self> {
        (0..).zip(&entry.object.owners).map(|(position, _)| Self { entry: entry.clone(), position })
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    pub(crate) fn uid(&self) -> &Arc<str> {
        &self.entry.object.owners[self.position as usize]
    }

    pub(crate) fn is(&self, query: &OwnerQuery<'_>) -> bool {
        **self.uid() == *query.uid
    }

    pub(crate) fn same_group(&self, other: &Self) -> bool {
        self.uid() == other.uid()
    }

    fn order(&self) -> (&Arc<str>, &Key) {
        (self.uid(), &self.entry.object.key)
    }
}

fn place(entry: &Entry) -> Place<'_> {
    Place { namespace: &entry.object.key.namespace, name: &entry.object.key.name }
}

impl Ord for Stored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl Ord for Tagged {
    fn cmp(&self, other: &Self) -> Ordering {
        self.group().cmp(&other.group()).then_with(|| place(&self.entry).cmp(&place(&other.entry)))
    }
}

impl Ord for Owned {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// The rest of a total order follows from `Ord`.
macro_rules! ordered {
    ($($element:ty),*) => {$(
        impl PartialOrd for $element {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $element {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $element {}
    )*};
}

ordered!(Stored, Tagged, Owned);

impl Equivalent<Stored> for Place<'_> {
    fn equivalent(&self, stored: &Stored) -> bool {
        *self == stored.place()
    }
}

impl Comparable<Stored> for Place<'_> {
    fn compare(&self, stored: &Stored) -> Ordering {
        self.cmp(&stored.place())
    }
}

impl Equivalent<Tagged> for TagQuery<'_> {
    fn equivalent(&self, tagged: &Tagged) -> bool {
        self.compare(tagged) == Ordering::Equal
    }
}

impl Comparable<Tagged> for TagQuery<'_> {
    /// A group begins before its first element.
    fn compare(&self, tagged: &Tagged) -> Ordering {
        self.cmp(&tagged.group()).then(Ordering::Less)
    }
}

impl Equivalent<Owned> for OwnerQuery<'_> {
    fn equivalent(&self, owned: &Owned) -> bool {
        self.compare(owned) == Ordering::Equal
    }
}

impl Comparable<Owned> for OwnerQuery<'_> {
    /// A group begins before its first element.
    fn compare(&self, owned: &Owned) -> Ordering {
        (*self.uid).cmp(owned.uid()).then(Ordering::Less)
    }
}
