//! Rolls a deployment from one template to the next.

mod math;
mod plan;
mod revision;
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{
    Cache, Change, Client, DeleteOptions, Expectations, Key, LabelSelector, Next, Queue, Reconcile, Recorder,
    Regarding, Severity, View as _, failure,
};
use serde_json::{Value, json};

use self::plan::{Action, NameTaken, Plan, View};
use self::revision::REVISION;
use crate::ownership::{Claim, Claimer, claim};
use crate::views::pod::{controlled_by, orphans_of};
use crate::views::workload::DeploymentStatus;
use crate::views::{Deployment, Pod, ReplicaSet, Text};
use crate::{House, resources};

const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);

struct Deployments {
    client: Client,
    recorder: Recorder,
    deployments: Cache<Text<Deployment>>,
    sets: Cache<Text<ReplicaSet>>,
    pods: Cache<Pod>,
    sets_written: Expectations,
    deployment_written: Expectations,
}

pub(crate) fn start(
    house: &mut House<'_>,
    deployments: &Cache<Text<Deployment>>,
    sets: &Cache<Text<ReplicaSet>>,
    pods: &Cache<Pod>,
) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    deployments.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, owners) = (queue.clone(), deployments.clone());
    sets.on_change(move |change| {
        for key in owners_of(change, &owners) {
            touched.add(key);
        }
    });
    let (lost, owners, between) = (queue.clone(), deployments.clone(), sets.clone());
    pods.on_change(move |change| {
        if let Some(key) = waiting_for_pod(change, &owners, &between) {
            lost.add(key);
        }
    });
    let client = house.client("deployment-controller");
    let controller = Arc::new(Deployments {
        recorder: house.recorder(&client, "deployment-controller"),
        client,
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
        sets_written: Expectations::default(),
        deployment_written: Expectations::default(),
    });
    let (deployments, sets, pods) = (deployments.clone(), sets.clone(), pods.clone());
    house.work(controller, queue, WORKERS, async move {
        deployments.synced().await;
        sets.synced().await;
        pods.synced().await;
    });
}

