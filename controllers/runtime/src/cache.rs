//! A local, always slightly old copy of one kind, decoded once for all who read it.
//!
//! The reflector is its only writer. Readers take `Arc`s out; listeners are told
//! of each change after it can be read, and only ever queue keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::metadata::{Key, Metadata};

/// What a controller keeps of an object.
pub trait View: DeserializeOwned + Send + Sync + 'static {
    /// Its metadata.
    fn metadata(&self) -> &Metadata;

    /// Groups under which [`Cache::group`] finds it, such as `owner=UID`.
    fn groups(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One change: created without `old`, deleted without `new`.
pub struct Change<'a, T> {
    /// What was there before.
    pub old: Option<&'a Arc<T>>,
    /// What is there now.
    pub new: Option<&'a Arc<T>>,
}

impl<'a, T> Change<'a, T> {
    /// What is there now, or what was there last.
    pub fn latest(&self) -> &'a Arc<T> {
        self.new.or(self.old).expect("a change has a side")
    }
}

type Listener<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;

struct State<T> {
    objects: BTreeMap<Key, Arc<T>>,
    groups: BTreeMap<String, BTreeSet<Key>>,
    position: u64,
}

struct Shared<T> {
    state: RwLock<State<T>>,
    listeners: RwLock<Vec<Listener<T>>>,
    synced: watch::Sender<bool>,
}

/// The copy; clones share it.
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

impl<T: View> Default for Cache<T> {
    fn default() -> Self {
        Cache::new()
    }
}

impl<T: View> Cache<T> {
    /// An empty copy that has seen nothing yet.
    pub fn new() -> Cache<T> {
        let state = State { objects: BTreeMap::new(), groups: BTreeMap::new(), position: 0 };
        let shared = Shared {
            state: RwLock::new(state),
            listeners: RwLock::new(Vec::new()),
            synced: watch::Sender::new(false),
        };
        Cache { shared: Arc::new(shared) }
    }

    /// Calls `listener` after each change. It must not block.
    pub fn on_change(&self, listener: impl Fn(&Change<'_, T>) + Send + Sync + 'static) {
        let mut listeners = self.shared.listeners.write().expect("no listener panics");
        listeners.push(Box::new(listener));
    }

    /// Waits until the first list is in.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `self`, so the wait ends with the list.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Every change up to this position is in.
    pub fn position(&self) -> u64 {
        self.read().position
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.read().objects.get(key).cloned()
    }

    /// All objects in key order.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace in name order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = Key::new(namespace, "");
        let state = self.read();
        let rest = state.objects.range(first..);
        rest.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The objects that named this group in [`View::groups`].
    pub fn group(&self, group: &str) -> Vec<Arc<T>> {
        let state = self.read();
        let Some(keys) = state.groups.get(group) else { return Vec::new() };
        keys.iter().filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// Replaces everything by a list.
    pub fn replace(&self, objects: Vec<Arc<T>>, position: u64) {
        let mut incoming: BTreeMap<Key, Arc<T>> =
            objects.into_iter().map(|object| (object.metadata().key(), object)).collect();
        let gone: Vec<Key> =
            self.read().objects.keys().filter(|key| !incoming.contains_key(key)).cloned().collect();
        for key in gone {
            self.remove(&key, 0);
        }
        while let Some((_, object)) = incoming.pop_first() {
            self.put(object);
        }
        self.advance(position);
        self.shared.synced.send_replace(true);
    }

    /// Takes one created or updated object in.
    pub fn put(&self, object: Arc<T>) {
        let key = object.metadata().key();
        let old = {
            let mut state = self.write();
            // Before anyone is told, so that who reacts finds what it waited for.
            state.position = state.position.max(object.metadata().position());
            let old = state.objects.insert(key.clone(), Arc::clone(&object));
            if let Some(old) = &old {
                state.forget_groups(&key, old);
            }
            for group in object.groups() {
                state.groups.entry(group).or_default().insert(key.clone());
            }
            old
        };
        let unchanged = old.as_ref().is_some_and(|old| {
            let (old, new) = (old.metadata(), object.metadata());
            old.resource_version == new.resource_version && old.uid == new.uid
        });
        if !unchanged {
            self.tell(&Change { old: old.as_ref(), new: Some(&object) });
        }
    }

    /// Takes one object out that was deleted at this position.
    pub fn remove(&self, key: &Key, position: u64) {
        let old = {
            let mut state = self.write();
            state.position = state.position.max(position);
            let old = state.objects.remove(key);
            if let Some(old) = &old {
                state.forget_groups(key, old);
            }
            old
        };
        if let Some(old) = old {
            self.tell(&Change { old: Some(&old), new: None });
        }
    }

    /// Notes that every change up to `position` is in.
    pub fn advance(&self, position: u64) {
        let mut state = self.write();
        state.position = state.position.max(position);
    }

    fn tell(&self, change: &Change<'_, T>) {
        for listener in self.shared.listeners.read().expect("no listener panics").iter() {
            listener(change);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State<T>> {
        self.shared.state.read().expect("no writer panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State<T>> {
        self.shared.state.write().expect("no writer panics")
    }
}

impl<T: View> State<T> {
    fn forget_groups(&mut self, key: &Key, old: &T) {
        for group in old.groups() {
            if let Some(keys) = self.groups.get_mut(&group) {
                keys.remove(key);
                if keys.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
    }
}
