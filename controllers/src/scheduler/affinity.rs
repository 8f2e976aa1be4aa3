//! Rules between pods: required affinity, anti-affinity and topology spread.
//!
//! All are about domains, the sets of nodes that share a label's value. Counts
//! for each domain are taken once for a pod; a node is then refused by its own
//! domain's counts.

use std::collections::{BTreeMap, BTreeSet};

use runtime::{LabelSelector, Requirement};

use super::filter::{Plugin, Refusal, node_matches, untolerated};
use super::snapshot::Snapshot;
use super::view::{Node, Pod, PodAffinityTerm, SpreadConstraint};

/// What one pod demands of the pods around it, counted over a snapshot.
pub(crate) struct Affinities {
    affinity: Vec<Domains>,
    anti: Vec<Domains>,
    /// Domains in which some placed pod does not want this one: key and value.
    unwelcome: BTreeSet<(String, String)>,
    /// The pod is the first of its kind and satisfies its own terms.
    first: bool,
    spread: Vec<Spread>,
}

#[derive(Default)]
struct Domains {
    key: String,
    /// Matching pods, by value of the key.
    counts: BTreeMap<String, i64>,
}

struct Spread {
    key: String,
    counts: BTreeMap<String, i64>,
    max_skew: i64,
    least: i64,
    own: i64,
}

impl Affinities {
    pub(crate) fn of(pod: &Pod, snapshot: &Snapshot) -> Affinities {
        let (affinity, anti) =
            (&pod.spec.affinity.pod_affinity.required, &pod.spec.affinity.pod_anti_affinity.required);
        let mut all = Affinities {
            affinity: affinity.iter().map(|_| Domains::default()).collect(),
            anti: anti.iter().map(|term| Domains::count(term, pod, snapshot)).collect(),
            unwelcome: unwelcome(pod, snapshot),
            first: false,
            spread: Vec::new(),
        };
        // A placed pod counts for affinity only if it satisfies every term.
        for (domains, term) in all.affinity.iter_mut().zip(affinity) {
            domains.key.clone_from(&term.topology_key);
            each_placed(snapshot, |placed, node| {
                if affinity.iter().all(|term| selects(term, pod, placed)) {
                    domains.add(node);
                }
            });
        }
        let none = all.affinity.iter().all(|domains| domains.counts.is_empty());
        all.first = none && affinity.iter().all(|term| selects(term, pod, pod));
        let hard = pod
            .spec
            .topology_spread_constraints
            .iter()
            .filter(|spread| spread.when_unsatisfiable == "DoNotSchedule");
        all.spread = hard.map(|constraint| Spread::count(constraint, pod, snapshot)).collect();
        all
    }

    /// Why a node is refused, if it is.
    pub(crate) fn refuse(&self, node: &Node) -> Option<Refusal> {
        let refusal = |plugin, reason: &str, unresolvable| {
            Some(Refusal { plugin, reasons: vec![reason.to_owned()], unresolvable })
        };
        for spread in &self.spread {
            let Some(value) = node.metadata.labels.get(&spread.key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return refusal(Plugin::PodTopologySpread, reason, true);
            };
            let here = spread.counts.get(value).copied().unwrap_or(0);
            if here + spread.own - spread.least > spread.max_skew {
                return refusal(
                    Plugin::PodTopologySpread,
                    "node(s) didn't match pod topology spread constraints",
                    false,
                );
            }
        }
        let labeled = self.affinity.iter().all(|domains| node.metadata.labels.contains_key(&domains.key));
        if !labeled || !(self.first || self.affinity.iter().all(|domains| domains.has(node))) {
            return refusal(Plugin::InterPodAffinity, "node(s) didn't match pod affinity rules", true);
        }
        if self.anti.iter().any(|domains| domains.has(node)) {
            return refusal(Plugin::InterPodAffinity, "node(s) didn't match pod anti-affinity rules", false);
        }
        let unwelcome =
            self.unwelcome.iter().any(|(key, value)| node.metadata.labels.get(key) == Some(value));
        if unwelcome {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return refusal(Plugin::InterPodAffinity, reason, false);
        }
        None
    }
}

impl Domains {
    fn count(term: &PodAffinityTerm, pod: &Pod, snapshot: &Snapshot) -> Domains {
        let mut domains = Domains { key: term.topology_key.clone(), counts: BTreeMap::new() };
        each_placed(snapshot, |placed, node| {
            if selects(term, pod, placed) {
                domains.add(node);
            }
        });
        domains
    }

