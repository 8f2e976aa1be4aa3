//! Chooses a node for each pod that has none.
//!
//! The cycle, the snapshot and the queue are pure. This shell feeds them from
//! two reflectors, runs one decision at a time, and binds in the background: a
//! decided pod is counted on its node at once and uncounted if binding fails.

mod affinity;
mod cycle;
mod filter;
mod quantity;
mod queue;
mod request;
mod score;
mod snapshot;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use runtime::events::Style;
use runtime::{Cache, Change, Client, Key, PatchKind, Recorder, Regarding, Severity, Source, failure, time};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use self::cycle::{Decision, schedule};
use self::queue::{Happening, Pending};
use self::snapshot::Snapshot;
use self::view::{Node, Pod};
use crate::{lease, resources};

/// User name of the scheduler's client.
pub const IDENTITY: &str = "system:kube-scheduler";
/// Pods that name this scheduler, or none, are ours.
const NAME: &str = "default-scheduler";
/// Bindings under way.
const BINDINGS_MAX: usize = 64;
/// Longest note of an event.
const NOTE_MAX: usize = 1024;

/// What changes hands between the reflectors and the loop.
#[derive(Default)]
struct State {
    snapshot: Snapshot,
    pending: Pending,
    /// Pods decided but not yet seen with their node.
    assumed: BTreeSet<String>,
    decisions: u64,
}

struct Scheduler {
    client: Client,
    recorder: Recorder,
    pods: Cache<Pod>,
    state: Mutex<State>,
    changed: Notify,
    bindings: Arc<Semaphore>,
}

/// Runs the scheduler until cancelled. `client_for` is called with [`IDENTITY`];
/// the user agent should be `kube-scheduler`. `seed` varies the choice among
/// equally good nodes. Must be called inside a tokio runtime.
pub fn run(
    client_for: impl Fn(&str) -> kube::Client,
    seed: u64,
    cancel: CancellationToken,
) -> BoxFuture<'static, ()> {
    let client = Client::new(client_for(IDENTITY));
    let holder = lease::holder();
    let style = Style::Series { instance: format!("{NAME}-{holder}") };
    let lease = tokio::spawn(lease::keep(client.clone(), "kube-scheduler", holder, cancel.clone()));
    let (pods, nodes) = (Cache::<Pod>::new(), Cache::<Node>::new());
    let scheduler = Arc::new(Scheduler {
        recorder: Recorder::start(client.clone(), NAME, style, cancel.clone()),
        client: client.clone(),
        pods: pods.clone(),
        state: Mutex::new(State { decisions: seed, ..State::default() }),
        changed: Notify::new(),
        bindings: Arc::new(Semaphore::new(BINDINGS_MAX)),
    });
    let (on_pod, on_node) = (Arc::downgrade(&scheduler), Arc::downgrade(&scheduler));
    pods.on_change(move |change| {
        if let Some(scheduler) = on_pod.upgrade() {
            scheduler.pod_changed(change);
        }
    });
    nodes.on_change(move |change| {
        if let Some(scheduler) = on_node.upgrade() {
            scheduler.node_changed(change);
        }
    });
    let follow_pods =
        tokio::spawn(pods.clone().follow(client.clone(), Source::all(&resources::PODS), cancel.clone()));
    let follow_nodes =
        tokio::spawn(nodes.clone().follow(client, Source::all(&resources::NODES), cancel.clone()));
    Box::pin(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = async {
                pods.synced().await;
                nodes.synced().await;
                scheduler.schedule_all().await;
            } => {}
        }
        for task in [follow_pods, follow_nodes, lease] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the scheduler ended");
            }
        }
    })
}

/// Whether a pod is to be given a node by us now.
fn is_ours(pod: &Pod) -> bool {
    pod.spec.node_name.is_empty()
        && (pod.spec.scheduler_name == NAME || pod.spec.scheduler_name.is_empty())
        && pod.spec.scheduling_gates.is_empty()
        && !pod.metadata.deleting()
        && !pod.terminal()
}

impl Scheduler {
    fn pod_changed(&self, change: &Change<'_, Pod>) {
        let now = Timestamp::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(old) = change.old {
            let uid = &old.metadata.uid;
            let gone = change.new.is_none_or(|new| new.metadata.uid != *uid || new.terminal());
            if gone {
                state.pending.remove(uid);
                state.assumed.remove(uid);
                if state.snapshot.is_placed(uid) {
                    state.snapshot.unplace(uid);
                    state.pending.happened(Happening::PodGone, now);
                }
            }
        }
        if let Some(new) = change.new.filter(|new| !new.terminal()) {
            let uid = &new.metadata.uid;
            if !new.spec.node_name.is_empty() {
                state.pending.remove(uid);
                state.assumed.remove(uid);
                state.snapshot.place(Arc::clone(new), &new.spec.node_name);
                state.pending.happened(Happening::PodPlaced, now);
            } else if !state.assumed.contains(uid) {
                if is_ours(new) {
                    state.pending.put(Arc::clone(new), now);
                } else {
                    state.pending.remove(uid);
                }
            }
        }
        drop(guard);
        self.changed.notify_one();
    }

