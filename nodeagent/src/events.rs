//! Events: what happened to pods and to the node, for `kubectl describe`.
//!
//! An event that repeats is counted on the object that is there. Recording never delays or fails what it tells
//! of: events wait in a bounded queue and are dropped when the API server is away for long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

use crate::pod::spec;

/// Events waiting to be written; the newest are dropped beyond.
const QUEUE_MAX: usize = 1024;
/// Events whose repetitions are counted; the oldest is forgotten beyond.
const REMEMBERED_MAX: usize = 4096;

/// Whether an event is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As expected.
    Normal,
    /// Not as expected.
    Warning,
}

/// Takes events.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
}

struct Record {
    about: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    at: Timestamp,
}

impl Recorder {
    /// Starts writing events in the name of a node's agent.
    pub fn new(client: kube::Client, node_name: String) -> Self {
        let (queue, records) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write(client, node_name, records));
        Recorder { queue }
    }

    /// Something about a pod.
    pub fn pod(&self, pod: &Pod, severity: Severity, reason: &str, message: impl Into<String>) {
        self.record(reference(pod, None), severity, reason, message.into());
    }

    /// Something about a container of a pod.
    pub fn container(
        &self,
        pod: &Pod,
        container: &str,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let path = spec::container(pod, container).map(|(role, _)| role.field_path(container));
        self.record(reference(pod, path), severity, reason, message.into());
    }

    /// Something about the node.
    pub fn node(&self, node: &Node, severity: Severity, reason: &str, message: impl Into<String>) {
        let name = node.metadata.name.clone();
        let about = ObjectReference {
            kind: Some("Node".into()),
            // The node's agent has always given the name for the uid, and viewers look for it.
            uid: name.clone(),
            name,
            ..ObjectReference::default()
        };
        self.record(about, severity, reason, message.into());
    }

    fn record(&self, about: ObjectReference, severity: Severity, reason: &str, message: String) {
        let record = Record { about, severity, reason: reason.to_owned(), message, at: Timestamp::now() };
        if self.queue.try_send(record).is_err() {
            tracing::debug!(reason, "an event is dropped");
        }
    }
}

fn reference(pod: &Pod, field_path: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}

/// What makes two events the same.
type Identity = (String, String, String, String, String);

struct Written {
    namespace: String,
    name: String,
    count: i32,
}

#[derive(Default)]
struct Ledger {
    written: BTreeMap<Identity, Written>,
    order: VecDeque<Identity>,
}

impl Ledger {
    fn remember(&mut self, identity: Identity, written: Written) {
        self.order.push_back(identity.clone());
        self.written.insert(identity, written);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
    }
}

async fn write(client: kube::Client, node_name: String, mut records: mpsc::Receiver<Record>) {
    let node_name: Arc<str> = node_name.into();
    let mut ledger = Ledger::default();
    while let Some(record) = records.recv().await {
        let identity = (
            record.about.uid.clone().unwrap_or_default(),
            record.about.field_path.clone().unwrap_or_default(),
            format!("{:?}", record.severity),
            record.reason.clone(),
            record.message.clone(),
        );
        if let Some(written) = ledger.written.get_mut(&identity) {
            written.count += 1;
            if repeat(&client, written, record.at).await.is_ok() {
                continue;
            }
            // It expired or never arrived: write it anew.
            ledger.written.remove(&identity);
            ledger.order.retain(|other| *other != identity);
        }
        match create(&client, &node_name, record).await {
            Ok(written) => ledger.remember(identity, written),
            Err(error) => tracing::debug!(%error, "an event cannot be written"),
        }
    }
}

async fn repeat(client: &kube::Client, written: &Written, at: Timestamp) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &written.namespace);
    let patch = serde_json::json!({ "count": written.count, "lastTimestamp": Time(at) });
    api.patch(&written.name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

async fn create(client: &kube::Client, node_name: &str, record: Record) -> Result<Written, kube::Error> {
    let namespace = record.about.namespace.clone().unwrap_or_else(|| "default".into());
    let name = format!("{}.{:x}", record.about.name.clone().unwrap_or_default(), record.at.as_nanosecond());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: record.about,
        reason: Some(record.reason),
        message: Some(record.message),
        type_: Some(format!("{:?}", record.severity)),
        source: Some(EventSource { component: Some("kubelet".into()), host: Some(node_name.to_owned()) }),
        first_timestamp: Some(Time(record.at)),
        last_timestamp: Some(Time(record.at)),
        count: Some(1),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node_name.to_owned()),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &event).await?;
    Ok(Written { namespace, name, count: 1 })
}
