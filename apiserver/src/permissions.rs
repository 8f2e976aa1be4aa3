//! Roles, bindings and node relations as of now, for the authorizers. Follows
//! the store by draining watches when asked, so that a request sees every
//! write that was applied before it came.

use crate::catalog::{self, Kind};
use crate::codec::Codec;
use access::node::Relations;
use access::rbac::Index;
use access::{Authorizer, Mode};
use arc_swap::ArcSwap;
use mvcc::{ChangeKind, Interest, Revision};
use raft_store::{Store, Watcher};
use std::sync::{Arc, Mutex};

/// One pinned view of who may do what.
#[derive(Clone)]
pub(crate) struct Snapshot {
    revision: Revision,
    modes: Arc<[Mode]>,
    roles: Index,
    relations: Relations,
}

impl Snapshot {
    fn empty(modes: Arc<[Mode]>) -> Self {
        Self {
            modes,
            revision: Revision::default(),
            roles: Index::default(),
            relations: Relations::default(),
        }
    }

    /// The chain of authorizers over this view.
    pub(crate) fn authorizer(&self) -> Authorizer<'_> {
        Authorizer::new(&self.roles, &self.relations).with_modes(&self.modes)
    }

    /// Roles and bindings.
    pub(crate) fn roles(&self) -> &Index {
        &self.roles
    }
}

/// Keeps a [`Snapshot`] current.
pub(crate) struct Permissions {
    current: ArcSwap<Snapshot>,
    feeds: Mutex<Vec<Feed>>,
}

struct Feed {
    kind: &'static Kind,
    watcher: Option<Watcher>,
}

/// What the authorizers look at; what is not served is not followed.
const FOLLOWED: [(&str, &str); 8] = [
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
];

impl Permissions {
    /// Nothing known yet; the first look reads everything.
    pub(crate) fn new(modes: Vec<Mode>) -> Self {
        let kinds = FOLLOWED.iter().filter_map(|(group, plural)| catalog::find(group, "v1", plural));
        let feeds = kinds.map(|kind| Feed { kind, watcher: None }).collect();
        Self { current: ArcSwap::from_pointee(Snapshot::empty(modes.into())), feeds: Mutex::new(feeds) }
    }

    /// The view that holds everything applied so far.
    pub(crate) fn snapshot(&self, store: &Store, codec: &Codec) -> Arc<Snapshot> {
        let wanted = store.view().revision();
        let current = self.current.load_full();
        if current.revision >= wanted {
            return current;
        }
        let mut feeds = self.feeds.lock().expect("no panic while the lock is held");
        let mut next = Snapshot::clone(&self.current.load());
        // A feed that was cut off may have missed deletions: forget everything and read all again.
        if feeds.iter_mut().any(|feed| !feed.drain(store, codec, &mut next)) {
            next = Snapshot::empty(next.modes.clone());
            for feed in feeds.iter_mut() {
                feed.watcher = None;
                feed.drain(store, codec, &mut next);
            }
        }
        next.revision = next.revision.max(wanted);
        let next = Arc::new(next);
        self.current.store(next.clone());
        next
    }
}

impl Feed {
    /// Takes in what happened since; false when something was missed.
    fn drain(&mut self, store: &Store, codec: &Codec, into: &mut Snapshot) -> bool {
        if self.watcher.is_none() {
            self.start(store, codec, into);
        }
        while let Some(watcher) = &mut self.watcher {
            match watcher.try_next() {
                Ok(changes) if changes.is_empty() => return true,
                Ok(changes) => {
                    for change in changes {
                        self.kind_change(codec, &change.entry, change.kind != ChangeKind::Deleted, into);
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Reads the whole state and follows from there.
    fn start(&mut self, store: &Store, codec: &Codec, into: &mut Snapshot) {
        let view = store.view();
        let stored_as = self.kind.stored_as.clone();
        self.watcher = store.watch(Interest::Resource(stored_as.clone()), view.revision()).ok();
        for entry in view.list(&stored_as, None, None) {
            self.kind_change(codec, entry, true, into);
        }
    }

    fn kind_change(&self, codec: &Codec, entry: &mvcc::Entry, present: bool, into: &mut Snapshot) {
        let unscheduled = self.kind.resource.plural == "pods"
            && entry.object.attribute("spec.nodeName").is_none_or(|node| node.is_empty());
        if unscheduled && present {
            return;
        }
        let Ok(tree) = codec.tree(self.kind, entry, entry.revision) else { return };
        match (self.kind.resource.group.as_str(), present) {
            ("rbac.authorization.k8s.io", true) => drop(into.roles.upsert(&tree)),
            ("rbac.authorization.k8s.io", false) => drop(into.roles.remove(&tree)),
            (_, true) => into.relations.upsert(&tree),
            (_, false) => into.relations.remove(&tree),
        }
    }
}