    fn node_changed(&self, change: &Change<'_, Node>) {
        let now = Timestamp::now();
        let mut state = self.lock();
        match (change.old, change.new) {
            (_, None) => state.snapshot.remove_node(&change.latest().metadata.name),
            (old, Some(new)) => {
                state.snapshot.put_node(Arc::clone(new));
                for happening in happenings(old.map(Arc::as_ref), new) {
                    state.pending.happened(happening, now);
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    async fn schedule_all(self: &Arc<Self>) {
        loop {
            let now = Timestamp::now();
            let decided = {
                let mut guard = self.lock();
                let state = &mut *guard;
                state.pending.next(now).map(|pod| {
                    state.decisions = state.decisions.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let decision = schedule(&pod, &state.snapshot, state.decisions >> 33);
                    if let Decision::Node(node) = &decision {
                        state.snapshot.place(Arc::clone(&pod), node);
                        state.assumed.insert(pod.metadata.uid.clone());
                        // The count of this pod may matter to others before its binding is seen.
                        state.pending.happened(Happening::PodPlaced, now);
                    }
                    (pod, decision)
                })
            };
            match decided {
                Some((pod, decision)) => self.carry_out(pod, decision).await,
                None => self.wait().await,
            }
        }
    }

    async fn wait(&self) {
        let wake_at = self.lock().pending.wake_at();
        match wake_at {
            Some(at) => {
                let pause = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            None => self.changed.notified().await,
        }
    }

    async fn carry_out(self: &Arc<Self>, pod: Arc<Pod>, decision: Decision) {
        match decision {
            Decision::Node(node) => {
                let permit = Arc::clone(&self.bindings).acquire_owned().await.expect("never closed");
                let scheduler = Arc::clone(self);
                tokio::spawn(async move {
                    scheduler.bind(&pod, &node).await;
                    drop(permit);
                });
            }
            Decision::Nowhere { message, plugins } => {
                self.lock().pending.unschedulable(&pod.metadata.uid, plugins, Timestamp::now());
                self.tell(&pod, Severity::Warning, ("FailedScheduling", "Scheduling"), shortened(&message));
                let permit = Arc::clone(&self.bindings).acquire_owned().await.expect("never closed");
                let scheduler = Arc::clone(self);
                tokio::spawn(async move {
                    scheduler.write_condition(&pod, "Unschedulable", &message).await;
                    drop(permit);
                });
            }
        }
    }

    async fn bind(&self, pod: &Pod, node: &str) {
        let metadata = &pod.metadata;
        let (namespace, name) = (metadata.namespace.as_str(), metadata.name.as_str());
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": name, "namespace": namespace, "uid": metadata.uid },
            "target": { "kind": "Node", "name": node },
        });
        match self.client.create(&resources::PODS, (namespace, name, "binding"), &binding).await {
            Ok(_) => {
                let text = format!("Successfully assigned {namespace}/{name} to {node}");
                self.tell(pod, Severity::Normal, ("Scheduled", "Binding"), text);
            }
            Err(error) => self.unbind(pod, &error).await,
        }
    }

    async fn unbind(&self, pod: &Pod, error: &kube::Error) {
        let uid = &pod.metadata.uid;
        let now = Timestamp::now();
        let key = Key::new(pod.metadata.namespace.clone(), pod.metadata.name.clone());
        let live = self.pods.get(&key).filter(|live| live.metadata.uid == *uid);
        let lost = {
            let mut state = self.lock();
            let still_assumed = state.assumed.remove(uid);
            if still_assumed {
                state.snapshot.unplace(uid);
                state.pending.happened(Happening::PodGone, now);
            }
            match live {
                Some(live) if still_assumed && is_ours(&live) => {
                    state.pending.put(live, now);
                    state.pending.failed(uid);
                    false
                }
                _ => true,
            }
        };
        self.changed.notify_one();
        if lost || failure::is_not_found(error) {
            return;
        }
        let text = format!("running Bind plugin \"DefaultBinder\": {}", failure::message(error));
        self.tell(pod, Severity::Warning, ("FailedScheduling", "Scheduling"), shortened(&text));
        self.write_condition(pod, "SchedulerError", &text).await;
    }

    async fn write_condition(&self, pod: &Pod, reason: &str, message: &str) {
        let old = pod.condition("PodScheduled");
        let same =
            old.is_some_and(|old| old.status == "False" && old.reason == reason && old.message == message);
        if same {
            return;
        }
        let moved = old.is_none_or(|old| old.status != "False");
        let mut condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "observedGeneration": pod.metadata.generation,
            "lastProbeTime": Value::Null,
        });
        if moved {
            condition["lastTransitionTime"] = time::seconds(Timestamp::now()).into();
        }
        let metadata = &pod.metadata;
        let patch = json!({ "metadata": { "uid": metadata.uid }, "status": { "conditions": [condition] } });
        let path = (metadata.namespace.as_str(), metadata.name.as_str(), "status");
        if let Err(error) = self.client.patch(&resources::PODS, path, PatchKind::Strategic, &patch).await
            && !failure::is_not_found(&error)
        {
            let what = failure::message(&error);
            tracing::warn!(pod = %metadata.key(), error = %what, "condition not written");
        }
    }

    fn tell(&self, pod: &Pod, severity: Severity, why: (&str, &str), message: String) {
        self.recorder.event_of_action(
            Regarding::new(&resources::PODS, &pod.metadata),
            severity,
            why,
            message,
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// What a change of a node may mean for waiting pods.
fn happenings(old: Option<&Node>, new: &Node) -> Vec<Happening> {
    let Some(old) = old else { return vec![Happening::NodeAdded] };
    let mut list = Vec::new();
    if old.metadata.labels != new.metadata.labels {
        list.push(Happening::NodeLabels);
    }
    if old.spec.taints != new.spec.taints || old.spec.unschedulable != new.spec.unschedulable {
        list.push(Happening::NodeTaints);
    }
    if old.status.allocatable != new.status.allocatable {
        list.push(Happening::NodeCapacity);
    }
    list
}

fn shortened(message: &str) -> String {
    if message.len() <= NOTE_MAX {
        return message.to_owned();
    }
    let mut end = NOTE_MAX - " ...".len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ...", &message[..end])
}
