//! Roles, bindings and node relations as of now, for the authorizers. Follows
//! the store by draining watches when asked, so that a request sees every
//! write that was applied before it came. After a write that concerns nobody's
//! permissions the next request finds the watches empty and makes nothing.

use crate::catalog::{self, Kind};
use crate::codec::Codec;
use access::node::Relations;
use access::rbac::Index;
use access::{Authorizer, Mode};
use arc_swap::ArcSwap;
use mvcc::{ChangeKind, Interest, Revision};
use raft_store::{Store, Watcher};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One pinned view of who may do what.
#[derive(Clone)]
pub(crate) struct Snapshot {
    modes: Arc<[Mode]>,
    roles: Index,
    relations: Relations,
}

impl Snapshot {
    fn empty(modes: Arc<[Mode]>) -> Self {
        Self { modes, roles: Index::default(), relations: Relations::default() }
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
    /// Every change up to this revision is in `current`; written after it.
    known: AtomicU64,
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
        Self {
            current: ArcSwap::from_pointee(Snapshot::empty(modes.into())),
            known: AtomicU64::new(0),
            feeds: Mutex::new(feeds),
        }
    }

    /// The view that holds everything applied so far.
    pub(crate) fn snapshot(&self, store: &Store, codec: &Codec) -> Arc<Snapshot> {
        let wanted = store.revision();
        if self.known.load(Ordering::Acquire) < wanted.0 {
            self.catch_up(store, codec, wanted);
        }
        self.current.load_full()
    }

    fn catch_up(&self, store: &Store, codec: &Codec, wanted: Revision) {
        let mut feeds = self.feeds.lock().expect("no panic while the lock is held");
        // Somebody else may have done it meanwhile.
        if self.known.load(Ordering::Acquire) >= wanted.0 {
            return;
        }
        let current = self.current.load_full();
        let mut next = Cow::Borrowed(&*current);
        // A feed that was cut off may have missed deletions: forget everything and read all again.
        if feeds.iter_mut().any(|feed| !feed.drain(store, codec, &mut next)) {
            next = Cow::Owned(Snapshot::empty(current.modes.clone()));
            for feed in feeds.iter_mut() {
                feed.watcher = None;
                feed.drain(store, codec, &mut next);
            }
        }
        if let Cow::Owned(next) = next {
            self.current.store(Arc::new(next));
        }
        // What is readable already and not yet told to watchers is nobody's acknowledged write: the next look has it.
        let known = feeds.iter().map(Feed::progress).min().unwrap_or(Revision::ZERO);
        self.known.store(known.0, Ordering::Release);
    }
}

impl Feed {
    /// Takes in what happened since; false when something was missed.
    fn drain(&mut self, store: &Store, codec: &Codec, into: &mut Cow<'_, Snapshot>) -> bool {
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

    /// Every change up to here has been taken in.
    fn progress(&self) -> Revision {
        self.watcher.as_ref().map_or(Revision::ZERO, Watcher::progress)
    }

    /// Reads the whole state and follows from there.
    fn start(&mut self, store: &Store, codec: &Codec, into: &mut Cow<'_, Snapshot>) {
        let view = store.view();
        let stored_as = self.kind.stored_as.clone();
        self.watcher = store.watch(Interest::Resource(stored_as.clone()), view.revision()).ok();
        for entry in view.list(&stored_as, None, None) {
            self.kind_change(codec, entry, true, into);
        }
    }

    fn kind_change(&self, codec: &Codec, entry: &mvcc::Entry, present: bool, into: &mut Cow<'_, Snapshot>) {
        let unscheduled = self.kind.resource.plural == "pods"
            && entry.object.attribute("spec.nodeName").is_none_or(|node| node.is_empty());
        if unscheduled && present {
            return;
        }
        let Ok(tree) = codec.tree(self.kind, entry, entry.revision) else { return };
        let into = into.to_mut();
        match (self.kind.resource.group.as_str(), present) {
            ("rbac.authorization.k8s.io", true) => drop(into.roles.upsert(&tree)),
            ("rbac.authorization.k8s.io", false) => drop(into.roles.remove(&tree)),
            (_, true) => into.relations.upsert(&tree),
            (_, false) => into.relations.remove(&tree),
        }
    }
}
