//! What the simulator says and hears, in words of its own: the checkers know these and no type of the
//! store.
//!
//! Every written version carries an [`Id`], so that whatever is read or watched later can be traced to
//! the one write that made it.

use std::fmt;

/// The resources in play. The first holds the namespaces of the others.
pub const RESOURCES: [&str; 3] = ["namespaces", "configmaps", "pods"];
/// The namespaces in play, also names of objects of the first resource.
pub const NAMESPACES: [&str; 2] = ["blue", "green"];
/// The names in play: few, so that clients meet.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Values of the indexed attribute.
pub const TAGS: [&str; 3] = ["n1", "n2", "n3"];
/// Values of the indexed attribute of a namespace. Only in the first it takes new objects.
pub const PHASES: [&str; 2] = ["Active", "Terminating"];
/// Owners in play.
pub const OWNERS: [&str; 2] = ["o1", "o2"];

/// Where an object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// One of [`RESOURCES`].
    pub resource: &'static str,
    /// One of [`NAMESPACES`], or empty.
    pub namespace: &'static str,
    /// One of [`NAMES`], or of [`NAMESPACES`].
    pub name: &'static str,
}

impl Place {
    /// The object that is a namespace.
    pub fn of_namespace(name: &'static str) -> Self {
        Self { resource: RESOURCES[0], namespace: "", name }
    }

    /// Every place in play, in order of resource as listed, namespace, name.
    pub fn all() -> Vec<Self> {
        let mut places: Vec<Self> = NAMESPACES.map(Self::of_namespace).to_vec();
        for resource in &RESOURCES[1..] {
            for namespace in NAMESPACES {
                places.extend(NAMES.map(|name| Self { resource, namespace, name }));
            }
        }
        places
    }
}

/// Names one step of one write, and so one version of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The call that wrote it.
    pub call: u32,
    /// Which of its steps.
    pub step: u8,
}

/// A version of an object as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The revision that wrote it.
    pub revision: u64,
    /// The step that wrote it.
    pub id: Id,
    /// Its content.
    pub content: Content,
}

/// What a writer chooses of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The indexed attribute.
    pub tag: &'static str,
    /// The step that gave it its identity.
    pub uid: Id,
    /// Its owner.
    pub owner: &'static str,
}

