//! Which of the fitting nodes is best.

use super::filter::{Wanted, term_matches};
use super::snapshot::{NodeState, Snapshot};
use super::view::Node;

const MAX: i64 = 100;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const MIB: i64 = 1024 * 1024;
/// Images smaller than this together are no reason to prefer a node.
const IMAGES_MIN: i64 = 23 * MIB;
/// Images of a container beyond this count no further.
const IMAGES_MAX: i64 = 1000 * MIB;

/// Weighted scores of nodes, in their order.
pub(crate) fn score(wanted: &Wanted<'_>, snapshot: &Snapshot, nodes: &[(&Node, &NodeState)]) -> Vec<i64> {
    let taints = inverted(nodes.iter().map(|(node, _)| disliked_taints(wanted, node)).collect());
    let affinity = normalized(nodes.iter().map(|(node, _)| preference(wanted, node)).collect());
    let total = nodes.len();
    nodes
        .iter()
        .enumerate()
        .map(|(at, (node, state))| {
            WEIGHT_TAINTS * taints[at]
                + WEIGHT_NODE_AFFINITY * affinity[at]
                + least_allocated(wanted, state)
                + balanced(wanted, state)
                + images(wanted, snapshot, node, total)
        })
        .collect()
}

/// Scales to the best; all zero stays zero.
fn normalized(scores: Vec<i64>) -> Vec<i64> {
    let best = scores.iter().copied().max().unwrap_or(0);
    scores.into_iter().map(|score| if best == 0 { 0 } else { score * MAX / best }).collect()
}

/// Scales so that the least becomes the best; all zero is all best.
fn inverted(scores: Vec<i64>) -> Vec<i64> {
    normalized(scores).into_iter().map(|score| MAX - score).collect()
}

fn disliked_taints(wanted: &Wanted<'_>, node: &Node) -> i64 {
    let tolerations = &wanted.pod.spec.tolerations;
    let disliked = node.spec.taints.iter().filter(|taint| {
        taint.effect == "PreferNoSchedule"
            && !tolerations
                .iter()
                .any(|toleration| toleration.endures(&taint.key, &taint.value, &taint.effect))
    });
    i64::try_from(disliked.count()).unwrap_or(i64::MAX)
}

fn preference(wanted: &Wanted<'_>, node: &Node) -> i64 {
    let preferred = &wanted.pod.spec.affinity.node_affinity.preferred;
    let matching = preferred.iter().filter(|preferred| {
        let term = &preferred.preference;
        // Unlike a required term, an empty preference holds everywhere.
        (term.match_expressions.is_empty() && term.match_fields.is_empty()) || term_matches(term, node)
    });
    matching.map(|preferred| preferred.weight).sum()
}

/// Free share of processors and memory once the pod is there.
fn least_allocated(wanted: &Wanted<'_>, state: &NodeState) -> i64 {
    let mut scores = Vec::new();
    for name in ["cpu", "memory"] {
        let allocatable = state.allocatable.get(name);
        if allocatable == 0 {
            continue;
        }
        let requested = state.nonzero.get(name) + wanted.request.nonzero.get(name);
        scores.push(if requested > allocatable { 0 } else { (allocatable - requested) * MAX / allocatable });
    }
    let count = i64::try_from(scores.len()).unwrap_or(1).max(1);
    scores.iter().sum::<i64>() / count
}

/// Whether the pod makes the use of processors and memory more even.
fn balanced(wanted: &Wanted<'_>, state: &NodeState) -> i64 {
    let asked = &wanted.request.exact;
    if asked.get("cpu") == 0 && asked.get("memory") == 0 {
        return 0;
    }
    let evenness = |with_pod: bool| {
        let mut shares = Vec::new();
        for name in ["cpu", "memory"] {
            let allocatable = state.allocatable.get(name);
            if allocatable > 0 {
                let requested = state.requested.get(name) + if with_pod { asked.get(name) } else { 0 };
                shares.push((ratio(requested, allocatable)).min(1.0));
            }
        }
        let deviation = match shares.as_slice() {
            [one, other] => (one - other).abs() / 2.0,
            _ => 0.0,
        };
        percent(1.0 - deviation)
    };
    MAX / 2 + (MAX / 2 + evenness(true) - evenness(false)) / 2
}

/// Images the node already has.
fn images(wanted: &Wanted<'_>, snapshot: &Snapshot, node: &Node, total: usize) -> i64 {
    let spec = &wanted.pod.spec;
    let mut sum = 0;
    for container in spec.init_containers.iter().chain(&spec.containers) {
        let name = tagged(&container.image);
        if let Some(image) = node.status.images.iter().find(|image| image.names.contains(&name)) {
            let nodes = snapshot.nodes_with_image(&name);
            let spread = i64::try_from(nodes).unwrap_or(0);
            sum += image.size_bytes * spread / i64::try_from(total).unwrap_or(1).max(1);
        }
    }
    let containers = i64::try_from(spec.init_containers.len() + spec.containers.len()).unwrap_or(1);
    let max = IMAGES_MAX * containers.max(1);
    MAX * (sum.clamp(IMAGES_MIN, max) - IMAGES_MIN) / (max - IMAGES_MIN)
}

/// An image name with the tag it means.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
fn percent(share: f64) -> i64 {
    (share * 100.0) as i64
}
