//! Keeps as many pods of a template as a ReplicaSet wants.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{
    Cache, Change, Client, DeleteOptions, Expectations, Key, LabelSelector, Metadata, Next, OwnerReference,
    Queue, Reconcile, Recorder, Regarding, Severity, View as _, failure,
};
use serde_json::{Value, json};

use self::plan::{Action, View};
use crate::ownership::{Claim, Claimer, claim};
use crate::views::pod::{controlled_by, orphans_of};
use crate::views::workload::ReplicaSetStatus;
use crate::views::{Pod, ReplicaSet, Whole};
use crate::{House, resources};

const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);

type Set = Whole<ReplicaSet>;

struct ReplicaSets {
    client: Client,
    recorder: Recorder,
    sets: Cache<Set>,
    pods: Cache<Pod>,
    /// Pods written for a set.
    pods_written: Expectations,
    /// The set itself, written.
    set_written: Expectations,
}

pub(crate) fn start(house: &mut House<'_>, sets: &Cache<Set>, pods: &Cache<Pod>) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    sets.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, owners) = (queue.clone(), sets.clone());
    pods.on_change(move |change| {
        for key in owners_of(change, &owners) {
            touched.add(key);
        }
    });
    let client = house.client("replicaset-controller");
    let controller = Arc::new(ReplicaSets {
        recorder: house.recorder(&client, "replicaset-controller"),
        client,
        sets: sets.clone(),
        pods: pods.clone(),
        pods_written: Expectations::default(),
        set_written: Expectations::default(),
    });
    let (sets, pods) = (sets.clone(), pods.clone());
    house.work(controller, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
    });
}

/// Sets that a change of a pod concerns: its owners, or for an orphan those that select it.
fn owners_of(change: &Change<'_, Pod>, sets: &Cache<Set>) -> Vec<Key> {
    let mut keys = Vec::new();
    for pod in [change.old, change.new].into_iter().flatten() {
        if let Some(owner) = pod.metadata.controller().filter(|owner| owner.kind == "ReplicaSet") {
            let key = Key::new(pod.metadata.namespace.clone(), owner.name.clone());
            if sets.get(&key).is_some_and(|set| set.metadata().uid == owner.uid) && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let orphan = change.new.filter(|pod| pod.metadata.controller().is_none() && pod.active());
    if let Some(orphan) = orphan {
        let near = sets.in_namespace(&orphan.metadata.namespace);
        let selecting =
            near.iter().filter(|set| selector(set).is_some_and(|selector| selector.matches(orphan.labels())));
        keys.extend(selecting.map(|set| set.metadata().key()));
    }
    keys
}

/// A selector that selects nothing in particular selects nothing.
fn selector(set: &ReplicaSet) -> Option<&LabelSelector> {
    set.spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

impl Reconcile for ReplicaSets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "replicaset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(set) = self.sets.get(key) else {
            self.pods_written.forget(key);
            self.set_written.forget(key);
            return Ok(Next::Change);
        };
        let Some(selector) = selector(&set) else { return Ok(Next::Change) };
        // A status counted from a cache that lags behind our own writes would be believed
        // by the deployment, so nothing at all is done before the cache has them.
        let fresh = self.set_written.satisfied(key, &self.sets, now)
            && self.pods_written.satisfied(key, &self.pods, now);
        if !fresh {
            return Ok(Next::After(LAG_PAUSE));
        }
        let (owned, unclaimed) = self.claim(&set, selector).await?;
        let terminating = owned.iter().filter(|pod| pod.metadata.deleting() && !pod.terminal()).count();
        let view = View {
            set: &set,
            active: owned.iter().filter(|pod| pod.active()).map(Arc::as_ref).collect(),
            terminating,
            related_on_node: self.related_on_node(&set),
            now,
        };
        let failure = match plan::plan(&view) {
            Some(action) => self.execute(&set, action).await.err(),
            None => None,
        };
        let words = failure.as_ref().map(failure::message);
        let status = plan::status(&view, words.as_deref());
        self.write_status(key, &set, &status).await?;
        if let Some(error) = failure.or(unclaimed) {
            return Err(error);
        }
        Ok(match plan::wake_at(&view) {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Next::Change,
        })
    }
}

