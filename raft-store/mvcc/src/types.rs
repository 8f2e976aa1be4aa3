//! The words of the store: what a writer proposes, what is kept, what a watcher is told.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::hash::{self, Digest};

/// A position in the store's history. Each changed object gets its own; it is the resourceVersion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of an empty store.
    pub const ZERO: Self = Self(0);

    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A term of leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Where an object lives. Ordered by resource, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `configmaps` or `deployments.apps`: the plural, with the group if it has one.
    pub resource: Arc<str>,
    /// Empty for cluster scope.
    pub namespace: Arc<str>,
    /// Name within resource and namespace.
    pub name: Arc<str>,
}

impl Key {
    /// Builds a key from its three parts.
    pub fn new(
        resource: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

/// An object as its writer proposes it, with everything the store needs to know about it, so that
/// nothing here ever looks into `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it lives.
    pub key: Key,
    /// Identity of this incarnation.
    pub uid: Arc<str>,
    /// Storage group/version: `v1`, `apps/v1`.
    pub version: Arc<str>,
    /// Id of the key that sealed `bytes`; `None` for plain JSON.
    pub sealing: Option<Arc<str>>,
    /// Sorted by name.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Indexed selectable fields by upstream's name: `spec.nodeName`, `status.phase`.
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
    /// Uids of the owners.
    pub owners: Vec<Arc<str>>,
    /// Byte range of the metadata object within `bytes`; `0..0` when sealed.
    pub metadata: Range<u32>,
    /// Offset at which `"resourceVersion":"N",` is spliced in, just after metadata's `{`.
    pub revision_at: u32,
    /// JSON without metadata.resourceVersion.
    pub bytes: Bytes,
}

impl Object {
    /// The value of an indexed attribute.
    pub fn attribute(&self, name: &str) -> Option<&Arc<str>> {
        self.attributes.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&Arc<str>> {
        let position = self.labels.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&self.labels[position].1)
    }

    /// Bytes this object is charged with in memory budgets: its content and what stands around it.
    pub fn cost(&self) -> usize {
        /// Keys, pointers and tree nodes of one entry, measured at about 171 bytes and rounded up.
        const OVERHEAD: usize = 256;
        let pairs = self.labels.iter().chain(&self.attributes);
        self.bytes.len() + pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>() + OVERHEAD
    }
}

/// A stored version of an object, shared by all who read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The content.
    pub object: Object,
    /// The revision that wrote it.
    pub revision: Revision,
    /// The revision that created this incarnation.
    pub created: Revision,
    digest: Digest,
}

impl Entry {
    /// Makes a stored version; its share of the state hash is computed here, once.
    pub fn new(object: Object, revision: Revision, created: Revision) -> Self {
        let digest = hash::digest(&object, revision, created);
        Self { object, revision, created, digest }
    }

    /// This version's share of the state hash.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The key was absent before.
    Created,
    /// The key was present before.
    Updated,
    /// The key is absent now.
    Deleted,
}

/// One step of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision of this step.
    pub revision: Revision,
    /// The last revision of its transaction: where it became visible.
    pub visible: Revision,
    /// What happened.
    pub kind: ChangeKind,
    /// The content now; for a deletion the last content.
    pub entry: Arc<Entry>,
    /// The content before; `None` for a creation.
    pub previous: Option<Arc<Entry>>,
}

impl Change {
    /// The object that changed.
    pub fn key(&self) -> &Key {
        &self.entry.object.key
    }

    /// Bytes this change keeps alive in history. Its previous content is charged to the change that
    /// wrote it.
    pub fn cost(&self) -> usize {
        self.entry.object.cost()
    }
}

/// A single write within a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates or replaces.
    Put(Object),
    /// Deletes; the transaction is refused if the key is absent.
    Delete(Key),
}

impl Operation {
    /// The key written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(object) => &object.key,
            Self::Delete(key) => key,
        }
    }
}

/// What must hold in the state before a transaction for it to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No such object.
    Absent(Key),
    /// There is such an object.
    Exists(Key),
    /// The object was last written at this revision.
    AtRevision(Key, Revision),
    /// The object is this incarnation.
    Uid(Key, Arc<str>),
    /// The object has an attribute with this value: a namespace exists and is Active.
    Attribute {
        /// Object looked at.
        key: Key,
        /// Name of the attribute.
        name: Arc<str>,
        /// Value it must have.
        value: Arc<str>,
    },
    /// No object of any resource lives in the namespace.
    NamespaceEmpty {
        /// The namespace.
        namespace: Arc<str>,
    },
    /// No object of the resource exists, in one namespace or at all.
    RangeEmpty {
        /// The resource.
        resource: Arc<str>,
        /// `None` for all namespaces.
        namespace: Option<Arc<str>>,
    },
    /// Nothing that matches has changed after `since`. Refused when history no longer reaches back.
    Unchanged {
        /// What is looked at.
        range: Interest,
        /// The revision the writer read at.
        since: Revision,
    },
}

/// A set of objects that somebody watches or depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Every object of a resource.
    Resource(Arc<str>),
    /// Every object of a resource in one namespace.
    Namespace {
        /// The resource.
        resource: Arc<str>,
        /// The namespace.
        namespace: Arc<str>,
    },
    /// One object.
    Object(Key),
    /// Every object of a resource whose attribute has a value.
    Attribute {
        /// The resource.
        resource: Arc<str>,
        /// Name of the attribute.
        name: Arc<str>,
        /// Its value.
        value: Arc<str>,
    },
    /// Every object, of any resource, with this owner.
    Owner(Arc<str>),
}

impl Interest {
    /// Whether a version of an object belongs to the set.
    pub fn covers(&self, object: &Object) -> bool {
        let key = &object.key;
        match self {
            Self::Resource(resource) => key.resource == *resource,
            Self::Namespace { resource, namespace } => {
                key.resource == *resource && key.namespace == *namespace
            }
            Self::Object(wanted) => key == wanted,
            Self::Attribute { resource, name, value } => {
                key.resource == *resource && object.attribute(name) == Some(value)
            }
            Self::Owner(uid) => object.owners.contains(uid),
        }
    }

    /// Whether a change concerns the set: the object belongs to it now, or did before.
    pub fn concerns(&self, change: &Change) -> bool {
        self.covers(&change.entry.object)
            || change.previous.as_ref().is_some_and(|previous| self.covers(&previous.object))
    }
}

/// Writes that are applied together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All must hold in the state before the first operation.
    pub preconditions: Vec<Precondition>,
    /// Applied in order; each gets its own revision.
    pub operations: Vec<Operation>,
    /// The term the writer leads in; refused in any other.
    pub fence: Option<Term>,
}

/// The index in [`Outcome::Refused`] that means the fence.
pub const REFUSED_BY_FENCE: usize = usize::MAX;

/// What a transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All operations were applied.
    Applied {
        /// Revision of the first operation.
        first: Revision,
        /// Revision of the last operation; without operations the current revision, before `first`.
        last: Revision,
        /// One per operation; for a deletion the last content.
        entries: Vec<Arc<Entry>>,
    },
    /// Nothing was applied.
    Refused {
        /// Index of the precondition that did not hold; [`REFUSED_BY_FENCE`] for the fence; for a
        /// deletion of an absent key the number of preconditions plus the index of the operation.
        precondition: usize,
        /// The object the precondition looked at, as it is now.
        current: Option<Arc<Entry>>,
    },
}
