//! Which nodes a pod can go to, and why not to the others, in upstream's words.

use std::collections::BTreeSet;

use runtime::selector::includes;

use super::request::Request;
use super::snapshot::{HostPort, NodeState};
use super::view::{Node, NodeSelectorTerm, Pod};
use crate::views::node::Taint;

/// A rule that can refuse a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Plugin {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    PodTopologySpread,
    InterPodAffinity,
}

/// Why a node is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) plugin: Plugin,
    pub(crate) reasons: Vec<String>,
    /// Removing pods from the node cannot help.
    pub(crate) unresolvable: bool,
}

impl Refusal {
    fn new(plugin: Plugin, reason: &str, unresolvable: bool) -> Refusal {
        Refusal { plugin, reasons: vec![reason.to_owned()], unresolvable }
    }
}

/// A pod with what the filters need computed once.
pub(crate) struct Wanted<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) request: Request,
    pub(crate) ports: Vec<HostPort>,
}

/// The first reason why a node does not take a pod.
pub(crate) fn filter(wanted: &Wanted<'_>, node: &Node, state: &NodeState) -> Option<Refusal> {
    let pod = wanted.pod;
    if node.spec.unschedulable && !tolerated(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule") {
        return Some(Refusal::new(Plugin::NodeUnschedulable, "node(s) were unschedulable", true));
    }
    if !pod.spec.node_name.is_empty() && pod.spec.node_name != node.metadata.name {
        return Some(Refusal::new(Plugin::NodeName, "node(s) didn't match the requested node name", true));
    }
    if untolerated(pod, node).is_some() {
        return Some(Refusal::new(Plugin::TaintToleration, "node(s) had untolerated taint(s)", true));
    }
    if !node_matches(pod, node) {
        let reason = "node(s) didn't match Pod's node affinity/selector";
        return Some(Refusal::new(Plugin::NodeAffinity, reason, true));
    }
    let taken = state.pods.values().flat_map(|placed| &placed.ports);
    if !wanted.ports.is_empty()
        && taken.into_iter().any(|taken| wanted.ports.iter().any(|port| port.collides(taken)))
    {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Some(Refusal::new(Plugin::NodePorts, reason, false));
    }
    fit(&wanted.request, state)
}

fn fit(request: &Request, state: &NodeState) -> Option<Refusal> {
    let mut reasons = Vec::new();
    let mut unresolvable = false;
    let pods = i64::try_from(state.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > state.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for name in in_order(request) {
        let (asked, allocatable) = (request.exact.get(name), state.allocatable.get(name));
        if asked > 0 && asked > allocatable - state.requested.get(name) {
            reasons.push(format!("Insufficient {name}"));
            unresolvable |= asked > allocatable;
        }
    }
    (!reasons.is_empty()).then_some(Refusal { plugin: Plugin::NodeResourcesFit, reasons, unresolvable })
}

fn in_order(request: &Request) -> impl Iterator<Item = &str> {
    const FIRST: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let rest = request.exact.0.keys().map(String::as_str).filter(|name| !FIRST.contains(name));
    FIRST.into_iter().chain(rest)
}

fn tolerated(pod: &Pod, key: &str, value: &str, effect: &str) -> bool {
    pod.spec.tolerations.iter().any(|toleration| toleration.endures(key, value, effect))
}

/// The first taint that keeps the pod off the node.
pub(crate) fn untolerated<'a>(pod: &Pod, node: &'a Node) -> Option<&'a Taint> {
    let mut taints =
        node.spec.taints.iter().filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute");
    taints.find(|taint| !tolerated(pod, &taint.key, &taint.value, &taint.effect))
}

/// Whether the node selector and the required node affinity hold.
pub(crate) fn node_matches(pod: &Pod, node: &Node) -> bool {
    let required = pod.spec.affinity.node_affinity.required.as_ref();
    includes(&node.metadata.labels, &pod.spec.node_selector)
        && required
            .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// Whether one term of a node affinity holds; an empty one never does.
pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let fields = [("metadata.name".to_owned(), node.metadata.name.clone())].into();
    term.match_expressions.iter().all(|requirement| requirement.matches(&node.metadata.labels))
        && term.match_fields.iter().all(|requirement| requirement.matches(&fields))
}

/// The only nodes a pod's affinity names, if every term names some.
pub(crate) fn named_nodes(pod: &Pod) -> Option<BTreeSet<&str>> {
    let terms = &pod.spec.affinity.node_affinity.required.as_ref()?.node_selector_terms;
    let mut all = BTreeSet::new();
    for term in terms {
        let mut named: Option<BTreeSet<&str>> = None;
        for field in
            term.match_fields.iter().filter(|field| field.key == "metadata.name" && field.operator == "In")
        {
            let values: BTreeSet<&str> = field.values.iter().map(String::as_str).collect();
            named = Some(match named {
                Some(before) => before.intersection(&values).copied().collect(),
                None => values,
            });
        }
        all.extend(named?);
    }
    (!terms.is_empty()).then_some(all)
}
