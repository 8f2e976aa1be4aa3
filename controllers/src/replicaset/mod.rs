//! Keeps as many pods of a template as a ReplicaSet or a ReplicationController wants.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{
    Cache, Client, DeleteOptions, Expectations, Key, LabelSelector, Metadata, Next, Queue, Reconcile,
    Recorder, Regarding, Resource, Severity, View as _, failure,
};
use serde_json::{Value, json};

use self::plan::{Action, View};
use crate::ownership::{claim_pods, owners_of, pod_of, write_status};
use crate::views::pod::controlled_by;
use crate::views::workload::ReplicaSetStatus;
use crate::views::{Pod, ReplicaSet, Text};
use crate::{House, resources};

const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);

type Set = Text<ReplicaSet>;

/// Which of the two kinds is kept: both have one shape and one plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    name: &'static str,
    resource: &'static Resource,
    /// Identity of the controller, and the name in its events.
    controller: &'static str,
    /// Whether the status counts pods on their way out.
    counts_terminating: bool,
}

pub(crate) static REPLICA_SETS: Kind = Kind {
    name: "replicaset",
    resource: &resources::REPLICA_SETS,
    controller: "replicaset-controller",
    counts_terminating: true,
};
pub(crate) static REPLICATION_CONTROLLERS: Kind = Kind {
    name: "replicationcontroller",
    resource: &resources::REPLICATION_CONTROLLERS,
    controller: "replication-controller",
    counts_terminating: false,
};

struct ReplicaSets {
    kind: &'static Kind,
    client: Client,
    recorder: Recorder,
    sets: Cache<Set>,
    pods: Cache<Pod>,
    /// Pods written for a set.
    pods_written: Expectations,
    /// The set itself, written.
    set_written: Expectations,
}

pub(crate) fn start(house: &mut House<'_>, kind: &'static Kind, sets: &Cache<Set>, pods: &Cache<Pod>) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    sets.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, owners) = (queue.clone(), sets.clone());
    pods.on_change(move |change| {
        for key in owners_of(change, &kind.resource.kind, &owners, |set| selector(set)) {
            touched.add(key);
        }
    });
    let client = house.client(kind.controller);
    let controller = Arc::new(ReplicaSets {
        kind,
        recorder: house.recorder(&client, kind.controller),
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

/// A selector that selects nothing in particular selects nothing.
fn selector(set: &ReplicaSet) -> Option<&LabelSelector> {
    set.spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

impl Reconcile for ReplicaSets {
    type Key = Key;

    fn name(&self) -> &'static str {
        self.kind.name
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
        let (owned, unclaimed) =
            claim_pods(&self.client, self.kind.resource, set.metadata(), selector, &self.pods).await?;
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
        let mut status = plan::status(&view, words.as_deref());
        status.terminating_replicas = status.terminating_replicas.filter(|_| self.kind.counts_terminating);
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
        let pod = pod_of(&set.tree(), self.kind.resource, set.metadata());
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
                let created = created.metadata;
                self.pods_written.wrote(&key, created.position(), Timestamp::now());
                let text = format!("Created pod: {}", created.name);
                self.tell(metadata, Severity::Normal, "SuccessfulCreate", text);
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
        let written = write_status(&self.client, self.kind.resource, set.tree(), json!(status)).await?;
        if let Some(position) = written {
            self.set_written.wrote(key, position, Timestamp::now());
        }
        Ok(())
    }

    fn tell(&self, set: &Metadata, severity: Severity, reason: &str, message: String) {
        self.recorder.event(Regarding::new(self.kind.resource, set), severity, reason, message);
    }
}
