//! Deletes objects whose owners are gone, and carries out foreground and orphan deletion.
//!
//! Follows the metadata of everything the server serves. New kinds are noticed
//! because their definitions are objects that are followed too, and when an
//! owner of an unknown kind is named.

mod graph;
mod monitors;
mod plan;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use runtime::client::{PartialObject, Preconditions};
use runtime::{
    Client, DeleteOptions, Metadata, Next, OwnerReference, PatchKind, Queue, Reconcile, Recorder, Regarding,
    Resource, Severity, failure,
};
use serde_json::{Value, json};

use self::graph::{FOREGROUND, Found, Graph, Identity, Item, ORPHAN, Work};
use self::monitors::{Monitors, Told};
use self::plan::{Dependents, OwnerState, Verdict, Wishes};
use crate::House;
use crate::namespace::Emptied;
use crate::quota::Freed;

const WORKERS: usize = 20;
/// Dependents that forget one owner at a time.
const ORPHANING_CONCURRENCY: usize = 16;
/// An owner that was looked up but not observed yet is expected this soon.
const OBSERVE_PAUSE: Duration = Duration::from_millis(500);

/// The graph, the queue it feeds, and who is told of oddities.
#[derive(Clone)]
struct Known {
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Work>,
    recorder: Recorder,
}

struct Collector {
    client: Client,
    known: Known,
    monitors: Arc<Monitors>,
}

pub(crate) fn start(house: &mut House<'_>, emptied: Emptied, freed: Freed) {
    let client = house.client("generic-garbage-collector");
    let recorder = house.recorder(&client, "garbage-collector-controller");
    let known = Known { graph: Arc::default(), queue: Queue::new(), recorder };
    let told = Told { known: known.clone(), emptied, freed };
    let monitors = Monitors::new(house.reader.clone(), client.clone(), told, house.cancel.clone());
    house.tasks.spawn(Arc::clone(&monitors).run());
    let synced = Arc::clone(&monitors);
    let collector = Arc::new(Collector { client, known: known.clone(), monitors });
    house.work(collector, known.queue, WORKERS, async move { synced.synced().await });
}

impl Known {
    fn observe(&self, item: Item) {
        let found = self.lock().observe(item);
        self.follow_up(found);
    }

    fn gone(&self, uid: &str) {
        let found = self.lock().gone(uid);
        self.follow_up(found);
    }