    fn add(&mut self, node: &Node) {
        if let Some(value) = node.metadata.labels.get(&self.key) {
            *self.counts.entry(value.clone()).or_default() += 1;
        }
    }

    fn has(&self, node: &Node) -> bool {
        node.metadata.labels.get(&self.key).is_some_and(|value| self.counts.contains_key(value))
    }
}

impl Spread {
    fn count(constraint: &SpreadConstraint, pod: &Pod, snapshot: &Snapshot) -> Spread {
        let selector =
            with_label_keys(constraint.label_selector.as_ref(), &constraint.match_label_keys, &[], pod);
        let matches =
            |other: &Pod| selector.as_ref().is_some_and(|selector| selector.matches(&other.metadata.labels));
        let mut counts = BTreeMap::<String, i64>::new();
        for (node, state) in snapshot.nodes() {
            let Some(value) = node.metadata.labels.get(&constraint.topology_key) else { continue };
            if !eligible(constraint, pod, node) {
                continue;
            }
            let here = state.pods.values().filter(|placed| {
                let other = &placed.pod;
                other.metadata.namespace == pod.metadata.namespace
                    && !other.metadata.deleting()
                    && matches(other)
            });
            *counts.entry(value.clone()).or_default() += i64::try_from(here.count()).unwrap_or(i64::MAX);
        }
        let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
        let few = domains < constraint.min_domains.unwrap_or(1);
        let least = if few { 0 } else { counts.values().copied().min().unwrap_or(0) };
        Spread {
            key: constraint.topology_key.clone(),
            counts,
            max_skew: constraint.max_skew,
            least,
            own: i64::from(matches(pod)),
        }
    }
}

/// Whether a node's pods and domain count for a constraint.
fn eligible(constraint: &SpreadConstraint, pod: &Pod, node: &Node) -> bool {
    let honors_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let honors_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let keys = &pod.spec.topology_spread_constraints;
    let labeled = keys
        .iter()
        .filter(|other| other.when_unsatisfiable == "DoNotSchedule")
        .all(|other| node.metadata.labels.contains_key(&other.topology_key));
    labeled
        && (!honors_affinity || node_matches(pod, node))
        && (!honors_taints || untolerated(pod, node).is_none())
}

/// Domains whose pods do not want `pod` beside them.
fn unwelcome(pod: &Pod, snapshot: &Snapshot) -> BTreeSet<(String, String)> {
    let mut domains = BTreeSet::new();
    each_placed(snapshot, |placed, node| {
        for term in &placed.spec.affinity.pod_anti_affinity.required {
            let value = node.metadata.labels.get(&term.topology_key);
            if let Some(value) = value.filter(|_| selects(term, placed, pod)) {
                domains.insert((term.topology_key.clone(), value.clone()));
            }
        }
    });
    domains
}

fn each_placed(snapshot: &Snapshot, mut visit: impl FnMut(&Pod, &Node)) {
    for (node, state) in snapshot.nodes() {
        for placed in state.pods.values() {
            visit(&placed.pod, node);
        }
    }
}

/// Whether a term of `owner` selects `other`.
fn selects(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let keys = (&term.match_label_keys, &term.mismatch_label_keys);
    let selector = with_label_keys(term.label_selector.as_ref(), keys.0, keys.1, owner);
    in_namespaces(term, owner, other)
        && selector.is_some_and(|selector| selector.matches(&other.metadata.labels))
}

/// Namespaces are named, or are the owner's own. A selector over namespaces selects
/// all when it is empty; one with requirements is refused by the shell beforehand.
fn in_namespaces(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let namespace = &other.metadata.namespace;
    match &term.namespace_selector {
        Some(selector) if selector.is_empty() => true,
        None if term.namespaces.is_empty() => *namespace == owner.metadata.namespace,
        _ => term.namespaces.contains(namespace),
    }
}

/// A selector that also wants the pod's own values of some labels.
fn with_label_keys(
    selector: Option<&LabelSelector>,
    same: &[String],
    different: &[String],
    pod: &Pod,
) -> Option<LabelSelector> {
    let mut selector = selector?.clone();
    for (keys, operator) in [(same, "In"), (different, "NotIn")] {
        for key in keys {
            if let Some(value) = pod.metadata.labels.get(key) {
                let values = vec![value.clone()];
                selector.match_expressions.push(Requirement {
                    key: key.clone(),
                    operator: operator.to_owned(),
                    values,
                });
            }
        }
    }
    Some(selector)
}
