//! Which pods have a worker: those bound to this node, and those the runtime still has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::Config};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::admission::{self, Capacity};
use super::spec;
use super::worker::{self, Assigned, Glimpse, Target};
use crate::container::{NODE_LABEL, labels};
use crate::events::Severity;
use crate::node::labels::Labels;
use crate::runtime::Inventory;
use crate::shared::Shared;

/// The pods of this node, for the HTTPS server and the node's status.
#[derive(Clone, Default)]
pub struct Pods(Arc<RwLock<BTreeMap<String, Entry>>>);

/// One pod with what its worker shows.
#[derive(Clone)]
pub struct Entry {
    /// What is wanted of the worker.
    pub target: watch::Receiver<Target>,
    /// What it sees.
    pub glimpse: watch::Receiver<Glimpse>,
}

impl Pods {
    /// Finds a pod by namespace and name; of two with one name the newer.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Entry> {
        let pods = self.0.read().expect("no panic while held");
        let mut same: Vec<&Entry> = pods
            .values()
            .filter(|entry| {
                let target = entry.target.borrow();
                spec::namespace(&target.pod) == namespace && spec::name(&target.pod) == name
            })
            .collect();
        same.sort_by_key(|entry| {
            let target = entry.target.borrow();
            (!target.gone, target.pod.metadata.creation_timestamp.clone().map(|time| time.0))
        });
        same.pop().cloned()
    }

    /// Running containers with their log files.
    pub fn running_logs(&self) -> Vec<(String, std::path::PathBuf)> {
        let pods = self.0.read().expect("no panic while held");
        let logs = |entry: &Entry| {
            let observed = Arc::clone(&entry.glimpse.borrow().observed);
            observed
                .running()
                .map(|container| (container.id.clone(), container.log_path.clone().into()))
                .collect::<Vec<_>>()
        };
        pods.values().flat_map(logs).collect()
    }

    /// All pods with their present status.
    pub fn all(&self) -> Vec<Pod> {
        let pods = self.0.read().expect("no panic while held");
        let entries = pods.values().filter(|entry| !entry.target.borrow().gone);
        entries
            .map(|entry| {
                let mut pod = Pod::clone(&entry.target.borrow().pod);
                pod.status = Some((*entry.glimpse.borrow().status).clone());
                pod
            })
            .collect()
    }
}

struct Hand {
    target: watch::Sender<Target>,
    wake: Arc<Notify>,
    done: CancellationToken,
}

struct Supervisor {
    shared: Arc<Shared>,
    pods: Pods,
    hands: HashMap<String, Hand>,
    labels: watch::Receiver<Labels>,
    finished: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
    seen: HashMap<String, Vec<(String, i32)>>,
    /// Directories that an earlier agent left were looked through.
    swept: bool,
    shutdown: CancellationToken,
}

/// Runs until `shutdown`. `node_labels` are the Node object's as they are now, for admission.
pub async fn run(
    shared: Arc<Shared>,
    pods: Pods,
    node_labels: watch::Receiver<Labels>,
    shutdown: CancellationToken,
) {
    let api: Api<Pod> = Api::all(shared.objects.client().clone());
    let config = Config::default().fields(&format!("spec.nodeName={}", shared.options.node_name));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut inventories = watch_runtime(Arc::clone(&shared), shutdown.clone());
    let mut supervisor = Supervisor {
        shared,
        pods,
        hands: HashMap::new(),
        labels: node_labels,
        finished: mpsc::unbounded_channel(),
        seen: HashMap::new(),
        swept: false,
        shutdown: shutdown.clone(),
    };
    let mut listed: Option<BTreeSet<String>> = None;
    let mut complete = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(event) = events.next() => match event {
                Ok(event) => complete |= supervisor.on_event(event, &mut listed),
                Err(error) => log_watch_error(&error),
            },
            Some(inventory) = inventories.recv() => supervisor.on_inventory(&inventory, complete),
            Some(uid) = supervisor.finished.1.recv() => supervisor.on_finished(&uid),
        }
    }
}