fn owners_of(change: &Change<'_, Text<ReplicaSet>>, deployments: &Cache<Text<Deployment>>) -> Vec<Key> {
    let mut keys = Vec::new();
    for set in [change.old, change.new].into_iter().flatten() {
        let metadata = set.metadata();
        if let Some(owner) = metadata.controller().filter(|owner| owner.kind == "Deployment") {
            let key = Key::new(metadata.namespace.clone(), owner.name.clone());
            let same = deployments.get(&key).is_some_and(|owned| owned.metadata().uid == owner.uid);
            if same && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    if let Some(orphan) = change.new.filter(|set| set.metadata().controller().is_none()) {
        let near = deployments.in_namespace(&orphan.metadata().namespace);
        let selecting = near.iter().filter(|near| {
            selector(near).is_some_and(|selector| selector.matches(&orphan.metadata().labels))
        });
        keys.extend(selecting.map(|near| near.metadata().key()));
    }
    keys
}

/// A deployment that recreates waits until its old pods are really gone.
fn waiting_for_pod(
    change: &Change<'_, Pod>,
    deployments: &Cache<Text<Deployment>>,
    sets: &Cache<Text<ReplicaSet>>,
) -> Option<Key> {
    let gone = change.new.is_none_or(|pod| pod.terminal());
    let pod = change.old.filter(|_| gone)?;
    let set = pod.metadata.controller()?;
    let set = sets.get(&Key::new(pod.metadata.namespace.clone(), set.name.clone()))?;
    let owner = set.metadata().controller()?;
    let key = Key::new(pod.metadata.namespace.clone(), owner.name.clone());
    deployments.get(&key).filter(|owner| owner.spec.strategy.r#type == "Recreate").map(|_| key)
}

/// A selector that selects nothing in particular selects nothing.
fn selector(deployment: &Deployment) -> Option<&LabelSelector> {
    deployment.spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

impl Reconcile for Deployments {
    type Key = Key;

    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(deployment) = self.deployments.get(key) else {
            self.sets_written.forget(key);
            self.deployment_written.forget(key);
            return Ok(Next::Change);
        };
        let fresh = self.sets_written.satisfied(key, &self.sets, now)
            && self.deployment_written.satisfied(key, &self.deployments, now);
        if !fresh {
            return Ok(Next::After(LAG_PAUSE));
        }
        let Some(selector) = selector(&deployment) else {
            return self.selects_everything(key, &deployment).await;
        };
        let sets = self.claim(&deployment, selector).await?;
        let pods = self.running_pods(&sets);
        let view = View { deployment: &deployment, sets: &sets, pods: &pods, now };
        let plan = plan::plan(&view);
        for action in &plan.actions {
            if !self.execute(key, &deployment, action).await? {
                return Ok(Next::Change);
            }
        }
        self.write_status(key, &deployment, &plan).await?;
        Ok(match plan.wake_at {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or(LAG_PAUSE)),
            None => Next::Change,
        })
    }
}

impl Deployments {
    async fn selects_everything(
        &self,
        key: &Key,
        deployment: &Text<Deployment>,
    ) -> Result<Next, kube::Error> {
        let text = "This deployment is selecting all pods. A non-empty selector is required.";
        self.tell(deployment, Severity::Warning, "SelectingAll", text.to_owned());
        if deployment.status.observed_generation < deployment.metadata.generation {
            let mut status = deployment.status.clone();
            status.observed_generation = deployment.metadata.generation;
            self.put_status(key, deployment, &status, None).await?;
        }
        Ok(Next::Change)
    }

    async fn claim(
        &self,
        deployment: &Text<Deployment>,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Text<ReplicaSet>>>, kube::Error> {
        let metadata = deployment.metadata();
        let claimer = Claimer {
            client: &self.client,
            owner: &resources::DEPLOYMENTS,
            controller: metadata,
            owned: &resources::REPLICA_SETS,
        };
        let mut candidates = self.sets.group(&controlled_by(&metadata.uid));
        candidates.extend(self.sets.group(&orphans_of(&metadata.namespace)));
        let (mut owned, mut may_adopt) = (Vec::new(), None);
        for set in candidates {
            let ours = match claim(metadata, selector, set.metadata()) {
                Claim::Foreign => false,
                Claim::Owned => true,
                Claim::Release => {
                    claimer.release(set.metadata()).await?;
                    false
                }
                Claim::Adopt => {
                    let allowed = match may_adopt {
                        Some(allowed) => allowed,
                        None => *may_adopt.insert(claimer.may_adopt().await?),
                    };
                    allowed && claimer.adopt(set.metadata()).await?
                }
            };
            if ours {
                owned.push(set);
            }
        }
        Ok(owned)
    }

    fn running_pods(&self, sets: &[Arc<Text<ReplicaSet>>]) -> BTreeMap<String, usize> {
        let count =
            |uid: &str| self.pods.group(&controlled_by(uid)).iter().filter(|pod| !pod.terminal()).count();
        sets.iter().map(|set| (set.metadata().uid.clone(), count(&set.metadata().uid))).collect()
    }

    /// Carries out one action; false when the plan is void and the next look decides.
    async fn execute(
        &self,
        key: &Key,
        deployment: &Text<Deployment>,
        action: &Action,
    ) -> Result<bool, kube::Error> {
        let sets = &resources::REPLICA_SETS;
        let (answer, event) = match action {
            Action::Create { name, tree, event } => {
                match self.client.create(sets, (&key.namespace, "", ""), tree).await {
                    Err(error) => return self.not_created(key, deployment, name, error).await,
                    answer => (answer, event),
                }
            }
            Action::Update { name, tree, event } => {
                (self.client.update(sets, (&key.namespace, name, ""), tree).await, event)
            }
            Action::Delete { name, uid } => {
                let options = DeleteOptions::of(uid);
                return match self.client.delete(sets, &key.namespace, name, &options).await {
                    Err(error) if !failure::is_not_found(&error) => Err(error),
                    _ => {
                        let set = Key::new(key.namespace.clone(), name.clone());
                        self.sets_written.deleted(key, set, uid.clone(), Timestamp::now());
                        Ok(true)
                    }
                };
            }
        };
        self.sets_written.wrote(key, answer?.metadata.position(), Timestamp::now());
        if let Some(event) = event {
            self.tell(deployment, Severity::Normal, "ScalingReplicaSet", event.clone());
        }
        Ok(true)
    }

    async fn not_created(
        &self,
        key: &Key,
        deployment: &Text<Deployment>,
        name: &str,
        error: kube::Error,
    ) -> Result<bool, kube::Error> {
        if failure::is_namespace_terminating(&error) {
            return Ok(false);
        }
        if failure::is_already_exists(&error) {
            let taken: Text<ReplicaSet> =
                self.client.get(&resources::REPLICA_SETS, &key.namespace, name).await?;
            return match plan::name_taken(deployment, &taken) {
                NameTaken::Ours => {
                    self.sets_written.wrote(key, taken.metadata.position(), Timestamp::now());
                    Ok(false)
                }
                NameTaken::Collision(status) => {
                    self.put_status(key, deployment, &status, None).await?;
                    Err(error)
                }
            };
        }
        let text = format!("Failed to create new replica set \"{name}\": {}", failure::message(&error));
        if let Some(status) = plan::creation_failed(deployment, &text, Timestamp::now()) {
            self.put_status(key, deployment, &status, None).await?;
        }
        self.tell(deployment, Severity::Warning, "ReplicaSetCreateError", text);
        Err(error)
    }

    async fn write_status(
        &self,
        key: &Key,
        deployment: &Text<Deployment>,
        plan: &Plan,
    ) -> Result<(), kube::Error> {
        let shown = deployment.metadata.annotations.get(REVISION);
        let revised = plan.revision.as_ref().filter(|revision| shown != Some(revision));
        if deployment.status == plan.status && revised.is_none() {
            return Ok(());
        }
        self.put_status(key, deployment, &plan.status, revised.map(String::as_str)).await
    }

    /// The revision is an annotation, but like upstream it is written with the status.
    async fn put_status(
        &self,
        key: &Key,
        deployment: &Text<Deployment>,
        status: &DeploymentStatus,
        revision: Option<&str>,
    ) -> Result<(), kube::Error> {
        let mut tree: Value = deployment.tree();
        tree["status"] = json!(status);
        if let Some(revision) = revision {
            tree["metadata"]["annotations"][REVISION] = revision.into();
        }
        let path = (key.namespace.as_str(), key.name.as_str(), "status");
        match self.client.update(&resources::DEPLOYMENTS, path, &tree).await {
            Ok(written) => {
                self.deployment_written.wrote(key, written.metadata.position(), Timestamp::now());
                Ok(())
            }
            Err(error) if failure::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, deployment: &Deployment, severity: Severity, reason: &str, message: String) {
        let regarding = Regarding::new(&resources::DEPLOYMENTS, &deployment.metadata);
        self.recorder.event(regarding, severity, reason, message);
    }
}
