//! An index of what a node's pods lead to, kept up to date change by change.
//!
//! `pod a on n1 names secret s` counts one at `(n1, Secret, ns, s)`; the pod's deletion takes it
//! away again. Volumes hang on claims: `pv → claim → pod → node`, and a volume's secret on the
//! volume. The maps are persistent, so a clone is a pinned view.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{HashMap, HashSet};

use super::references::{self, RelatedKey};
use super::{Graph, Related};
use crate::Tree;

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// The graph the server authorizes nodes with.
#[derive(Clone, Default)]
pub struct Relations {
    pods: HashMap<Key, Arc<Pod>>,
    /// How many pods of a node name an object.
    named: HashMap<(Arc<str>, RelatedKey, Key), u32>,
    /// Volume to its claim and secrets.
    volumes: HashMap<Arc<str>, Arc<Volume>>,
    /// Secret to the volumes that need it.
    volumes_by_secret: HashMap<Key, HashSet<Arc<str>>>,
    /// Attachment to node.
    attachments: HashMap<Arc<str>, Arc<str>>,
    /// Resource slice to node.
    slices: HashMap<Arc<str>, Arc<str>>,
}

#[derive(PartialEq)]
struct Pod {
    node: Arc<str>,
    names: BTreeSet<(RelatedKey, String)>,
}

struct Volume {
    claim: Key,
    secrets: Vec<Key>,
}

impl Relations {
    /// Takes in a created or changed Pod, PersistentVolume, VolumeAttachment or ResourceSlice.
    pub fn upsert(&mut self, object: &Tree) {
        let key = key_of(object);
        if object["kind"] == "Pod" {
            return self.upsert_pod(key, object);
        }
        self.remove(object);
        match object["kind"].as_str().unwrap_or_default() {
            "PersistentVolume" => self.add_volume(key.1, object),
            "VolumeAttachment" => add_to(&mut self.attachments, key.1, &object["spec"]["nodeName"]),
            "ResourceSlice" => add_to(&mut self.slices, key.1, &object["spec"]["nodeName"]),
            _ => {}
        }
    }

    /// Forgets a deleted object; only its kind, namespace and name are looked at.
    pub fn remove(&mut self, object: &Tree) {
        let key = key_of(object);
        match object["kind"].as_str().unwrap_or_default() {
            "Pod" => self.remove_pod(&key),
            "PersistentVolume" => self.remove_volume(&key.1),
            "VolumeAttachment" => drop(self.attachments.remove(&key.1)),
            "ResourceSlice" => drop(self.slices.remove(&key.1)),
            _ => {}
        }
    }

    /// Most changes of a pod are to its status, and name nothing new.
    fn upsert_pod(&mut self, key: Key, object: &Tree) {
        let node: Arc<str> = object["spec"]["nodeName"].as_str().unwrap_or_default().into();
        let pod = Pod { node, names: references::of_pod(object) };
        if self.pods.get(&key).is_some_and(|stored| **stored == pod) {
            return;
        }
        self.remove_pod(&key);
        if pod.node.is_empty() {
            return;
        }
        for (kind, name) in &pod.names {
            let entry = (pod.node.clone(), *kind, (key.0.clone(), Arc::from(name.as_str())));
            *self.named.entry(entry).or_default() += 1;
        }
        self.pods.insert(key, Arc::new(pod));
    }

    fn remove_pod(&mut self, key: &Key) {
        let Some(pod) = self.pods.remove(key) else { return };
        for (kind, name) in &pod.names {
            let entry = (pod.node.clone(), *kind, (key.0.clone(), Arc::from(name.as_str())));
            let count = self.named.get_mut(&entry).expect("counted when the pod was added");
            *count -= 1;
            if *count == 0 {
                self.named.remove(&entry);
            }
        }
    }

    fn add_volume(&mut self, name: Arc<str>, object: &Tree) {
        let claim = &object["spec"]["claimRef"];
        if !claim.is_object() {
            return;
        }
        let field = |name: &str| Arc::from(claim[name].as_str().unwrap_or_default());
        let secrets = references::secrets_of_volume(object).into_iter();
        let secrets: Vec<Key> = secrets.map(|(namespace, name)| (namespace.into(), name.into())).collect();
        for secret in &secrets {
            self.volumes_by_secret.entry(secret.clone()).or_default().insert(name.clone());
        }
        let volume = Volume { claim: (field("namespace"), field("name")), secrets };
        self.volumes.insert(name, Arc::new(volume));
    }

    fn remove_volume(&mut self, name: &Arc<str>) {
        let Some(volume) = self.volumes.remove(name) else { return };
        for secret in &volume.secrets {
            let Some(volumes) = self.volumes_by_secret.get_mut(secret) else { continue };
            volumes.remove(name);
            if volumes.is_empty() {
                self.volumes_by_secret.remove(secret);
            }
        }
    }

    fn is_named(&self, node: &str, kind: RelatedKey, key: Key) -> bool {
        self.named.contains_key(&(Arc::from(node), kind, key))
    }

    fn has_volume(&self, node: &str, name: &str) -> bool {
        let volume = self.volumes.get(name);
        volume.is_some_and(|volume| self.is_named(node, RelatedKey::VolumeClaim, volume.claim.clone()))
    }
}

impl Graph for Relations {
    fn relates(&self, node: &str, kind: Related, namespace: &str, name: &str) -> bool {
        let key: Key = (namespace.into(), name.into());
        match kind {
            Related::Pod => self.pods.get(&key).is_some_and(|pod| &*pod.node == node),
            Related::Volume => self.has_volume(node, name),
            Related::VolumeAttachment => self.attachments.get(name).is_some_and(|on| &**on == node),
            Related::ResourceSlice => self.slices.get(name).is_some_and(|on| &**on == node),
            Related::Secret if self.is_named(node, RelatedKey::Secret, key.clone()) => true,
            Related::Secret => {
                let volumes = self.volumes_by_secret.get(&key);
                volumes.is_some_and(|volumes| volumes.iter().any(|volume| self.has_volume(node, volume)))
            }
            Related::ConfigMap | Related::ServiceAccount | Related::VolumeClaim | Related::ResourceClaim => {
                let kind = RelatedKey::of(kind).expect("a kind that pods name");
                self.is_named(node, kind, key)
            }
        }
    }
}

fn add_to(map: &mut HashMap<Arc<str>, Arc<str>>, name: Arc<str>, node: &Tree) {
    if let Some(node) = node.as_str().filter(|node| !node.is_empty()) {
        map.insert(name, node.into());
    }
}

fn key_of(object: &Tree) -> Key {
    let field = |name: &str| Arc::from(object["metadata"][name].as_str().unwrap_or_default());
    (field("namespace"), field("name"))
}
