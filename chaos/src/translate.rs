//! Between the simulator's words and the store's types.
//!
//! What the simulator did not write itself has no word: finding it is a panic, and so a finding.

use std::sync::Arc;

use bytes::Bytes;
use raft_store::{
    Change, ChangeKind, Entry, Interest, Key, Object, Operation, Precondition, Revision, Term, Transaction,
};

use crate::words::{
    Content, Guard, Id, Kind, NAMES, NAMESPACES, OWNERS, PHASES, Place, RESOURCES, Scope, Seen, Step, TAGS,
    Version, Write,
};

/// Name of the indexed attribute.
fn attribute(resource: &str) -> &'static str {
    if resource == RESOURCES[0] { "status.phase" } else { "spec.nodeName" }
}

/// A transaction.
pub fn transaction(call: u32, write: &Write) -> Transaction {
    let operations = write.steps.iter().zip(0..).map(|(step, index)| match step {
        Step::Put(place, content) => Operation::Put(object(place, Id { call, step: index }, content)),
        Step::Delete(place) => Operation::Delete(key(place)),
    });
    Transaction {
        preconditions: write.guards.iter().map(precondition).collect(),
        operations: operations.collect(),
        fence: write.fence.map(Term),
    }
}

fn key(place: &Place) -> Key {
    Key::new(place.resource, place.namespace, place.name)
}

/// Its bytes are its id and its uid, and something to make it larger.
fn object(place: &Place, id: Id, content: &Content) -> Object {
    let padding = usize::try_from(id.call % 7).expect("small") * 40;
    let bytes = format!("{id} {} {:padding$}", content.uid, "");
    Object {
        key: key(place),
        uid: content.uid.to_string().into(),
        version: "v1".into(),
        sealing: None,
        labels: Vec::new(),
        attributes: vec![(attribute(place.resource).into(), content.tag.into())],
        owners: vec![content.owner.into()],
        metadata: 0..0,
        revision_at: 0,
        bytes: Bytes::from(bytes),
    }
}

fn precondition(guard: &Guard) -> Precondition {
    match guard {
        Guard::Absent(place) => Precondition::Absent(key(place)),
        Guard::Exists(place) => Precondition::Exists(key(place)),
        Guard::At(place, revision) => Precondition::AtRevision(key(place), Revision(*revision)),
        Guard::Uid(place, uid) => Precondition::Uid(key(place), uid.to_string().into()),
        Guard::Tag(place, tag) => Precondition::Attribute {
            key: key(place),
            name: attribute(place.resource).into(),
            value: (*tag).into(),
        },
        Guard::NamespaceEmpty(namespace) => Precondition::NamespaceEmpty { namespace: (*namespace).into() },
        Guard::RangeEmpty(resource, namespace) => {
            Precondition::RangeEmpty { resource: (*resource).into(), namespace: Some(Arc::from(*namespace)) }
        }
        Guard::Unchanged(scope, since) => {
            Precondition::Unchanged { range: interest(scope), since: Revision(*since) }
        }
    }
}

/// What is watched.
pub fn interest(scope: &Scope) -> Interest {
    match scope {
        Scope::Resource(resource) => Interest::Resource((*resource).into()),
        Scope::Namespace(resource, namespace) => {
            Interest::Namespace { resource: (*resource).into(), namespace: (*namespace).into() }
        }
        Scope::Object(place) => Interest::Object(key(place)),
        Scope::Tag(resource, tag) => Interest::Attribute {
            resource: (*resource).into(),
            name: attribute(resource).into(),
            value: (*tag).into(),
        },
        Scope::Owner(owner) => Interest::Owner((*owner).into()),
    }
}

/// Where an object lives, in the store's types.
pub fn store_key(place: &Place) -> Key {
    key(place)
}

/// Where a stored object lives.
pub fn place(key: &Key) -> Place {
    let names = [&NAMES[..], &NAMESPACES[..]].concat();
    Place {
        resource: word(&key.resource, &RESOURCES),
        namespace: if key.namespace.is_empty() { "" } else { word(&key.namespace, &NAMESPACES) },
        name: word(&key.name, &names),
    }
}

/// A stored version.
pub fn version(entry: &Entry) -> Version {
    let object = &entry.object;
    let text = std::str::from_utf8(&object.bytes).expect("the simulator writes text");
    let mut parts = text.split(' ');
    let mut id = || parse(parts.next().expect("an id"));
    let (id, uid) = (id(), id());
    assert_eq!(uid.to_string(), *object.uid, "the uid is another than the content's");
    let tag = object.attribute(attribute(&object.key.resource)).expect("every object has one");
    let tags = [&TAGS[..], &PHASES[..]].concat();
    let content = Content { tag: word(tag, &tags), uid, owner: word(&object.owners[0], &OWNERS) };
    Version { revision: entry.revision.0, id, content }
}

/// A delivered change.
pub fn seen(change: &Change) -> Seen {
    Seen {
        revision: change.revision.0,
        kind: match change.kind {
            ChangeKind::Created => Kind::Created,
            ChangeKind::Updated => Kind::Updated,
            ChangeKind::Deleted => Kind::Deleted,
        },
        place: place(change.key()),
        version: version(&change.entry),
        previous: change.previous.as_deref().map(version),
    }
}

fn parse(text: &str) -> Id {
    let parsed = text
        .strip_prefix('#')
        .and_then(|text| text.split_once('.'))
        .and_then(|(call, step)| Some(Id { call: call.parse().ok()?, step: step.parse().ok()? }));
    parsed.expect("the simulator wrote an id")
}

fn word(text: &str, words: &[&'static str]) -> &'static str {
    words.iter().find(|word| **word == text).expect("the simulator wrote a word it knows")
}
