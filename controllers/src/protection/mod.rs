//! Keeps volumes, claims and volume attributes classes while somebody uses them: each has a finalizer, which is taken away
//! when the object is to go and nobody needs it any more.

mod plan;

use std::sync::Arc;

use runtime::client::List;
use runtime::{Cache, Client, Key, Next, Queue, Reconcile, Resource, Source, View as _, failure};
use serde_json::Value;

use self::plan::Need;
use crate::views::{Named, Pod, Whole};
use crate::{House, resources};

type Object = Whole<Named>;

/// The caches the controllers share with the binder of volumes.
#[derive(Clone, Default)]
pub(crate) struct Storage {
    pub(crate) claims: Cache<Object>,
    pub(crate) volumes: Cache<Object>,
}

pub(crate) fn start(house: &mut House<'_>, storage: &Storage, pods: &Cache<Pod>) {
    start_claims(house, storage, pods);
    start_volumes(house, storage);
    start_classes(house, storage);
}

fn start_claims(house: &mut House<'_>, storage: &Storage, pods: &Cache<Pod>) {
    let queue = Queue::<Key>::new();
    wake_on_change(&storage.claims, &queue, plan::CLAIM_FINALIZER);
    let (touched, claims) = (queue.clone(), storage.claims.clone());
    pods.on_change(move |change| {
        let namespace = &change.latest().metadata.namespace;
        let going = claims.in_namespace(namespace).into_iter().filter(|claim| claim.metadata().deleting());
        going.for_each(|claim| touched.add(claim.metadata().key()));
    });
    let keeper = Keeper {
        client: house.client("pvc-protection-controller"),
        resource: &resources::CLAIMS,
        finalizer: plan::CLAIM_FINALIZER,
        objects: storage.claims.clone(),
    };
    let ready = storage.claims.clone();
    house.work(Arc::new(Claims(keeper)), queue, 1, async move { ready.synced().await });
}

fn start_volumes(house: &mut House<'_>, storage: &Storage) {
    let queue = Queue::<Key>::new();
    wake_on_change(&storage.volumes, &queue, plan::VOLUME_FINALIZER);
    let keeper = Keeper {
        client: house.client("pv-protection-controller"),
        resource: &resources::VOLUMES,
        finalizer: plan::VOLUME_FINALIZER,
        objects: storage.volumes.clone(),
    };
    let ready = storage.volumes.clone();
    house.work(Arc::new(Volumes(keeper)), queue, 1, async move { ready.synced().await });
}

fn start_classes(house: &mut House<'_>, storage: &Storage) {
    let queue = Queue::<Key>::new();
    let classes = Cache::<Object>::new();
    wake_on_change(&classes, &queue, plan::CLASS_FINALIZER);
    for users in [&storage.claims, &storage.volumes] {
        let (touched, classes) = (queue.clone(), classes.clone());
        users.on_change(move |_| {
            let going = classes.all().into_iter().filter(|class| class.metadata().deleting());
            going.for_each(|class| touched.add(class.metadata().key()));
        });
    }
    house.follow(&classes, Source::all(&resources::ATTRIBUTES_CLASSES));
    let keeper = Keeper {
        client: house.client("volumeattributesclass-protection-controller"),
        resource: &resources::ATTRIBUTES_CLASSES,
        finalizer: plan::CLASS_FINALIZER,
        objects: classes.clone(),
    };
    let (storage, ready) = (storage.clone(), storage.clone());
    house.work(Arc::new(Classes { keeper, storage }), queue, 1, async move {
        classes.synced().await;
        ready.claims.synced().await;
        ready.volumes.synced().await;
    });
}

fn wake_on_change(objects: &Cache<Object>, queue: &Queue<Key>, finalizer: &'static str) {
    let queue = queue.clone();
    objects.on_change(move |change| {
        if let Some(object) = change.new.filter(|object| plan::need(&object.tree, finalizer) != Need::Nothing)
        {
            queue.add(object.metadata().key());
        }
    });
}

/// Puts the finalizer of one kind on and takes it away.
struct Keeper {
    client: Client,
    resource: &'static Resource,
    finalizer: &'static str,
    objects: Cache<Object>,
}

impl Keeper {
    /// The object that is to go and may still be used; what has no finalizer and stays gets it here.
    async fn candidate(&self, key: &Key) -> Result<Option<Arc<Object>>, kube::Error> {
        let Some(object) = self.objects.get(key) else { return Ok(None) };
        match plan::need(&object.tree, self.finalizer) {
            Need::Nothing => Ok(None),
            Need::Hold => self.write(key, plan::held(&object.tree, self.finalizer)).await.map(|()| None),
            Need::Release => Ok(Some(object)),
        }
    }

    async fn release(&self, key: &Key, object: &Object) -> Result<Next, kube::Error> {
        self.write(key, plan::released(&object.tree, self.finalizer)).await.map(|()| Next::Change)
    }

    async fn write(&self, key: &Key, object: Value) -> Result<(), kube::Error> {
        let place = (key.namespace.as_str(), key.name.as_str(), "");
        match self.client.update(self.resource, place, &object).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

struct Claims(Keeper);

impl Reconcile for Claims {
    type Key = Key;

    fn name(&self) -> &'static str {
        "pvc-protection"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(claim) = self.0.candidate(key).await? else { return Ok(Next::Change) };
        // Asked of the server and not of a cache: a pod the cache has not seen yet would lose its volume.
        let pods: List<Value> = self.0.client.list(&resources::PODS, &key.namespace, &[]).await?;
        if pods.items.into_iter().flatten().any(|pod| plan::pod_uses(&pod, &claim.tree)) {
            return Ok(Next::Change);
        }
        self.0.release(key, &claim).await
    }
}

struct Volumes(Keeper);

impl Reconcile for Volumes {
    type Key = Key;

    fn name(&self) -> &'static str {
        "pv-protection"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        match self.0.candidate(key).await? {
            Some(volume) if !plan::is_bound(&volume.tree) => self.0.release(key, &volume).await,
            _ => Ok(Next::Change),
        }
    }
}

struct Classes {
    keeper: Keeper,
    storage: Storage,
}

impl Reconcile for Classes {
    type Key = Key;

    fn name(&self) -> &'static str {
        "volumeattributesclass-protection"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(class) = self.keeper.candidate(key).await? else { return Ok(Next::Change) };
        let users = [self.storage.claims.all(), self.storage.volumes.all()];
        if users.iter().flatten().any(|user| plan::has_class(&user.tree, &key.name)) {
            return Ok(Next::Change);
        }
        self.keeper.release(key, &class).await
    }
}
