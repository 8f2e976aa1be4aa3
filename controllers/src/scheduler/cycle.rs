//! One scheduling decision: filter, score, choose. Reads a snapshot and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::affinity::Affinities;
use super::filter::{Plugin, Refusal, Wanted, filter, named_nodes};
use super::request::Request;
use super::score::score;
use super::snapshot::{NodeState, Snapshot, host_ports};
use super::view::{Node, Pod};

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The pod goes to this node.
    Node(String),
    /// It can go nowhere now.
    Nowhere {
        /// What people are told.
        message: String,
        /// Rules that refused a node; a change that touches none of them cannot help.
        plugins: BTreeSet<Plugin>,
    },
}

/// Decides where a pod goes. Of equally good nodes `tie` picks one.
pub(crate) fn schedule(pod: &Pod, snapshot: &Snapshot, tie: u64) -> Decision {
    if let Some(what) = unsupported(pod) {
        let total = snapshot.nodes().count();
        let message = format!("0/{total} nodes are available: {what} not supported by this scheduler yet.");
        return Decision::Nowhere { message, plugins: BTreeSet::new() };
    }
    let wanted = Wanted { pod, request: Request::of(pod), ports: host_ports(pod) };
    let affinities = Affinities::of(pod, snapshot);
    let named = named_nodes(pod);
    let (mut fitting, mut refused, mut total, mut unnamed) = (Vec::new(), Vec::new(), 0, 0);
    for (node, state) in snapshot.nodes() {
        total += 1;
        if named.as_ref().is_some_and(|named| !named.contains(node.metadata.name.as_str())) {
            unnamed += 1;
            continue;
        }
        match filter(&wanted, node, state).or_else(|| affinities.refuse(node)) {
            Some(refusal) => refused.push((state, refusal)),
            None => fitting.push((node, state)),
        }
    }
    if fitting.is_empty() {
        return nowhere(&wanted, total, unnamed, &refused);
    }
    let scores = score(&wanted, snapshot, &fitting);
    Decision::Node(choose(&fitting, &scores, tie))
}

fn choose(nodes: &[(&Node, &NodeState)], scores: &[i64], tie: u64) -> String {
    let best = scores.iter().max().copied().expect("one node fits at least");
    let equal: Vec<&str> = nodes
        .iter()
        .zip(scores)
        .filter(|(_, score)| **score == best)
        .map(|((node, _), _)| node.metadata.name.as_str())
        .collect();
    let count = u64::try_from(equal.len()).expect("a length fits");
    equal[usize::try_from(tie % count).expect("smaller than a length")].to_owned()
}

/// What a pod uses that would be decided wrongly if it were ignored.
fn unsupported(pod: &Pod) -> Option<&'static str> {
    let volumes = &pod.spec.volumes;
    if volumes.iter().any(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()) {
        return Some("persistent volume claims are");
    }
    if !pod.spec.resource_claims.is_empty() {
        return Some("resource claims are");
    }
    let affinity = &pod.spec.affinity;
    let mut terms = affinity.pod_affinity.required.iter().chain(&affinity.pod_anti_affinity.required);
    if terms.any(|term| term.namespace_selector.as_ref().is_some_and(|selector| !selector.is_empty())) {
        return Some("namespace selectors of pod affinity are");
    }
    None
}

fn nowhere(wanted: &Wanted<'_>, total: usize, unnamed: usize, refused: &[(&NodeState, Refusal)]) -> Decision {
    if total == 0 {
        // Only a node can help, and a new node is looked at by all.
        let message = "no nodes available to schedule pods".to_owned();
        return Decision::Nowhere { message, plugins: BTreeSet::new() };
    }
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in refused.iter().flat_map(|(_, refusal)| &refusal.reasons) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut plugins: BTreeSet<Plugin> = refused.iter().map(|(_, refusal)| refusal.plugin).collect();
    if unnamed > 0 {
        *reasons.entry("node(s) didn't satisfy plugin(s) [NodeAffinity]").or_default() += unnamed;
        plugins.insert(Plugin::NodeAffinity);
    }
    let message = format!(
        "{} preemption: {}",
        available(total, &reasons),
        preemption(wanted.pod, total, unnamed, refused)
    );
    Decision::Nowhere { message, plugins }
}

/// Why no lower pod is asked to leave.
fn preemption(pod: &Pod, total: usize, unnamed: usize, refused: &[(&NodeState, Refusal)]) -> String {
    if pod.spec.preemption_policy == "Never" {
        return "not eligible due to preemptionPolicy=Never.".to_owned();
    }
    let mut reasons = BTreeMap::<&str, usize>::new();
    for (state, refusal) in refused {
        let lower = state.pods.values().any(|placed| placed.pod.spec.priority < pod.spec.priority);
        let reason = match (refusal.unresolvable, lower) {
            (true, _) => "Preemption is not helpful for scheduling",
            (false, false) => "No preemption victims found for incoming pod",
            (false, true) => "Preemption is not supported by this scheduler yet",
        };
        *reasons.entry(reason).or_default() += 1;
    }
    if unnamed > 0 {
        *reasons.entry("Preemption is not helpful for scheduling").or_default() += unnamed;
    }
    available(total, &reasons)
}

fn available(total: usize, reasons: &BTreeMap<&str, usize>) -> String {
    let mut parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{total} nodes are available: {}.", parts.join(", "))
}
