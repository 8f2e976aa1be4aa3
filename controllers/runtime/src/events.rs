//! Tells people what a controller did, as Event objects.
//!
//! Recording never blocks and never fails a reconcile: a full backlog drops the
//! event. Repeats of one event become a count on it.

mod correlate;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::correlate::Correlator;
use crate::client::{Client, PatchKind};
use crate::failure;
use crate::metadata::Metadata;
use crate::resource::Resource;
use crate::time;

/// Events waiting to be written; beyond it a controller is louder than the server is fast.
const BACKLOG_MAX: usize = 1000;
/// Events remembered for counting repeats, as upstream's cache.
const REMEMBERED_MAX: usize = 4096;
/// Repeats of a series are written at most this often.
const SERIES_REFRESH: SignedDuration = SignedDuration::from_mins(30);
/// A write that does not come back is given up, so that the backlog moves on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

static EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
static SERIES_EVENTS: Resource = Resource::namespaced("events.k8s.io", "v1", "events", "Event");

/// How much an event should worry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As planned.
    Normal,
    /// Somebody should look.
    Warning,
}

/// The object an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Regarding {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Version that was looked at.
    pub resource_version: String,
}

impl Regarding {
    /// A reference to an object of this resource.
    pub fn new(resource: &Resource, metadata: &Metadata) -> Regarding {
        Regarding {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }
    }

    fn tree(&self) -> Value {
        let mut tree =
            json!({ "kind": self.kind, "name": self.name, "uid": self.uid, "apiVersion": self.api_version });
        for (field, value) in [("namespace", &self.namespace), ("resourceVersion", &self.resource_version)] {
            if !value.is_empty() {
                tree[field] = value.as_str().into();
            }
        }
        tree
    }
}

/// Which of the two event APIs a component writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Style {
    /// core/v1, with `count`.
    Count,
    /// events.k8s.io/v1, with `series`; the reporting instance is given.
    Series {
        /// `reportingInstance`.
        instance: String,
    },
}

#[derive(Debug)]
struct Note {
    regarding: Regarding,
    severity: Severity,
    reason: String,
    action: String,
    message: String,
    at: Timestamp,
}

/// Records events of one component; clones share its backlog.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
}

impl Recorder {
    /// Starts writing events of `component` until cancelled.
    pub fn start(client: Client, component: &str, style: Style, cancel: CancellationToken) -> Recorder {
        let (notes, backlog) = mpsc::channel(BACKLOG_MAX);
        let writer = Writer {
            client,
            component: component.to_owned(),
            style,
            known: BTreeMap::new(),
            correlator: Correlator::default(),
            order: VecDeque::new(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = writer.write_all(backlog) => {}
            }
        });
        Recorder { notes }
    }

    /// Records one event.
    pub fn event(&self, regarding: Regarding, severity: Severity, reason: &str, message: String) {
        self.event_of_action(regarding, severity, (reason, ""), message);
    }

    /// Records one event with the action events.k8s.io wants.
    pub fn event_of_action(
        &self,
        regarding: Regarding,
        severity: Severity,
        (reason, action): (&str, &str),
        message: String,
    ) {
        let note = Note {
            regarding,
            severity,
            reason: reason.to_owned(),
            action: action.to_owned(),
            message,
            at: Timestamp::now(),
        };
        if self.notes.try_send(note).is_err() {
            tracing::warn!(reason, "event dropped: too many are waiting to be written");
        }
    }
}

type Identity = (Regarding, Severity, String, String);

struct Known {
    name: String,
    count: i64,
    written: Timestamp,
}

impl Known {
    /// Counts a repeat; gives the event's name and the patch that says so, if it is time to write one.
    fn repeat(&mut self, style: &Style, message: &str, now: Timestamp) -> Option<(String, Value)> {
        self.count += 1;
        let patch = match style {
            Style::Count => {
                json!({ "count": self.count, "lastTimestamp": time::seconds(now), "message": message })
            }
            // A series is written when it starts and then now and then.
            Style::Series { .. } if self.count == 2 || now.duration_since(self.written) > SERIES_REFRESH => {
                json!({ "series": { "count": self.count, "lastObservedTime": time::micros(now) } })
            }
            Style::Series { .. } => return None,
        };
        self.written = now;
        Some((self.name.clone(), patch))
    }
}

