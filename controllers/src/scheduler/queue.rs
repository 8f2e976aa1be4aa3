//! Which pod is tried next, and which wait for what. Pure: time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::filter::Plugin;
use super::view::Pod;

/// Pause after a first failure; doubled by each further one.
const BACKOFF_MIN: SignedDuration = SignedDuration::from_secs(1);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(10);
/// A pod nothing has happened for is tried again after this long all the same.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(5);

/// Something that may make room for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A node is new.
    NodeAdded,
    /// A node's labels changed.
    NodeLabels,
    /// A node's taints or its being schedulable changed.
    NodeTaints,
    /// A node can hold more.
    NodeCapacity,
    /// A pod left its node, or asks for less.
    PodGone,
    /// A pod came to a node or changed its labels there.
    PodPlaced,
}

impl Happening {
    /// Rules whose refusal this may have undone.
    fn helps(self, plugin: Plugin) -> bool {
        match self {
            Happening::NodeAdded => true,
            Happening::NodeLabels => {
                matches!(plugin, Plugin::NodeAffinity | Plugin::PodTopologySpread | Plugin::InterPodAffinity)
            }
            Happening::NodeTaints => {
                matches!(
                    plugin,
                    Plugin::TaintToleration | Plugin::NodeUnschedulable | Plugin::PodTopologySpread
                )
            }
            Happening::NodeCapacity => plugin == Plugin::NodeResourcesFit,
            Happening::PodGone => matches!(
                plugin,
                Plugin::NodeResourcesFit
                    | Plugin::NodePorts
                    | Plugin::PodTopologySpread
                    | Plugin::InterPodAffinity
            ),
            Happening::PodPlaced => matches!(plugin, Plugin::PodTopologySpread | Plugin::InterPodAffinity),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Tried as soon as its turn comes.
    Active,
    /// Tried after a pause.
    Backoff(Timestamp),
    /// Tried when something helps that these rules refused.
    Waiting { plugins: BTreeSet<Plugin>, since: Timestamp },
    /// Being tried; `happened` says that something changed meanwhile.
    Trying { happened: bool },
}

#[derive(Debug, Clone)]
struct Entry {
    pod: Arc<Pod>,
    place: Place,
    attempts: u32,
    queued: Timestamp,
    last_tried: Timestamp,
}

/// The pods without a node. Every question is answered from an order or an index,
/// so that thousands of waiting pods cost nothing until something helps them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: BTreeMap<String, Entry>,
    /// Active pods: by priority, then by time of waiting.
    active: BTreeSet<(Reverse<i32>, Timestamp, String)>,
    /// Pods that become due by mere waiting.
    timed: BTreeSet<(Timestamp, String)>,
    /// Waiting pods by the rules that refused them; `None` for those only a node can help.
    waiting: BTreeMap<Option<Plugin>, BTreeSet<String>>,
    trying: BTreeSet<String>,
}

impl Pending {
    /// Takes in a pod that is new, or changed in a way that may matter.
    pub(crate) fn put(&mut self, pod: Arc<Pod>, now: Timestamp) {
        let uid = pod.metadata.uid.clone();
        let Some(mut entry) = self.take(&uid) else {
            let entry = Entry { pod, place: Place::Active, attempts: 0, queued: now, last_tried: now };
            return self.keep(uid, entry);
        };
        let matters = entry.pod.metadata.generation != pod.metadata.generation
            || entry.pod.metadata.labels != pod.metadata.labels;
        entry.pod = pod;
        if matters {
            entry.stir(now);
        }
        self.keep(uid, entry);
    }

    /// Forgets a pod that has a node or is gone.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.take(uid);
    }

    /// Moves pods that this may help.
    pub(crate) fn happened(&mut self, happening: Happening, now: Timestamp) {
        let helped = |plugin: &Option<Plugin>| match plugin {
            None => happening == Happening::NodeAdded,
            Some(plugin) => happening.helps(*plugin),
        };
        let waiting = self.waiting.iter().filter(|(plugin, _)| helped(plugin)).flat_map(|(_, uids)| uids);
        let stirred: BTreeSet<String> = waiting.chain(&self.trying).cloned().collect();
        for uid in stirred {
            self.change(&uid, |entry| entry.stir(now));
        }
    }

