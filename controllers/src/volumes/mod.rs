//! Binds claims to volumes that are there, releases volumes whose claims are gone, and says who is to make a volume.
//!
//! It makes and deletes no storage itself: that is the drivers'.

mod plan;

use std::fmt;
use std::sync::Arc;

use kinds::tree::{at, str_at};
use runtime::{
    Cache, Client, Key, Next, Queue, Reconcile, Recorder, Regarding, Resource, Source, View as _, failure,
};
use serde_json::Value;

use self::plan::{Around, ClaimStep, Said, VolumeStep};
use crate::protection::Storage;
use crate::views::{Named, Whole};
use crate::{House, resources};

type Object = Whole<Named>;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Side {
    Claim(Key),
    Volume(Key),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Side::Claim(key) => write!(f, "claim {key}"),
            Side::Volume(key) => write!(f, "volume {key}"),
        }
    }
}

struct Binder {
    client: Client,
    recorder: Recorder,
    storage: Storage,
    classes: Cache<Object>,
    queue: Queue<Side>,
}

pub(crate) fn start(house: &mut House<'_>, storage: &Storage) {
    let queue = Queue::<Side>::new();
    let classes = Cache::<Object>::new();
    listen(storage, &classes, &queue);
    house.follow(&classes, Source::all(&resources::STORAGE_CLASSES));
    let client = house.client("persistent-volume-binder");
    let recorder = house.recorder(&client, "persistentvolume-controller");
    let ready = (storage.clone(), classes.clone());
    let binder = Binder { client, recorder, storage: storage.clone(), classes, queue: queue.clone() };
    // One worker: two claims that want the same volume are better asked one after the other.
    house.work(Arc::new(binder), queue, 1, async move {
        ready.0.claims.synced().await;
        ready.0.volumes.synced().await;
        ready.1.synced().await;
    });
}

fn listen(storage: &Storage, classes: &Cache<Object>, queue: &Queue<Side>) {
    let changed = queue.clone();
    storage.claims.on_change(move |change| {
        let claim = change.latest();
        changed.add(Side::Claim(claim.metadata().key()));
        let volume = str_at(&claim.tree, "spec.volumeName");
        if !volume.is_empty() {
            changed.add(Side::Volume(Key::new("", volume)));
        }
    });
    let (changed, claims) = (queue.clone(), storage.claims.clone());
    storage.volumes.on_change(move |change| {
        let volume = change.latest();
        changed.add(Side::Volume(volume.metadata().key()));
        match plan::claim_key(&volume.tree) {
            Some((namespace, name)) => changed.add(Side::Claim(Key::new(namespace, name))),
            None if str_at(&volume.tree, "status.phase") == "Available" => wake_waiting(&claims, &changed),
            None => {}
        }
    });
    let (changed, claims) = (queue.clone(), storage.claims.clone());
    classes.on_change(move |_| wake_waiting(&claims, &changed));
}

fn wake_waiting(claims: &Cache<Object>, queue: &Queue<Side>) {
    let waiting = claims.all().into_iter().filter(|claim| plan::is_waiting(&claim.tree));
    waiting.for_each(|claim| queue.add(Side::Claim(claim.metadata().key())));
}

impl Reconcile for Binder {
    type Key = Side;

    fn name(&self) -> &'static str {
        "persistent-volume-binder"
    }

    async fn reconcile(&self, key: &Side) -> Result<Next, kube::Error> {
        let outcome = match key {
            Side::Claim(key) => self.claim(key).await,
            Side::Volume(key) => self.volume(key).await,
        };
        match outcome {
            // The cache is behind, or somebody was faster: look again.
            Err(error) if failure::is_conflict(&error) => Ok(Next::Retry),
            Err(error) if failure::is_not_found(&error) => Ok(Next::Change),
            outcome => outcome.map(|()| Next::Change),
        }
    }
}