    fn follow_up(&self, found: Found) {
        for work in found.work {
            self.queue.add(work);
        }
        for wrong in found.wrong {
            let owner = &wrong.reference;
            let namespace = &wrong.dependent.namespace;
            // The form in which Go prints an object reference.
            let described = format!(
                "[{}/{}, namespace: {namespace}, name: {}, uid: {}]",
                owner.api_version, owner.kind, owner.name, owner.uid
            );
            let message = format!("ownerRef {described} does not exist in namespace \"{namespace}\"");
            self.recorder.event(
                regarding(&wrong.dependent),
                Severity::Warning,
                "OwnerRefInvalidNamespace",
                message,
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Graph> {
        self.graph.lock().expect("no holder panics")
    }
}

fn regarding(identity: &Identity) -> Regarding {
    Regarding {
        api_version: identity.api_version.clone(),
        kind: identity.kind.clone(),
        namespace: identity.namespace.clone(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        resource_version: String::new(),
    }
}

impl Reconcile for Collector {
    type Key = Work;

    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    async fn reconcile(&self, work: &Work) -> Result<Next, kube::Error> {
        match work {
            Work::Collect(uid) => self.collect(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        }
    }
}

/// What looking up an owner told.
enum Looked {
    State(OwnerState, /* observed by a watch */ bool),
    /// Its kind is not known (yet).
    UnknownKind,
    /// A cluster-scoped object cannot be owned by a namespaced one; no retry helps.
    Impossible,
}

impl Collector {
    async fn collect(&self, uid: &str) -> Result<Next, kube::Error> {
        let Some(item) = self.known.lock().get(uid).cloned() else { return Ok(Next::Change) };
        // Being deleted is a one-way trip: its dependents are looked at when it is over.
        if item.deleting() && !item.foreground() {
            return Ok(Next::Change);
        }
        let identity = item.identity();
        let Some(resource) = self.resource(&identity) else { return Ok(Next::Retry) };
        let latest = match self.look_up(&resource, &identity).await? {
            Some(latest) => latest,
            None => {
                self.known.gone(uid);
                return Ok(Next::Change);
            }
        };
        if item.foreground() {
            return self.await_dependents(&resource, &identity).await;
        }
        self.judge(&resource, &identity, &latest.metadata).await
    }

    async fn judge(
        &self,
        resource: &Resource,
        identity: &Identity,
        latest: &Metadata,
    ) -> Result<Next, kube::Error> {
        let mut owners = Vec::new();
        let mut next = Next::Change;
        for reference in &latest.owner_references {
            match self.look_at_owner(reference, &identity.namespace).await? {
                Looked::State(state, observed) => {
                    owners.push((reference, state));
                    if state != OwnerState::Dangling && !observed {
                        // Should it go before any watch shows it, only another look will tell.
                        next = Next::After(OBSERVE_PAUSE);
                    }
                }
                Looked::UnknownKind => return Ok(Next::Retry),
                Looked::Impossible => return Ok(Next::Change),
            }
        }
        let dependents = self.dependents(&identity.uid);
        let has = |name: &str| latest.finalizers.iter().any(|finalizer| finalizer == name);
        let wishes = Wishes { orphan: has(ORPHAN), foreground: has(FOREGROUND) };
        match plan::judge(&owners, wishes, dependents) {
            Verdict::Keep => return Ok(next),
            Verdict::Forget(uids) => self.forget(resource, identity, &uids).await?,
            Verdict::DeleteForeground { unblock } => {
                if unblock {
                    self.unblock(resource, identity, &latest.owner_references).await?;
                    // The patch moved the object on, so its version is no precondition any more.
                    return self.delete(resource, identity, None, "Foreground").await;
                }
                return self.delete(resource, identity, Some(latest), "Foreground").await;
            }
            Verdict::Delete(policy) => return self.delete(resource, identity, Some(latest), policy).await,
        }
        Ok(next)
    }

    /// An object that waits for its dependents: lets it go, or looks at those it waits for.
    async fn await_dependents(&self, resource: &Resource, identity: &Identity) -> Result<Next, kube::Error> {
        let blocking: Vec<(String, bool)> = {
            let graph = self.known.lock();
            let items = graph.blocking(&identity.uid);
            items.iter().map(|item| (item.uid().to_owned(), item.foreground())).collect()
        };
        if blocking.is_empty() {
            self.remove_finalizer(resource, identity, FOREGROUND).await?;
            return Ok(Next::Change);
        }
        for (uid, foreground) in blocking {
            if !foreground {
                self.known.queue.add(Work::Collect(uid));
            }
        }
        Ok(Next::Change)
    }

    async fn orphan(&self, uid: &str) -> Result<Next, kube::Error> {
        let Some(item) = self.known.lock().get(uid).cloned() else { return Ok(Next::Change) };
        let identity = item.identity();
        let Some(resource) = self.resource(&identity) else { return Ok(Next::Retry) };
        let dependents: Vec<Identity> =
            self.known.lock().dependents(uid).iter().map(|item| item.identity()).collect();
        let owner = [uid.to_owned()];
        let each = futures::stream::iter(dependents).map(|dependent| {
            let owner = &owner;
            async move {
                let Some(resource) = self.resource(&dependent) else { return Ok(false) };
                self.forget(&resource, &dependent, owner).await.map(|()| true)
            }
        });
        let answers: Vec<Result<bool, kube::Error>> =
            each.buffer_unordered(ORPHANING_CONCURRENCY).collect().await;
        for answer in answers {
            if !answer? {
                return Ok(Next::Retry);
            }
        }
        self.remove_finalizer(&resource, &identity, ORPHAN).await?;
        Ok(Next::Change)
    }

    async fn look_at_owner(
        &self,
        reference: &OwnerReference,
        namespace: &str,
    ) -> Result<Looked, kube::Error> {
        if self.known.lock().known_absent(reference, namespace) {
            return Ok(Looked::State(OwnerState::Dangling, true));
        }
        let Some(resource) = self.monitors.find(&reference.api_version, &reference.kind) else {
            self.monitors.refresh();
            return Ok(Looked::UnknownKind);
        };
        if namespace.is_empty() && resource.namespaced {
            return Ok(Looked::Impossible);
        }
        let namespace = if resource.namespaced { namespace } else { "" };
        let owner = match self.client.get_metadata(&resource, namespace, &reference.name).await {
            Ok(owner) if owner.metadata.uid == reference.uid => owner.metadata,
            Err(error) if !failure::is_not_found(&error) => return Err(error),
            _ => {
                self.known.lock().owner_absent(reference, namespace);
                return Ok(Looked::State(OwnerState::Dangling, true));
            }
        };
        let waiting = owner.deleting() && owner.finalizers.iter().any(|name| name == FOREGROUND);
        let state = if waiting { OwnerState::Waiting } else { OwnerState::Solid };
        let followed = self.monitors.follows(&resource);
        let observed = !followed || self.known.lock().get(&reference.uid).is_some();
        Ok(Looked::State(state, observed))
    }

    fn dependents(&self, uid: &str) -> Dependents {
        let graph = self.known.lock();
        let items = graph.dependents(uid);
        match items.iter().any(|item| item.foreground()) {
            true => Dependents::SomeWaiting,
            false if items.is_empty() => Dependents::None,
            false => Dependents::Some,
        }
    }

    fn resource(&self, identity: &Identity) -> Option<Resource> {
        self.monitors.find(&identity.api_version, &identity.kind)
    }

    async fn look_up(
        &self,
        resource: &Resource,
        identity: &Identity,
    ) -> Result<Option<PartialObject>, kube::Error> {
        match self.client.get_metadata(resource, &identity.namespace, &identity.name).await {
            Ok(object) if object.metadata.uid == identity.uid => Ok(Some(object)),
            Ok(_) => Ok(None),
            Err(error) if failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly what was judged. Should it have changed in other ways than
    /// its owners, it is deleted all the same: a busy object must not escape.
    async fn delete(
        &self,
        resource: &Resource,
        identity: &Identity,
        judged: Option<&Metadata>,
        policy: &'static str,
    ) -> Result<Next, kube::Error> {
        let mut options = DeleteOptions {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(identity.uid.clone()),
                resource_version: judged.map(|judged| judged.resource_version.clone()),
            }),
            ..DeleteOptions::default()
        };
        let mut answer = self.client.delete(resource, &identity.namespace, &identity.name, &options).await;
        if let (Err(error), Some(judged)) = (&answer, judged)
            && failure::is_conflict(error)
            && let Some(now) = self.look_up(resource, identity).await?
            && now.metadata.owner_references == judged.owner_references
        {
            options.preconditions =
                Some(Preconditions { uid: Some(identity.uid.clone()), resource_version: None });
            answer = self.client.delete(resource, &identity.namespace, &identity.name, &options).await;
        }
        match answer {
            Err(error) if failure::is_not_found(&error) => {
                self.known.gone(&identity.uid);
                Ok(Next::Change)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Next::Change),
        }
    }

    /// Removes references to owners; strategic merge first, as it needs no version.
    async fn forget(
        &self,
        resource: &Resource,
        identity: &Identity,
        owners: &[String],
    ) -> Result<(), kube::Error> {
        let gone: Vec<Value> = owners.iter().map(|uid| json!({ "$patch": "delete", "uid": uid })).collect();
        let patch = json!({ "metadata": { "ownerReferences": gone, "uid": identity.uid } });
        let owners: BTreeSet<&String> = owners.iter().collect();
        self.patch_owners(resource, identity, &patch, |references| {
            references.retain(|reference| !owners.contains(&reference.uid));
        })
        .await
    }

    async fn unblock(
        &self,
        resource: &Resource,
        identity: &Identity,
        references: &[OwnerReference],
    ) -> Result<(), kube::Error> {
        let blocking = references.iter().filter(|reference| reference.block_owner_deletion == Some(true));
        let freed: Vec<Value> = blocking
            .map(|reference| json!(OwnerReference { block_owner_deletion: Some(false), ..reference.clone() }))
            .collect();
        let patch = json!({ "metadata": { "ownerReferences": freed, "uid": identity.uid } });
        self.patch_owners(resource, identity, &patch, |references| {
            for reference in references {
                reference.block_owner_deletion = Some(false);
            }
        })
        .await
    }

    async fn patch_owners(
        &self,
        resource: &Resource,
        identity: &Identity,
        strategic: &Value,
        change: impl FnOnce(&mut Vec<OwnerReference>),
    ) -> Result<(), kube::Error> {
        let path = (identity.namespace.as_str(), identity.name.as_str(), "");
        match self.client.patch(resource, path, PatchKind::Strategic, strategic).await {
            Err(error) if failure::is_not_found(&error) => return Ok(()),
            Err(error) if !failure::is_unsupported_media_type(&error) => return Err(error),
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
        let Some(mut latest) = self.look_up(resource, identity).await? else { return Ok(()) };
        change(&mut latest.metadata.owner_references);
        let patch = json!({ "metadata": {
            "resourceVersion": latest.metadata.resource_version,
            "ownerReferences": latest.metadata.owner_references,
        } });
        self.client.patch(resource, path, PatchKind::Merge, &patch).await.map(|_| ())
    }

    async fn remove_finalizer(
        &self,
        resource: &Resource,
        identity: &Identity,
        finalizer: &str,
    ) -> Result<(), kube::Error> {
        let Some(latest) = self.look_up(resource, identity).await? else { return Ok(()) };
        let rest: Vec<&String> =
            latest.metadata.finalizers.iter().filter(|name| *name != finalizer).collect();
        if rest.len() == latest.metadata.finalizers.len() {
            return Ok(());
        }
        let finalizers = if rest.is_empty() { Value::Null } else { json!(rest) };
        let patch = json!({ "metadata": {
            "resourceVersion": latest.metadata.resource_version,
            "finalizers": finalizers,
        } });
        let path = (identity.namespace.as_str(), identity.name.as_str(), "");
        match self.client.patch(resource, path, PatchKind::Merge, &patch).await {
            Err(error) if failure::is_not_found(&error) => Ok(()),
            answer => answer.map(|_| ()),
        }
    }
}