fn log_watch_error(error: &watcher::Error) {
    tracing::debug!(%error, "pods cannot be watched at the moment");
}

/// When to look after the runtime said that something changed. The event of a death may overtake the runtime's own
/// record of it, so one look is not enough.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(180), Duration::from_secs(1), Duration::from_secs(3)];

/// Looks at the whole runtime when it says that something changed. Only the newest look counts.
fn watch_runtime(shared: Arc<Shared>, shutdown: CancellationToken) -> mpsc::Receiver<Inventory> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let label = (NODE_LABEL.to_owned(), shared.options.node_name.clone());
        let mut looks = LOOKS[1..].iter().copied();
        loop {
            match shared.runtime.inventory(label.clone()).await {
                Ok(inventory) => {
                    if sender.send(inventory).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "the runtime cannot be listed"),
            }
            let again = async {
                match looks.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = again => {}
                () = shared.runtime.changed() => {
                    // A pod that starts causes several events; one look sees them all.
                    tokio::time::sleep(LOOKS[0]).await;
                    looks = LOOKS[1..].iter().copied();
                }
            }
        }
    });
    receiver
}

impl Supervisor {
    /// Takes an event of the watch. True once a list is complete.
    fn on_event(&mut self, event: Event<Pod>, listed: &mut Option<BTreeSet<String>>) -> bool {
        match event {
            Event::Init => *listed = Some(BTreeSet::new()),
            Event::InitApply(pod) => {
                if let Some(listed) = listed {
                    listed.insert(spec::uid(&pod).to_owned());
                }
                self.on_pod(pod);
            }
            Event::Apply(pod) => self.on_pod(pod),
            Event::Delete(pod) => self.on_gone(spec::uid(&pod), Some(pod.clone())),
            Event::InitDone => {
                let listed = listed.take().unwrap_or_default();
                let gone: Vec<String> =
                    self.hands.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in gone {
                    self.on_gone(&uid, None);
                }
                return true;
            }
        }
        false
    }

    fn on_pod(&mut self, pod: Pod) {
        let uid = spec::uid(&pod).to_owned();
        if let Some(hand) = self.hands.get(&uid) {
            hand.target.send_modify(|target| target.pod = Arc::new(pod));
            return;
        }
        let refused = self.refusal(&pod);
        if let Some(refused) = &refused {
            self.shared.recorder.pod(&pod, Severity::Warning, &refused.reason, refused.message.clone());
        }
        self.assign(uid, Target { pod: Arc::new(pod), gone: false, refused });
    }

    /// A pod that ran here before is not asked again whether it fits.
    fn refusal(&self, pod: &Pod) -> Option<super::status::Forced> {
        let started = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if started || spec::is_deleting(pod) || spec::is_finished(pod) {
            return None;
        }
        let targets: Vec<Arc<Pod>> = self
            .hands
            .values()
            .map(|hand| hand.target.borrow().clone())
            .filter(|target| !target.gone && target.refused.is_none() && !spec::is_finished(&target.pod))
            .map(|target| target.pod)
            .collect();
        let capacity = Capacity {
            cpu: self.shared.facts.cpu_millis.into(),
            memory: self.shared.facts.allocatable_memory().into(),
            pods: self.shared.options.max_pods as usize,
        };
        admission::admit(pod, targets.iter().map(Arc::as_ref), capacity, &self.labels.borrow()).err()
    }

    fn on_gone(&mut self, uid: &str, last: Option<Pod>) {
        let Some(hand) = self.hands.get(uid) else { return };
        hand.target.send_modify(|target| {
            target.gone = true;
            if let Some(last) = last {
                target.pod = Arc::new(last);
            }
        });
    }

