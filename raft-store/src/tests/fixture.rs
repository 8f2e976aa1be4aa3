//! Objects and stores for tests.

use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Entry, Key, Object, Operation, Outcome, Precondition, Revision, Transaction};

use crate::log::{FaultyBackend, FaultyDisk};
use crate::{Medium, Options, Seams, SnapshotShelf, Store};

pub(crate) fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

pub(crate) fn object(name: &str, content: &str) -> Object {
    Object {
        key: key(name),
        uid: format!("uid-{name}").into(),
        version: "v1".into(),
        sealing: None,
        labels: Vec::new(),
        attributes: vec![("metadata.name".into(), name.into())],
        owners: Vec::new(),
        metadata: 0..0,
        revision_at: 0,
        bytes: Bytes::copy_from_slice(content.as_bytes()),
    }
}

pub(crate) fn put(name: &str, content: &str) -> Transaction {
    Transaction { operations: vec![Operation::Put(object(name, content))], ..Transaction::default() }
}

pub(super) fn delete(name: &str) -> Transaction {
    Transaction { operations: vec![Operation::Delete(key(name))], ..Transaction::default() }
}

pub(super) fn create(name: &str, content: &str) -> Transaction {
    Transaction { preconditions: vec![Precondition::Absent(key(name))], ..put(name, content) }
}

pub(crate) async fn applied(store: &Store, transaction: Transaction) -> Revision {
    match store.propose(transaction).await.expect("a sole member answers") {
        Outcome::Applied { last, .. } => last,
        refused @ Outcome::Refused { .. } => panic!("{refused:?}"),
    }
}

pub(crate) fn content(store: &Store, name: &str) -> Option<String> {
    store.view().get(&key(name)).as_deref().map(text)
}

pub(crate) fn text(entry: &Entry) -> String {
    String::from_utf8(entry.object.bytes.to_vec()).expect("tests write text")
}

/// A machine with a faulty disk: it can lose its power and boot again.
#[derive(Default)]
pub(super) struct Computer {
    pub(super) disk: FaultyDisk,
    pub(super) shelf: SnapshotShelf,
}

impl Computer {
    pub(super) async fn boot(&self) -> Store {
        self.boot_on(FaultyBackend::open).await
    }

    pub(super) async fn boot_without_sync(&self) -> Store {
        self.boot_on(FaultyBackend::open_without_sync).await
    }

    async fn boot_on(&self, open: fn(&FaultyDisk) -> FaultyBackend) -> Store {
        let (disk, shelf) = (self.disk.clone(), self.shelf.clone());
        let medium = move || Ok(Medium::new(Box::new(open(&disk)), &shelf));
        Store::open_on(medium, Options::in_memory(), Seams::seeded(1)).await.expect("the disk is readable")
    }
}

pub(super) fn names(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.object.key.name).collect()
}