    /// Takes the next pod to try.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Arc<Pod>> {
        while let Some((at, uid)) = self.timed.first().cloned()
            && at <= now
        {
            self.change(&uid, |entry| entry.place = Place::Active);
        }
        let (_, _, uid) = self.active.first().cloned()?;
        self.change(&uid, |entry| {
            entry.place = Place::Trying { happened: false };
            entry.attempts += 1;
            entry.last_tried = now;
        });
        self.entries.get(&uid).map(|entry| Arc::clone(&entry.pod))
    }

    /// Puts a pod back that fits nowhere.
    pub(crate) fn unschedulable(&mut self, uid: &str, plugins: BTreeSet<Plugin>, now: Timestamp) {
        self.change(uid, |entry| {
            let happened = entry.place == (Place::Trying { happened: true });
            entry.place = Place::Waiting { plugins, since: now };
            if happened {
                // What changed during the attempt may have been what it lacked.
                entry.stir(now);
            }
        });
    }

    /// Puts a pod back whose attempt failed for another reason.
    pub(crate) fn failed(&mut self, uid: &str) {
        self.change(uid, |entry| entry.place = Place::Backoff(entry.last_tried + entry.backoff()));
    }

    /// When a pod becomes due by mere waiting.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.timed.first().map(|(at, _)| *at)
    }

    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.take(uid) {
            change(&mut entry);
            self.keep(uid.to_owned(), entry);
        }
    }

    /// Takes an entry out of the map and out of every index.
    fn take(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        match &entry.place {
            Place::Active => {
                self.active.remove(&entry.turn(uid));
            }
            Place::Trying { .. } => {
                self.trying.remove(uid);
            }
            Place::Backoff(_) | Place::Waiting { .. } => {}
        }
        for plugin in entry.refused_by() {
            if let Some(uids) = self.waiting.get_mut(&plugin) {
                uids.remove(uid);
            }
        }
        if let Some(at) = entry.due_at() {
            self.timed.remove(&(at, uid.to_owned()));
        }
        Some(entry)
    }

    fn keep(&mut self, uid: String, entry: Entry) {
        match &entry.place {
            Place::Active => {
                self.active.insert(entry.turn(&uid));
            }
            Place::Trying { .. } => {
                self.trying.insert(uid.clone());
            }
            Place::Backoff(_) | Place::Waiting { .. } => {}
        }
        for plugin in entry.refused_by() {
            self.waiting.entry(plugin).or_default().insert(uid.clone());
        }
        if let Some(at) = entry.due_at() {
            self.timed.insert((at, uid.clone()));
        }
        self.entries.insert(uid, entry);
    }
}

impl Entry {
    fn turn(&self, uid: &str) -> (Reverse<i32>, Timestamp, String) {
        (Reverse(self.pod.spec.priority), self.queued, uid.to_owned())
    }

    fn refused_by(&self) -> Vec<Option<Plugin>> {
        match &self.place {
            Place::Waiting { plugins, .. } if plugins.is_empty() => vec![None],
            Place::Waiting { plugins, .. } => plugins.iter().copied().map(Some).collect(),
            Place::Active | Place::Backoff(_) | Place::Trying { .. } => Vec::new(),
        }
    }

    fn backoff(&self) -> SignedDuration {
        let doublings = self.attempts.saturating_sub(1).min(8);
        (BACKOFF_MIN * (1 << doublings)).min(BACKOFF_MAX)
    }

    /// Something may help: try as soon as the pause after the last attempt is over.
    fn stir(&mut self, now: Timestamp) {
        match self.place {
            Place::Waiting { .. } => {
                let at = self.last_tried + self.backoff();
                self.place = if at > now { Place::Backoff(at) } else { Place::Active };
            }
            Place::Trying { .. } => self.place = Place::Trying { happened: true },
            Place::Active | Place::Backoff(_) => {}
        }
    }

    fn due_at(&self) -> Option<Timestamp> {
        match &self.place {
            Place::Backoff(at) => Some(*at),
            Place::Waiting { since, .. } => Some(*since + FORGOTTEN),
            Place::Active | Place::Trying { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({ "metadata": { "uid": name }, "spec": { "priority": priority } }))
                .unwrap(),
        )
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn higher_priority_goes_first_then_who_waited_longer() {
        let mut pending = Pending::default();
        pending.put(pod("a", 0), at(0));
        pending.put(pod("b", 5), at(1));
        pending.put(pod("c", 0), at(2));
        let order: Vec<String> =
            std::iter::from_fn(|| pending.next(at(3))).map(|pod| pod.metadata.uid.clone()).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn a_refused_pod_waits_for_what_may_help_and_for_its_pause() {
        let mut pending = Pending::default();
        pending.put(pod("a", 0), at(0));
        assert!(pending.next(at(0)).is_some());
        pending.unschedulable("a", [Plugin::NodeResourcesFit].into(), at(0));
        pending.happened(Happening::NodeTaints, at(0));
        assert_eq!(pending.wake_at(), Some(at(300)));
        pending.happened(Happening::PodGone, at(0));
        assert!(pending.next(at(0)).is_none());
        assert_eq!(pending.wake_at(), Some(at(1)));
        assert!(pending.next(at(1)).is_some());
        // Something happens during the attempt.
        pending.happened(Happening::PodGone, at(1));
        pending.unschedulable("a", [Plugin::NodeResourcesFit].into(), at(1));
        assert_eq!(pending.wake_at(), Some(at(3)));
        assert!(pending.next(at(3)).is_some());
        pending.failed("a");
        assert_eq!(pending.wake_at(), Some(at(7)));
    }
}
