//! Runs jobs to their end, and deletes those whose time after it is over.

mod end;
mod index_limits;
mod indexes;
mod plan;
mod policy;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runtime::{
    Cache, Change, Client, DeleteOptions, Expectations, Key, LabelSelector, Next, PatchKind, Queue,
    Reconcile, View as _, failure,
};
use serde_json::{Value, json};

use self::index_limits::{FAILURES, IGNORED};
use self::plan::{FINALIZER, INDEX, NewPod, View};
use crate::ownership::{claim_pods, owners_of, pod_of, write_status};
use crate::podcontrol::PodControl;
use crate::views::batch::Job;
use crate::views::{Pod, Text};
use crate::{House, resources};

const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);
/// The name of this controller in `spec.managedBy`.
const MANAGER: &str = "kubernetes.io/job-controller";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

type TextJob = Text<Job>;

struct Jobs {
    control: PodControl,
    /// Who may delete jobs.
    cleaner: Client,
    jobs: Cache<TextJob>,
    pods: Cache<Pod>,
    job_written: Expectations,
}

pub(crate) fn start(house: &mut House<'_>, jobs: &Cache<TextJob>, pods: &Cache<Pod>) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    jobs.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, owners) = (queue.clone(), jobs.clone());
    pods.on_change(move |change| {
        for key in owners_of(change, &resources::JOBS.kind, &owners, |job| job.spec.selector.as_ref()) {
            touched.add(key);
        }
        if let Some(key) = lost(change, &owners) {
            touched.add(key);
        }
    });
    let client = house.client("job-controller");
    let recorder = house.recorder(&client, "job-controller");
    let controller = Arc::new(Jobs {
        control: PodControl::new(client, recorder, &resources::JOBS),
        cleaner: house.client("ttl-after-finished-controller"),
        jobs: jobs.clone(),
        pods: pods.clone(),
        job_written: Expectations::default(),
    });
    let (jobs, pods) = (jobs.clone(), pods.clone());
    house.work(controller, queue, WORKERS, async move {
        jobs.synced().await;
        pods.synced().await;
    });
}

/// The job that a pod waits for in vain: it keeps its finalizer, and there is no job any more.
fn lost(change: &Change<'_, Pod>, jobs: &Cache<TextJob>) -> Option<Key> {
    let pod = change.new.filter(|pod| plan::tracked(pod))?;
    let name = job_name(pod)?;
    let key = Key::new(pod.metadata.namespace.clone(), name);
    jobs.get(&key).is_none().then_some(key)
}

fn job_name(pod: &Pod) -> Option<String> {
    match pod.metadata.controller() {
        Some(owner) if owner.kind == "Job" => Some(owner.name.clone()),
        Some(_) => None,
        None => pod.metadata.labels.get(NAME_LABEL).cloned(),
    }
}

impl Reconcile for Jobs {
    type Key = Key;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(job) = self.jobs.get(key) else {
            self.control.forget(key);
            self.job_written.forget(key);
            return self.release_lost(key).await;
        };
        if job.spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER) {
            return Ok(Next::Change);
        }
        let fresh =
            self.job_written.satisfied(key, &self.jobs, now) && self.control.fresh(key, &self.pods, now);
        if !fresh {
            return Ok(Next::After(LAG_PAUSE));
        }
        if let Some(finished) = job.finished().and_then(|condition| condition.last_transition_time) {
            return self.clean_up(&job, finished, now).await;
        }
        let none = LabelSelector::default();
        let selector = job.spec.selector.as_ref().unwrap_or(&none);
        let client = &self.control.client;
        let (owned, unclaimed) =
            claim_pods(client, &resources::JOBS, job.metadata(), selector, &self.pods).await?;
        let view = View { job: &job, pods: owned.iter().map(Arc::as_ref).collect(), now };
        let step = plan::plan(&view);
        let wake_at = step.wake_at;
        self.execute(&job, step).await?;
        if let Some(error) = unclaimed {
            return Err(error);
        }
        Ok(match wake_at {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Next::Change,
        })
    }
}