    fn assign(&mut self, uid: String, target: Target) {
        let same_name = |hand: &&Hand| {
            let other = hand.target.borrow();
            spec::name(&other.pod) == spec::name(&target.pod)
                && spec::namespace(&other.pod) == spec::namespace(&target.pod)
        };
        let predecessor = self.hands.values().find(same_name).map(|hand| hand.done.clone());
        let (sender, receiver) = watch::channel(target);
        let (glimpse, shown) = watch::channel(Glimpse::default());
        let hand = Hand { target: sender, wake: Arc::default(), done: CancellationToken::new() };
        let assigned = Assigned {
            shared: Arc::clone(&self.shared),
            target: receiver.clone(),
            wake: Arc::clone(&hand.wake),
            glimpse,
            predecessor,
            shutdown: self.shutdown.clone(),
        };
        let entry = Entry { target: receiver, glimpse: shown };
        self.pods.0.write().expect("no panic while held").insert(uid.clone(), entry);
        let (done, finished) = (hand.done.clone(), self.finished.0.clone());
        self.hands.insert(uid.clone(), hand);
        tokio::spawn(async move {
            worker::run(assigned).await;
            done.cancel();
            // The supervisor may be gone already.
            let _ = finished.send(uid);
        });
    }

    fn on_finished(&mut self, uid: &str) {
        self.hands.remove(uid);
        self.seen.remove(uid);
        self.pods.0.write().expect("no panic while held").remove(uid);
    }

    /// Wakes the workers whose pods changed, and adopts what nobody looks after once all pods are known.
    fn on_inventory(&mut self, inventory: &Inventory, complete: bool) {
        let mut now: HashMap<String, Vec<(String, i32)>> = HashMap::new();
        for sandbox in &inventory.sandboxes {
            if let Some(uid) = sandbox.labels.get(labels::POD_UID) {
                now.entry(uid.clone()).or_default().push((sandbox.id.clone(), sandbox.state));
            }
        }
        for container in &inventory.containers {
            if let Some(uid) = container.labels.get(labels::POD_UID) {
                now.entry(uid.clone()).or_default().push((container.id.clone(), container.state));
            }
        }
        for state in now.values_mut() {
            state.sort();
        }
        for (uid, hand) in &self.hands {
            if now.get(uid) != self.seen.get(uid) {
                hand.wake.notify_one();
            }
        }
        if complete {
            self.adopt_orphans(inventory, &now);
        }
        self.seen = now;
    }

    fn adopt_orphans(&mut self, inventory: &Inventory, now: &HashMap<String, Vec<(String, i32)>>) {
        let mut uids: BTreeSet<String> = now.keys().cloned().collect();
        if !std::mem::replace(&mut self.swept, true) {
            uids.extend(directories(&self.shared.options.pods_dir.join("pods")));
        }
        for uid in uids.into_iter().filter(|uid| !self.hands.contains_key(uid)).collect::<Vec<_>>() {
            let pod = Arc::new(remembered(&uid, inventory));
            tracing::info!(pod = spec::full_name(&pod), "the pod of a sandbox is gone; it is stopped");
            self.assign(uid, Target { pod, gone: true, refused: None });
        }
    }
}

/// Uids of pods that have a directory.
fn directories(pods_dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(pods_dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What the runtime's labels tell of a pod whose object is gone.
fn remembered(uid: &str, inventory: &Inventory) -> Pod {
    let is_its =
        |labels: &HashMap<String, String>| labels.get(labels::POD_UID).is_some_and(|other| other == uid);
    let sandboxes = inventory.sandboxes.iter().map(|sandbox| &sandbox.labels);
    let containers = inventory.containers.iter().map(|container| &container.labels);
    let labels =
        sandboxes.chain(containers.clone()).find(|labels| is_its(labels)).cloned().unwrap_or_default();
    let names: BTreeSet<String> = containers
        .filter(|labels| is_its(labels))
        .filter_map(|labels| labels.get(labels::CONTAINER_NAME).cloned())
        .collect();
    Pod {
        metadata: ObjectMeta {
            uid: Some(uid.to_owned()),
            name: labels.get(labels::POD_NAME).cloned(),
            namespace: labels.get(labels::POD_NAMESPACE).cloned(),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: names.into_iter().map(|name| Container { name, ..Container::default() }).collect(),
            ..PodSpec::default()
        }),
        status: None,
    }
}