impl Binder {
    async fn claim(&self, key: &Key) -> Result<(), kube::Error> {
        let Some(claim) = self.storage.claims.get(key) else { return Ok(()) };
        if claim.metadata().deleting() && plan::is_waiting(&claim.tree) {
            return Ok(());
        }
        let volumes = self.storage.volumes.all();
        let trees: Vec<&Value> = volumes.iter().map(|volume| &volume.tree).collect();
        let classes: Vec<Value> = self.classes.all().iter().map(|class| class.tree.clone()).collect();
        match plan::claim_step(&claim.tree, &Around { volumes: &trees, classes: &classes }) {
            ClaimStep::Bind(name) => {
                match trees.iter().find(|volume| str_at(volume, "metadata.name") == name) {
                    Some(volume) => self.bind(&claim, volume).await,
                    None => Ok(()),
                }
            }
            ClaimStep::Write(tree, said) => {
                self.write(&resources::CLAIMS, &tree, "").await?;
                self.say(&resources::CLAIMS, &claim, said.as_ref());
                Ok(())
            }
            ClaimStep::Wait(said) => {
                if let Some(status) = plan::claim_status(&claim.tree, "Pending", None) {
                    self.write(&resources::CLAIMS, &status, "status").await?;
                }
                self.say(&resources::CLAIMS, &claim, said.as_ref());
                Ok(())
            }
            ClaimStep::Lost(said) => {
                if let Some(status) = plan::claim_status(&claim.tree, "Lost", None) {
                    self.write(&resources::CLAIMS, &status, "status").await?;
                    self.say(&resources::CLAIMS, &claim, Some(&said));
                }
                Ok(())
            }
        }
    }

    /// The volume's side first, then its phase, then the claim's side, then the claim's status. Each step that is done
    /// already is left out, so that a binding that was interrupted is finished later.
    async fn bind(&self, claim: &Object, volume: &Value) -> Result<(), kube::Error> {
        let mut volume = volume.clone();
        if let Some(bound) = plan::volume_side(&volume, &claim.tree) {
            volume = self.write(&resources::VOLUMES, &bound, "").await?;
        }
        if let Some(status) = plan::volume_status(&volume, "Bound", None) {
            volume = self.write(&resources::VOLUMES, &status, "status").await?;
        }
        let mut tree = claim.tree.clone();
        if let Some(bound) = plan::claim_side(&tree, &volume) {
            tree = self.write(&resources::CLAIMS, &bound, "").await?;
        }
        if let Some(status) = plan::claim_status(&tree, "Bound", Some(&volume)) {
            self.write(&resources::CLAIMS, &status, "status").await?;
        }
        Ok(())
    }

    async fn volume(&self, key: &Key) -> Result<(), kube::Error> {
        let Some(volume) = self.storage.volumes.get(key) else { return Ok(()) };
        let claim = self.claim_of(&volume.tree).await?;
        match plan::volume_step(&volume.tree, claim.as_ref()) {
            VolumeStep::Nothing => Ok(()),
            VolumeStep::WakeClaim => {
                if let Some((namespace, name)) = plan::claim_key(&volume.tree) {
                    self.queue.add(Side::Claim(Key::new(namespace, name)));
                }
                Ok(())
            }
            VolumeStep::Unbind(tree) => self.write(&resources::VOLUMES, &tree, "").await.map(drop),
            VolumeStep::Phase(phase, said) => {
                if let Some(status) = plan::volume_status(&volume.tree, phase, said.as_ref()) {
                    self.write(&resources::VOLUMES, &status, "status").await?;
                    self.say(&resources::VOLUMES, &volume, said.as_ref());
                }
                Ok(())
            }
        }
    }

    /// The claim a volume names. The cache may not have seen it yet: before a volume is released the server is asked.
    async fn claim_of(&self, volume: &Value) -> Result<Option<Value>, kube::Error> {
        let Some((namespace, name)) = plan::claim_key(volume) else { return Ok(None) };
        let uid = str_at(volume, "spec.claimRef.uid");
        let known = self.storage.claims.get(&Key::new(namespace.as_str(), name.as_str()));
        if let Some(claim) = known.filter(|claim| claim.metadata.uid == uid) {
            return Ok(Some(claim.tree.clone()));
        }
        if uid.is_empty() || at(volume, "spec.claimRef").is_none() {
            return Ok(None);
        }
        match self.client.get(&resources::CLAIMS, &namespace, &name).await {
            Ok(claim) => Ok(Some(claim)),
            Err(error) if failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        resource: &'static Resource,
        tree: &Value,
        subresource: &str,
    ) -> Result<Value, kube::Error> {
        let place = (str_at(tree, "metadata.namespace"), str_at(tree, "metadata.name"), subresource);
        self.client.update_whole(resource, place, tree).await
    }

    fn say(&self, resource: &'static Resource, object: &Object, said: Option<&Said>) {
        if let Some(said) = said {
            let regarding = Regarding::new(resource, object.metadata());
            self.recorder.event(regarding, said.severity, said.reason, said.message.clone());
        }
    }
}