impl Jobs {
    /// The status first, because what it says of ended pods must be known before their finalizers go.
    async fn execute(&self, job: &TextJob, step: plan::Step) -> Result<(), kube::Error> {
        let key = job.metadata().key();
        if step.status != job.status {
            let written =
                write_status(&self.control.client, &resources::JOBS, job.tree(), json!(step.status)).await?;
            if let Some(position) = written {
                self.job_written.wrote(&key, position, Timestamp::now());
            }
        }
        for words in step.words {
            self.control.tell(job.metadata(), words.severity, &words.reason, words.message);
        }
        let releases = step.release.iter().map(|name| self.release(&key, name));
        futures::future::join_all(releases).await.into_iter().collect::<Result<Vec<()>, kube::Error>>()?;
        self.control.delete_all(job.metadata(), step.delete).await?;
        if step.create.is_empty() {
            return Ok(());
        }
        let plain = plain(job);
        let pods = step.create.iter().map(|new| made(plain.clone(), job, new)).collect();
        self.control.create_all(job.metadata(), pods).await
    }

    /// Takes the finalizer off a counted pod.
    async fn release(&self, key: &Key, name: &str) -> Result<(), kube::Error> {
        let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
        let path = (key.namespace.as_str(), name, "");
        match self.control.client.patch(&resources::PODS, path, PatchKind::Strategic, &patch).await {
            Ok(written) => {
                self.control.wrote(key, &written.metadata);
                Ok(())
            }
            Err(error) if failure::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the finalizer off the pods of a job that is gone.
    async fn release_lost(&self, key: &Key) -> Result<Next, kube::Error> {
        for pod in self.pods.in_namespace(&key.namespace) {
            if plan::tracked(&pod) && job_name(&pod).as_ref() == Some(&key.name) {
                self.release(key, &pod.metadata.name).await?;
            }
        }
        Ok(Next::Change)
    }

    /// Deletes a finished job whose time is over.
    async fn clean_up(
        &self,
        job: &TextJob,
        finished: Timestamp,
        now: Timestamp,
    ) -> Result<Next, kube::Error> {
        let Some(seconds) = job.spec.ttl_seconds_after_finished.filter(|_| !job.metadata().deleting()) else {
            return Ok(Next::Change);
        };
        let at = finished.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        if at > now {
            return Ok(Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()));
        }
        let Key { namespace, name } = job.metadata().key();
        let options = DeleteOptions {
            propagation_policy: Some("Foreground"),
            ..DeleteOptions::of(&job.metadata().uid)
        };
        match self.cleaner.delete(&resources::JOBS, &namespace, &name, &options).await {
            Err(error) if !failure::is_not_found(&error) && !failure::is_conflict(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }
}

/// What all pods of a job have in common.
fn plain(job: &TextJob) -> Value {
    let mut pod = pod_of(&job.tree(), &resources::JOBS, job.metadata());
    let mut finalizers = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.push(json!(FINALIZER));
    pod["metadata"]["finalizers"] = Value::Array(finalizers);
    pod
}

/// A pod of a job, with its index where pods have one.
fn made(mut pod: Value, job: &TextJob, new: &NewPod) -> Value {
    let Some(index) = new.index else { return pod };
    let name = format!("{}-{index}", job.metadata().name);
    pod["metadata"]["generateName"] = json!(format!("{name}-"));
    pod["spec"]["hostname"] = json!(name);
    for field in ["annotations", "labels"] {
        if pod["metadata"][field].is_null() {
            pod["metadata"][field] = json!({});
        }
        pod["metadata"][field][INDEX] = json!(index.to_string());
    }
    for (annotation, count) in [(FAILURES, new.failures), (IGNORED, new.ignored)] {
        if let Some(count) = count {
            pod["metadata"]["annotations"][annotation] = json!(count.to_string());
        }
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            tell_index(container);
        }
    }
    pod
}

/// Gives a container its index, unless the template has a variable of that name.
fn tell_index(container: &mut Value) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let mut variables = container["env"].as_array().cloned().unwrap_or_default();
    if variables.iter().any(|variable| variable["name"] == NAME) {
        return;
    }
    let path = format!("metadata.labels['{INDEX}']");
    variables.push(json!({ "name": NAME, "valueFrom": { "fieldRef": { "fieldPath": path } } }));
    container["env"] = Value::Array(variables);
}