/// A set of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of a resource.
    Resource(&'static str),
    /// Of a resource in a namespace.
    Namespace(&'static str, &'static str),
    /// One.
    Object(Place),
    /// Of a resource with a tag.
    Tag(&'static str, &'static str),
    /// Of an owner, of any resource.
    Owner(&'static str),
}

impl Scope {
    /// Whether a version of the object at a place belongs to it.
    pub fn covers(&self, place: &Place, content: &Content) -> bool {
        match self {
            Self::Resource(resource) => place.resource == *resource,
            Self::Namespace(resource, namespace) => {
                place.resource == *resource && place.namespace == *namespace
            }
            Self::Object(object) => place == object,
            Self::Tag(resource, tag) => place.resource == *resource && content.tag == *tag,
            Self::Owner(owner) => content.owner == *owner,
        }
    }
}

/// What must hold for a write to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// No object there.
    Absent(Place),
    /// An object there.
    Exists(Place),
    /// Last written at this revision.
    At(Place, u64),
    /// Of this identity.
    Uid(Place, Id),
    /// With this tag.
    Tag(Place, &'static str),
    /// No object of any resource in a namespace.
    NamespaceEmpty(&'static str),
    /// No object of a resource in a namespace.
    RangeEmpty(&'static str, &'static str),
    /// Nothing in the set changed after a revision.
    Unchanged(Scope, u64),
}

/// One step of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Creates or replaces.
    Put(Place, Content),
    /// Deletes what must be there.
    Delete(Place),
}

impl Step {
    /// Where it writes.
    pub fn place(&self) -> &Place {
        match self {
            Self::Put(place, _) | Self::Delete(place) => place,
        }
    }
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Applied in order, all or none.
    pub steps: Vec<Step>,
    /// The term it is valid in.
    pub fence: Option<u64>,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes.
    Write(Write),
    /// Reads one object at the newest revision.
    Read(Place),
    /// Lists a resource at the newest revision.
    List(&'static str),
    /// Lists a resource at an earlier revision.
    ListAt(&'static str, u64),
    /// Forgets history.
    Compact(u64),
    /// Takes a snapshot and shortens the log.
    Snapshot,
}

/// What it hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All steps took effect; one version a step, for a deletion the last one.
    Applied {
        /// Revision of the first step.
        first: u64,
        /// Revision of the last step.
        last: u64,
        /// What came of each step.
        versions: Vec<Version>,
    },
    /// No step took effect, because of this guard; see the store for the numbering.
    Refused {
        /// Its index.
        guard: usize,
    },
    /// It takes no effect, now or later.
    NotAppended(&'static str),
    /// It may have taken effect, or may yet.
    Unknown,
    /// One object.
    Found {
        /// The revision of the view.
        at: u64,
        /// The object, if there is one.
        version: Option<Version>,
    },
    /// Every object of a resource.
    Listed {
        /// The revision of the view.
        at: u64,
        /// In the store's order.
        items: Vec<(Place, Version)>,
    },
    /// The revision is forgotten.
    Compacted {
        /// The oldest that is not.
        oldest: u64,
    },
    /// Done, with nothing to say.
    Done,
    /// The read or the housekeeping was not answered.
    Failed(&'static str),
}

/// A change as a watcher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its revision.
    pub revision: u64,
    /// What happened.
    pub kind: Kind,
    /// To which object.
    pub place: Place,
    /// The version now; for a deletion the last one.
    pub version: Version,
    /// The version before.
    pub previous: Option<Version>,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There was none.
    Created,
    /// There was one.
    Updated,
    /// There is none.
    Deleted,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}.{}", self.call, self.step)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.id, self.revision)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(resource) => write!(formatter, "{resource}"),
            Self::Namespace(resource, namespace) => write!(formatter, "{resource}/{namespace}"),
            Self::Object(place) => write!(formatter, "{place}"),
            Self::Tag(resource, tag) => write!(formatter, "{resource}[{tag}]"),
            Self::Owner(owner) => write!(formatter, "owner {owner}"),
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(place) => write!(formatter, "absent {place}"),
            Self::Exists(place) => write!(formatter, "exists {place}"),
            Self::At(place, revision) => write!(formatter, "{place}@{revision}"),
            Self::Uid(place, uid) => write!(formatter, "{place} is {uid}"),
            Self::Tag(place, tag) => write!(formatter, "{place}[{tag}]"),
            Self::NamespaceEmpty(namespace) => write!(formatter, "empty {namespace}"),
            Self::RangeEmpty(resource, namespace) => write!(formatter, "empty {resource}/{namespace}"),
            Self::Unchanged(scope, since) => write!(formatter, "unchanged {scope} since {since}"),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match step {
                Step::Put(place, content) => {
                    write!(formatter, "{comma}put {place}[{} {}]", content.tag, content.owner)?;
                }
                Step::Delete(place) => write!(formatter, "{comma}delete {place}")?,
            }
        }
        for (index, guard) in self.guards.iter().enumerate() {
            write!(formatter, "{}{guard}", if index == 0 { " if " } else { ", " })?;
        }
        self.fence.map_or(Ok(()), |term| write!(formatter, " in term {term}"))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(write) => write!(formatter, "{write}"),
            Self::Read(place) => write!(formatter, "read {place}"),
            Self::List(resource) => write!(formatter, "list {resource}"),
            Self::ListAt(resource, at) => write!(formatter, "list {resource} at {at}"),
            Self::Compact(at) => write!(formatter, "compact {at}"),
            Self::Snapshot => write!(formatter, "snapshot"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { first, last, versions } => {
                write!(formatter, "ok {first}..{last}")?;
                versions.iter().try_for_each(|version| write!(formatter, " {version}"))
            }
            Self::Refused { guard: usize::MAX } => write!(formatter, "fail: fence"),
            Self::Refused { guard } => write!(formatter, "fail: guard {guard}"),
            Self::NotAppended(why) => write!(formatter, "fail: {why}"),
            Self::Unknown => write!(formatter, "unknown"),
            Self::Found { at, version: Some(version) } => write!(formatter, "ok at {at}: {version}"),
            Self::Found { at, version: None } => write!(formatter, "ok at {at}: nothing"),
            Self::Listed { at, items } => {
                write!(formatter, "ok at {at}:")?;
                items.iter().try_for_each(|(place, version)| {
                    write!(formatter, " {}/{} {version}", place.namespace, place.name)
                })
            }
            Self::Compacted { oldest } => write!(formatter, "ok: compacted, oldest is {oldest}"),
            Self::Done => write!(formatter, "ok"),
            Self::Failed(why) => write!(formatter, "fail: {why}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?} {} {}", self.revision, self.kind, self.place, self.version)
    }
}
