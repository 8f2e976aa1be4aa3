//! Takes the steps of a plan. Chooses nothing: what and when is the plan's.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::memory::{Memory, Pull, Volumes, Waiting};
use super::observed::Observed;
use super::plan::Action;
use super::{spec, start, stop};
use crate::container::{files, sandbox};
use crate::events::Severity;
use crate::shared::Shared;
use crate::volumes;
use crate::{cgroups, node};

/// How soon a step that failed is planned again.
const RETRY: SignedDuration = SignedDuration::from_secs(2);
/// How soon a start that failed is tried again; upstream's pause after a failed sync.
pub const START_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// What the worker should remember, told while steps are taken.
#[derive(Debug)]
pub enum Update {
    /// Volumes came, or did not.
    Volumes(Volumes),
    /// No sandbox before this.
    SandboxRetry(Option<Timestamp>),
    /// Why a container waits; none when it no longer does.
    Waiting(String, Option<Waiting>),
    /// No start of a container before this.
    Retry(String, Option<Timestamp>),
    /// Pulls of an image.
    Pull(String, Option<Pull>),
    /// A container's preStop hook was begun.
    Stopping(String),
    /// Nothing is mounted any more.
    TornDown,
}

impl Update {
    /// Writes it down.
    pub fn apply(self, memory: &mut Memory) {
        fn put<T>(map: &mut std::collections::BTreeMap<String, T>, key: String, value: Option<T>) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        match self {
            Update::Volumes(volumes) => memory.volumes = volumes,
            Update::SandboxRetry(at) => memory.sandbox_retry_at = at,
            Update::Waiting(name, waiting) => put(&mut memory.waiting, name, waiting),
            Update::Retry(name, at) => put(&mut memory.retry_at, name, at),
            Update::Pull(image, pull) => put(&mut memory.pulls, image, pull),
            Update::Stopping(id) => {
                memory.stopping.entry(id).or_insert_with(Timestamp::now);
            }
            Update::TornDown => memory.torn_down = true,
        }
    }
}

/// One round of steps for one pod.
#[derive(Clone)]
pub struct Round {
    /// The agent.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// What the plan was made from.
    pub observed: Arc<Observed>,
    /// What was remembered then.
    pub memory: Arc<Memory>,
    /// Where news go.
    pub updates: mpsc::UnboundedSender<Update>,
    /// Set when the plan no longer holds: waiting stops, what was begun in the runtime is finished.
    pub cancelled: CancellationToken,
}

impl Round {
    /// Tells the worker.
    pub fn tell(&self, update: Update) {
        // A worker that is gone needs no news.
        let _ = self.updates.send(update);
    }

    /// Takes the steps in order. `Err` asks for a pause before the next plan.
    pub async fn run(self, actions: Vec<Action>) -> Result<(), ()> {
        for action in actions {
            if self.cancelled.is_cancelled() {
                return Ok(());
            }
            self.act(action).await?;
        }
        Ok(())
    }

    async fn act(&self, action: Action) -> Result<(), ()> {
        match action {
            Action::SetUp => self.set_up().await,
            Action::RefreshVolumes => self.refresh().await,
            Action::RunSandbox { attempt } => self.run_sandbox(attempt).await,
            Action::StopSandbox { id } => {
                self.checked("stop a sandbox", self.shared.runtime.stop_sandbox(id)).await
            }
            Action::RemoveSandbox { id } => {
                self.checked("remove a sandbox", self.shared.runtime.remove_sandbox(id)).await
            }
            Action::Start { sandbox, name, role, attempt } => {
                start::start(self, sandbox, &name, role, attempt).await;
                Ok(())
            }
            Action::Kill(kills) => {
                let results = join_all(kills.iter().map(|kill| stop::kill(self, kill))).await;
                results.into_iter().collect()
            }
            Action::Remove { id } => {
                self.remove_log_link(&id);
                self.checked("remove a container", self.shared.runtime.remove_container(id)).await
            }
            Action::TearDown => self.tear_down().await,
            Action::RemoveDirectories => self.remove_directories(),
        }
    }

