//! Makes the jobs of cron jobs when they are due, and deletes those that are history.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runtime::{
    Cache, Client, DeleteOptions, Expectations, Key, Next, OwnerReference, Queue, Reconcile, Recorder,
    Regarding, Severity, View as _, failure,
};
use serde_json::{Value, json};

use self::plan::View;
use crate::ownership::write_status;
use crate::views::Text;
use crate::views::batch::{CronJob, Job, JobReference};
use crate::views::pod::controlled_by;
use crate::{House, resources};

const WORKERS: usize = 5;
/// A cache that lags behind our own writes is looked at again this soon.
const LAG_PAUSE: Duration = Duration::from_secs(1);
/// After the due time, so that it is past for every clock involved.
const MARGIN: SignedDuration = SignedDuration::from_millis(100);
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct CronJobs {
    client: Client,
    recorder: Recorder,
    cronjobs: Cache<Text<CronJob>>,
    jobs: Cache<Text<Job>>,
    jobs_written: Expectations,
    cronjob_written: Expectations,
}

pub(crate) fn start(house: &mut House<'_>, cronjobs: &Cache<Text<CronJob>>, jobs: &Cache<Text<Job>>) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    cronjobs.on_change(move |change| changed.add(change.latest().metadata().key()));
    let touched = queue.clone();
    jobs.on_change(move |change| {
        let metadata = change.latest().metadata();
        if let Some(owner) = metadata.controller().filter(|owner| owner.kind == "CronJob") {
            touched.add(Key::new(metadata.namespace.clone(), owner.name.clone()));
        }
    });
    let client = house.client("cronjob-controller");
    let controller = Arc::new(CronJobs {
        recorder: house.recorder(&client, "cronjob-controller"),
        client,
        cronjobs: cronjobs.clone(),
        jobs: jobs.clone(),
        jobs_written: Expectations::default(),
        cronjob_written: Expectations::default(),
    });
    let (cronjobs, jobs) = (cronjobs.clone(), jobs.clone());
    house.work(controller, queue, WORKERS, async move {
        cronjobs.synced().await;
        jobs.synced().await;
    });
}

impl Reconcile for CronJobs {
    type Key = Key;

    fn name(&self) -> &'static str {
        "cronjob"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(cronjob) = self.cronjobs.get(key) else {
            self.jobs_written.forget(key);
            self.cronjob_written.forget(key);
            return Ok(Next::Change);
        };
        let fresh = self.cronjob_written.satisfied(key, &self.cronjobs, now)
            && self.jobs_written.satisfied(key, &self.jobs, now);
        if !fresh {
            return Ok(Next::After(LAG_PAUSE));
        }
        let jobs = self.jobs.group(&controlled_by(&cronjob.metadata().uid));
        let view = View { cronjob: &cronjob, jobs: jobs.iter().map(|job| &***job).collect(), now };
        let step = plan::plan(&view);
        let wake_at = step.wake_at;
        self.execute(&cronjob, step).await?;
        Ok(match wake_at.and_then(|at| at.checked_add(MARGIN).ok()) {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Next::Change,
        })
    }
}

impl CronJobs {
    async fn execute(&self, cronjob: &Text<CronJob>, step: plan::Step) -> Result<(), kube::Error> {
        let key = cronjob.metadata().key();
        for plan::Words(severity, reason, message) in step.words {
            self.tell(cronjob, severity, reason, message);
        }
        for (name, uid) in step.delete {
            self.delete(cronjob, &name, uid).await?;
        }
        let mut status = step.status;
        if let Some(at) = step.create
            && let Some(made) = self.create(cronjob, at).await?
        {
            status.active.push(made);
        }
        if status != cronjob.status {
            let written =
                write_status(&self.client, &resources::CRON_JOBS, cronjob.tree(), json!(status)).await?;
            if let Some(position) = written {
                self.cronjob_written.wrote(&key, position, Timestamp::now());
            }
        }
        Ok(())
    }

    async fn delete(&self, cronjob: &Text<CronJob>, name: &str, uid: String) -> Result<(), kube::Error> {
        let key = cronjob.metadata().key();
        let options = DeleteOptions { propagation_policy: Some("Background"), ..DeleteOptions::of(&uid) };
        match self.client.delete(&resources::JOBS, &key.namespace, name, &options).await {
            Err(error) if !failure::is_not_found(&error) && !failure::is_conflict(&error) => {
                let message = format!("Deleted job: {}", failure::message(&error));
                self.tell(cronjob, Severity::Warning, "FailedDelete", message);
                Err(error)
            }
            _ => {
                self.tell(cronjob, Severity::Normal, "SuccessfulDelete", format!("Deleted job {name}"));
                let job = Key::new(key.namespace.clone(), name);
                self.jobs_written.deleted(&key, job, uid, Timestamp::now());
                Ok(())
            }
        }
    }

    /// Makes the job of a time. Its name says the time, so that it is made once.
    async fn create(
        &self,
        cronjob: &Text<CronJob>,
        at: Timestamp,
    ) -> Result<Option<JobReference>, kube::Error> {
        let key = cronjob.metadata().key();
        let job = job_of(cronjob, at);
        let written = match self.client.create(&resources::JOBS, (&key.namespace, "", ""), &job).await {
            Ok(written) => written,
            Err(error) if failure::is_overtaken(&error) => return Ok(None),
            Err(error) => {
                let message = format!("Error creating job: {}", failure::message(&error));
                self.tell(cronjob, Severity::Warning, "FailedCreate", message);
                return Err(error);
            }
        };
        let metadata = written.metadata;
        self.jobs_written.wrote(&key, metadata.position(), Timestamp::now());
        self.tell(cronjob, Severity::Normal, "SuccessfulCreate", format!("Created job {}", metadata.name));
        Ok(Some(JobReference {
            kind: "Job".to_owned(),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            api_version: "batch/v1".to_owned(),
            resource_version: String::new(),
        }))
    }

    fn tell(&self, cronjob: &Text<CronJob>, severity: Severity, reason: &str, message: String) {
        let regarding = Regarding::new(&resources::CRON_JOBS, cronjob.metadata());
        self.recorder.event(regarding, severity, reason, message);
    }
}

fn job_of(cronjob: &Text<CronJob>, at: Timestamp) -> Value {
    let metadata = cronjob.metadata();
    let tree = cronjob.tree();
    let template = &tree["spec"]["jobTemplate"];
    let zone = cron::zone(cronjob.spec.time_zone.as_deref().unwrap_or("UTC"));
    let scheduled = match zone {
        Ok(zone) if cronjob.spec.time_zone.is_some() => {
            at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
        _ => runtime::time::seconds(at),
    };
    let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), json!(scheduled));
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("{}-{}", metadata.name, at.as_second() / 60),
            "namespace": metadata.namespace,
            "annotations": annotations,
            "ownerReferences": [OwnerReference::controlled_by("batch/v1", "CronJob", metadata)],
        },
        "spec": template["spec"],
    });
    if !template["metadata"]["labels"].is_null() {
        job["metadata"]["labels"] = template["metadata"]["labels"].clone();
    }
    job
}