struct Writer {
    client: Client,
    component: String,
    style: Style,
    known: BTreeMap<Identity, Known>,
    correlator: Correlator,
    order: VecDeque<Identity>,
}

impl Writer {
    async fn write_all(mut self, mut backlog: mpsc::Receiver<Note>) {
        while let Some(note) = backlog.recv().await {
            match tokio::time::timeout(WRITE_TIMEOUT, self.write(&note)).await {
                Ok(Ok(())) => {}
                Ok(Err(error))
                    if failure::is_namespace_terminating(&error) || failure::is_not_found(&error) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        reason = note.reason,
                        error = failure::message(&error),
                        "event not written"
                    );
                }
                Err(_) => tracing::warn!(reason = note.reason, "event not written in time"),
            }
        }
    }

    async fn write(&mut self, note: &Note) -> Result<(), kube::Error> {
        let regarding = Regarding { resource_version: String::new(), ..note.regarding.clone() };
        let (message, text) = match self.style {
            Style::Count => {
                let kind = (&regarding, note.severity, note.reason.as_str());
                self.correlator.text(kind, &note.message, note.at)
            }
            // Series ignore the text, so that `1 Insufficient cpu` and `2 Insufficient cpu` are one.
            Style::Series { .. } => (note.message.clone(), note.action.clone()),
        };
        let identity = (regarding, note.severity, note.reason.clone(), text);
        let patch = self.known.get_mut(&identity).map(|known| known.repeat(&self.style, &message, note.at));
        if self.style == Style::Count && !self.correlator.allows(&identity.0, note.at) {
            return Ok(());
        }
        let namespace = event_namespace(note);
        match patch {
            Some(None) => return Ok(()),
            Some(Some((name, patch))) => {
                let path = (namespace, name.as_str(), "");
                match self.client.patch(self.resource(), path, PatchKind::Strategic, &patch).await {
                    Err(error) if failure::is_not_found(&error) => {
                        self.known.remove(&identity);
                    }
                    answer => return answer.map(|_| ()),
                }
            }
            None => {}
        }
        let name = format!("{}.{:x}", note.regarding.name, note.at.as_nanosecond());
        let event = self.tree(note, &message, (namespace, &name));
        self.client.create(self.resource(), (namespace, "", ""), &event).await?;
        self.remember(identity, Known { name, count: 1, written: note.at });
        Ok(())
    }

    fn resource(&self) -> &'static Resource {
        match self.style {
            Style::Count => &EVENTS,
            Style::Series { .. } => &SERIES_EVENTS,
        }
    }

    fn remember(&mut self, identity: Identity, known: Known) {
        if self.known.insert(identity.clone(), known).is_none() {
            self.order.push_back(identity);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn tree(&self, note: &Note, message: &str, (namespace, name): (&str, &str)) -> Value {
        let severity = match note.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        let metadata = json!({ "name": name, "namespace": namespace });
        match &self.style {
            Style::Count => json!({
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": metadata,
                "involvedObject": note.regarding.tree(),
                "reason": note.reason,
                "message": message,
                "source": { "component": self.component },
                "firstTimestamp": time::seconds(note.at),
                "lastTimestamp": time::seconds(note.at),
                "count": 1,
                "type": severity,
                "reportingComponent": self.component,
                "reportingInstance": "",
            }),
            Style::Series { instance } => json!({
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": metadata,
                "eventTime": time::micros(note.at),
                "reportingController": self.component,
                "reportingInstance": instance,
                "action": note.action,
                "reason": note.reason,
                "regarding": note.regarding.tree(),
                "note": message,
                "type": severity,
            }),
        }
    }
}

fn event_namespace(note: &Note) -> &str {
    // Events of cluster-scoped objects live in `default`.
    if note.regarding.namespace.is_empty() { "default" } else { &note.regarding.namespace }
}