impl ReplicaSets {
    /// The pods of a set after adopting orphans and letting others go.
    async fn claim(
        &self,
        set: &Set,
        selector: &LabelSelector,
    ) -> Result<(Vec<Arc<Pod>>, Option<kube::Error>), kube::Error> {
        let metadata = set.metadata();
        let claimer = Claimer {
            client: &self.client,
            owner: &resources::REPLICA_SETS,
            controller: metadata,
            owned: &resources::PODS,
        };
        let mut candidates = self.pods.group(&controlled_by(&metadata.uid));
        candidates.extend(self.pods.group(&orphans_of(&metadata.namespace)));
        let (mut owned, mut may_adopt, mut failed) = (Vec::new(), None, None);
        for pod in candidates {
            let outcome = match claim(metadata, selector, &pod.metadata) {
                Claim::Foreign => Ok(false),
                Claim::Owned => Ok(true),
                // Who has ended is adopted by nobody, and released when it goes.
                Claim::Adopt | Claim::Release if pod.terminal() => Ok(false),
                Claim::Release => claimer.release(&pod.metadata).await.map(|()| false),
                Claim::Adopt => {
                    let allowed = match may_adopt {
                        Some(allowed) => allowed,
                        None => *may_adopt.insert(claimer.may_adopt().await?),
                    };
                    if allowed { claimer.adopt(&pod.metadata).await } else { Ok(false) }
                }
            };
            match outcome {
                Ok(true) => owned.push(pod),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        Ok((owned, failed))
    }

    fn related_on_node(&self, set: &Set) -> BTreeMap<String, usize> {
        let siblings = match set.metadata().controller() {
            Some(owner) => self.sets.group(&controlled_by(&owner.uid)),
            None => Vec::new(),
        };
        let mut uids: Vec<String> = siblings.iter().map(|sibling| sibling.metadata().uid.clone()).collect();
        if uids.is_empty() {
            uids.push(set.metadata().uid.clone());
        }
        let mut on_node = BTreeMap::<String, usize>::new();
        for pod in uids.iter().flat_map(|uid| self.pods.group(&controlled_by(uid))) {
            if pod.active() {
                *on_node.entry(pod.spec.node_name.clone()).or_default() += 1;
            }
        }
        on_node
    }

    async fn execute(&self, set: &Set, action: Action) -> Result<(), kube::Error> {
        match action {
            Action::Create(count) => self.create(set, count).await,
            Action::Delete(victims) => self.delete(set, victims).await,
        }
    }

    /// Creates pods in batches of 1, 2, 4 ...: what fails for one will fail for
    /// all, and should not be tried five hundred times.
    async fn create(&self, set: &Set, count: usize) -> Result<(), kube::Error> {
        let pod = pod_of(&set.tree, set.metadata());
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            batch = batch.min(left);
            let tries = futures::future::join_all((0..batch).map(|_| self.create_one(set, &pod))).await;
            tries.into_iter().collect::<Result<Vec<()>, kube::Error>>()?;
            left -= batch;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, set: &Set, pod: &Value) -> Result<(), kube::Error> {
        let metadata = set.metadata();
        let key = metadata.key();
        let answer = self.client.create(&resources::PODS, (&metadata.namespace, "", ""), pod).await;
        match answer {
            Ok(created) => {
                let name = created["metadata"]["name"].as_str().unwrap_or_default();
                let version = created["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                self.pods_written.wrote(&key, runtime::metadata::position(version), Timestamp::now());
                self.tell(metadata, Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            // Nothing can be created any more, and nobody needs to be told.
            Err(error) if failure::is_namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let words = failure::message(&error);
                self.tell(metadata, Severity::Warning, "FailedCreate", format!("Error creating: {words}"));
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &Set, victims: Vec<(String, String)>) -> Result<(), kube::Error> {
        let each = victims.into_iter().map(|(name, uid)| self.delete_one(set, name, uid));
        futures::future::join_all(each).await.into_iter().collect()
    }

    async fn delete_one(&self, set: &Set, name: String, uid: String) -> Result<(), kube::Error> {
        let metadata = set.metadata();
        let options = DeleteOptions::of(&uid);
        match self.client.delete(&resources::PODS, &metadata.namespace, &name, &options).await {
            Err(error) if !failure::is_not_found(&error) => {
                let words = failure::message(&error);
                self.tell(metadata, Severity::Warning, "FailedDelete", format!("Error deleting: {words}"));
                Err(error)
            }
            answer => {
                if answer.is_ok() {
                    self.tell(metadata, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                let pod = Key::new(metadata.namespace.clone(), name);
                self.pods_written.deleted(&metadata.key(), pod, uid, Timestamp::now());
                Ok(())
            }
        }
    }

    /// Writes the status if it says something new; once more on the live object after a conflict.
    async fn write_status(&self, key: &Key, set: &Set, status: &ReplicaSetStatus) -> Result<(), kube::Error> {
        if set.status == *status {
            return Ok(());
        }
        let path = (key.namespace.as_str(), key.name.as_str(), "status");
        let mut tree = set.tree.clone();
        tree["status"] = json!(status);
        let mut answer = self.client.update(&resources::REPLICA_SETS, path, &tree).await;
        if answer.as_ref().is_err_and(failure::is_conflict) {
            let mut live: Value =
                self.client.get(&resources::REPLICA_SETS, &key.namespace, &key.name).await?;
            if live["metadata"]["uid"] == tree["metadata"]["uid"] {
                live["status"] = json!(status);
                answer = self.client.update(&resources::REPLICA_SETS, path, &live).await;
            }
        }
        match answer {
            Ok(written) => {
                let version = written["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                self.set_written.wrote(key, runtime::metadata::position(version), Timestamp::now());
                Ok(())
            }
            Err(error) if failure::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, set: &Metadata, severity: Severity, reason: &str, message: String) {
        self.recorder.event(Regarding::new(&resources::REPLICA_SETS, set), severity, reason, message);
    }
}

/// The pod a template stands for.
fn pod_of(set: &Value, metadata: &Metadata) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", metadata.name),
            "ownerReferences": [OwnerReference::controlled_by("apps/v1", "ReplicaSet", metadata)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            pod["metadata"][field] = template["metadata"][field].clone();
        }
    }
    pod
}