    /// What is gone already is as good as removed.
    async fn checked(&self, what: &str, answer: crate::runtime::Answer<'_, ()>) -> Result<(), ()> {
        match answer.await {
            Err(error) if !error.is_not_found() => {
                tracing::warn!(pod = spec::full_name(&self.pod), %error, "cannot {what}");
                Err(())
            }
            _ => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn ips(&self) -> Vec<String> {
        self.observed.sandboxes.first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    async fn set_up(&self) -> Result<(), ()> {
        let (options, pod) = (&self.shared.options, &self.pod);
        let pod_dir = options.pod_dir(spec::uid(pod));
        let logs = options.pod_log_dir(spec::namespace(pod), spec::name(pod), spec::uid(pod));
        let made = node::private_directory(&pod_dir).and_then(|()| std::fs::create_dir_all(&logs));
        let made = made.and_then(|()| cgroups::create(&options.cgroup_root, pod));
        if let Err(error) = made {
            let message = format!("error making pod data directories: {error}");
            self.shared.recorder.pod(pod, Severity::Warning, "Failed", message);
            self.tell(Update::Volumes(self.memory.volumes.after_failure(self.now())));
            return Ok(());
        }
        let place = self.shared.place(pod, &self.ips());
        let context = volumes::Context {
            objects: &self.shared.objects,
            pod_dir: &pod_dir,
            place: &place,
            now: self.now(),
        };
        match self.unless_cancelled(volumes::set_up(context, pod)).await {
            Some(Ok(refresh_at)) => self.tell(Update::Volumes(Volumes::Ready { refresh_at })),
            Some(Err(failure)) => {
                self.shared.recorder.pod(pod, Severity::Warning, "FailedMount", failure.to_string());
                self.tell(Update::Volumes(self.memory.volumes.after_failure(self.now())));
            }
            None => {}
        }
        Ok(())
    }

    async fn refresh(&self) -> Result<(), ()> {
        let pod_dir = self.shared.options.pod_dir(spec::uid(&self.pod));
        let place = self.shared.place(&self.pod, &self.ips());
        let now = self.now();
        let context =
            volumes::Context { objects: &self.shared.objects, pod_dir: &pod_dir, place: &place, now };
        let result = self.unless_cancelled(volumes::refresh(context, &self.pod)).await;
        // What was there stays when its source cannot be read.
        let refresh_at = match result {
            Some(Ok(refresh_at)) => refresh_at.max(now + RETRY),
            Some(Err(failure)) => {
                self.shared.recorder.pod(&self.pod, Severity::Warning, "FailedMount", failure.to_string());
                now + SignedDuration::from_secs(60)
            }
            None => now + RETRY,
        };
        self.tell(Update::Volumes(Volumes::Ready { refresh_at }));
        Ok(())
    }

    async fn run_sandbox(&self, attempt: u32) -> Result<(), ()> {
        let (options, pod) = (&self.shared.options, &self.pod);
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.shared.recorder.pod(pod, Severity::Normal, "SandboxChanged", message);
        }
        let config = sandbox::config(pod, attempt, self.dns(), options);
        match self.shared.runtime.run_sandbox(config).await {
            Ok(_) => self.tell(Update::SandboxRetry(None)),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.shared.recorder.pod(pod, Severity::Warning, "FailedCreatePodSandBox", message);
                self.tell(Update::SandboxRetry(Some(self.now() + START_RETRY)));
            }
        }
        Ok(())
    }

    /// The pod's resolv.conf.
    pub fn dns(&self) -> proto::cri::DnsConfig {
        let options = &self.shared.options;
        let text = std::fs::read_to_string(&options.resolv_conf).unwrap_or_default();
        files::dns(&self.pod, &files::ResolvConf::parse(&text), &options.cluster_dns, &options.cluster_domain)
    }

    async fn tear_down(&self) -> Result<(), ()> {
        let pod_dir = self.shared.options.pod_dir(spec::uid(&self.pod));
        if let Err(error) = volumes::tear_down(&pod_dir) {
            tracing::warn!(pod = spec::full_name(&self.pod), %error, "volumes cannot be unmounted");
            return Err(());
        }
        cgroups::remove(&self.shared.options.cgroup_root, &self.pod);
        self.shared.objects.forget(spec::uid(&self.pod));
        self.tell(Update::TornDown);
        Ok(())
    }

    fn remove_directories(&self) -> Result<(), ()> {
        let (options, pod) = (&self.shared.options, &self.pod);
        for container in &self.observed.containers {
            self.remove_log_link(&container.id);
        }
        let removed = volumes::remove(&options.pod_dir(spec::uid(pod)));
        if let Err(error) = removed {
            tracing::warn!(pod = spec::full_name(pod), %error, "directories stay");
        }
        // By the uid alone: of a pod that an earlier agent left behind, nothing else is known.
        let suffix = format!("_{}", spec::uid(pod));
        for entry in std::fs::read_dir(&options.logs_dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(&suffix)
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(pod = spec::full_name(pod), %error, "logs stay");
            }
        }
        Ok(())
    }

    /// The link under which log collectors find a container's log.
    pub fn log_link(&self, name: &str, id: &str) -> Option<std::path::PathBuf> {
        let dir = self.shared.options.log_links_dir.as_ref()?;
        let (pod, namespace) = (spec::name(&self.pod), spec::namespace(&self.pod));
        Some(dir.join(format!("{pod}_{namespace}_{name}-{id}.log")))
    }

    fn remove_log_link(&self, id: &str) {
        let container = self.observed.containers.iter().find(|container| container.id == id);
        if let Some(link) = container.and_then(|container| self.log_link(&container.name, id)) {
            let _ = std::fs::remove_file(link);
        }
    }

    /// Gives up waiting when the plan no longer holds.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = work => Some(result),
            () = self.cancelled.cancelled() => None,
        }
    }
}

/// A signed duration as tokio wants it; zero when it is past.
pub fn std_duration(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
