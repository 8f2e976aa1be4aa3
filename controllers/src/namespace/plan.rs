//! What the emptying of a namespace says about itself, and when it is looked at next.
//!
//! Decides conditions and the next step from counts; never asks the server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runtime::{Resource, time};
use serde_json::{Value, json};

/// The finalizer that stands for this controller.
pub(crate) const FINALIZER: &str = "kubernetes";
/// Seconds granted to whoever owns a finalizer before we look again.
const FINALIZER_SECONDS: i64 = 15;

/// What is left of one resource after its collection was deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left {
    pub(crate) remaining: usize,
    pub(crate) finalizers: BTreeMap<String, usize>,
    /// Seconds the rest may still take, where that is known.
    pub(crate) estimate: i64,
}

/// What one round of emptying found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    pub(crate) left: Vec<(Resource, Left)>,
    pub(crate) delete_errors: Vec<String>,
    pub(crate) discovery_error: Option<String>,
    /// The round stopped at pods, whose rest holds everything else back.
    pub(crate) stopped_at_pods: bool,
}

/// What follows from a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing is left: remove the finalizer.
    Finalize,
    /// Look again after this many seconds, or when something goes.
    Wait(i64),
    /// Something failed: try again.
    Retry,
}

/// The judgement on one resource: its seconds to wait, and an error if its rest is unexplained.
pub(crate) fn judge(resource: &Resource, namespace: &str, mut left: Left) -> (Left, Option<String>) {
    if left.remaining == 0 {
        left.estimate = 0;
        return (left, None);
    }
    if left.estimate != 0 {
        return (left, None);
    }
    if !left.finalizers.is_empty() {
        left.estimate = FINALIZER_SECONDS;
        return (left, None);
    }
    let error = format!(
        "unexpected items still remain in namespace: {namespace} for gvr: {}, Resource={}",
        group_version(resource),
        resource.plural
    );
    (left, Some(error))
}

fn group_version(resource: &Resource) -> String {
    format!("{}/{}", resource.group, resource.version)
}

/// The step after a round.
pub(crate) fn then(round: &Round) -> Then {
    if !round.delete_errors.is_empty() || round.discovery_error.is_some() {
        return Then::Retry;
    }
    match round.left.iter().map(|(_, left)| left.estimate).max().unwrap_or(0) {
        0 if round.stopped_at_pods => Then::Retry,
        0 => Then::Finalize,
        seconds => Then::Wait(seconds / 2 + 1),
    }
}

/// The conditions after a round, or `None` when they stay as they are.
pub(crate) fn conditions(old: &[Value], round: &Round, now: Timestamp) -> Option<Vec<Value>> {
    let mut conditions = old.to_vec();
    let mut changed = false;
    for (kind, state) in states(round) {
        let status = if state.failing { "True" } else { "False" };
        let at = conditions.iter().position(|condition| condition["type"] == kind);
        let Some(at) = at else {
            conditions.push(json!({
                "type": kind,
                "status": status,
                "lastTransitionTime": time::seconds(now),
                "reason": state.reason,
                "message": state.message,
            }));
            changed = true;
            continue;
        };
        let condition = &mut conditions[at];
        if condition["status"] != status
            || condition["reason"] != state.reason
            || condition["message"] != state.message
        {
            if condition["status"] != status {
                condition["lastTransitionTime"] = time::seconds(now).into();
            }
            condition["status"] = status.into();
            condition["reason"] = state.reason.into();
            condition["message"] = state.message.into();
            changed = true;
        }
    }
    changed.then_some(conditions)
}

struct State {
    failing: bool,
    reason: &'static str,
    message: String,
}

fn state(failing: Option<(&'static str, String)>, fine: (&'static str, &str)) -> State {
    match failing {
        Some((reason, message)) => State { failing: true, reason, message },
        None => State { failing: false, reason: fine.0, message: fine.1.to_owned() },
    }
}

fn states(round: &Round) -> [(&'static str, State); 5] {
    let discovery = round.discovery_error.clone().map(|error| ("DiscoveryFailed", error));
    let mut errors = round.delete_errors.clone();
    errors.sort();
    let content = (!errors.is_empty()).then(|| {
        let count = errors.len();
        let text = format!("Failed to delete all resource types, {count} remaining: {}", errors.join(", "));
        ("ContentDeletionFailed", text)
    });
    // While pods hold everything back their rest is not counted, as upstream.
    let (remaining, finalizers) = if round.stopped_at_pods { (None, None) } else { totals(round) };
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            state(discovery, ("ResourcesDiscovered", "All resources successfully discovered")),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            state(None, ("ParsedGroupVersions", "All legacy kube types successfully parsed")),
        ),
        (
            "NamespaceDeletionContentFailure",
            state(
                content,
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
        ),
        (
            "NamespaceContentRemaining",
            state(
                remaining.map(|text| ("SomeResourcesRemain", text)),
                ("ContentRemoved", "All content successfully removed"),
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            state(
                finalizers.map(|text| ("SomeFinalizersRemain", text)),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ),
    ]
}

fn totals(round: &Round) -> (Option<String>, Option<String>) {
    let mut remaining = Vec::new();
    let mut finalizers = BTreeMap::<&str, usize>::new();
    for (resource, left) in round.left.iter().filter(|(_, left)| left.remaining > 0) {
        let Resource { plural, group, .. } = resource;
        remaining.push(format!("{plural}.{group} has {} resource instances", left.remaining));
        for (finalizer, count) in &left.finalizers {
            *finalizers.entry(finalizer).or_default() += count;
        }
    }
    remaining.sort();
    let mut held: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    held.sort();
    let remaining =
        (!remaining.is_empty()).then(|| format!("Some resources are remaining: {}", remaining.join(", ")));
    let held = (!held.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")));
    (remaining, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    static MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    static DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

    fn left(remaining: usize, finalizers: &[&str]) -> Left {
        let finalizers = finalizers.iter().map(|name| ((*name).to_owned(), 1)).collect();
        Left { remaining, finalizers, estimate: 0 }
    }

    /// One line a resource: what judging says.
    fn check(resource: &Resource, rest: Left, expect: &str) {
        let (left, error) = judge(resource, "a", rest);
        let text = match error {
            Some(error) => format!("error {error}"),
            None => format!("{} left, {} s", left.remaining, left.estimate),
        };
        assert_eq!(text, expect);
    }

    #[test]
    fn an_unexplained_rest_is_an_error() {
        check(&MAPS, left(0, &[]), "0 left, 0 s");
        check(&MAPS, left(1, &["x/y"]), "1 left, 15 s");
        check(
            &DEPLOYMENTS,
            left(2, &[]),
            "error unexpected items still remain in namespace: a for gvr: apps/v1, Resource=deployments",
        );
        check(
            &MAPS,
            left(2, &[]),
            "error unexpected items still remain in namespace: a for gvr: /v1, Resource=configmaps",
        );
    }

    #[test]
    fn conditions_say_what_holds_the_namespace() {
        let now = Timestamp::UNIX_EPOCH;
        let mut held = Round::default();
        held.left.push((MAPS.clone(), judge(&MAPS, "a", left(1, &["example.com/hold"])).0));
        assert_eq!(then(&held), Then::Wait(8));
        let first = conditions(&[], &held, now).expect("conditions are new");
        let lines: Vec<String> = first
            .iter()
            .map(|c| {
                format!(
                    "{} {} {}",
                    c["type"].as_str().unwrap(),
                    c["status"].as_str().unwrap(),
                    c["message"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "NamespaceDeletionDiscoveryFailure False All resources successfully discovered",
                "NamespaceDeletionGroupVersionParsingFailure False All legacy kube types successfully parsed",
                "NamespaceDeletionContentFailure False All content successfully deleted, may be waiting on finalization",
                "NamespaceContentRemaining True Some resources are remaining: configmaps. has 1 resource instances",
                "NamespaceFinalizersRemaining True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
        assert_eq!(conditions(&first, &held, now), None);
        let free = conditions(&first, &Round::default(), now).expect("the rest is gone");
        assert_eq!(free[3]["reason"], "ContentRemoved");
        assert_eq!(then(&Round::default()), Then::Finalize);
    }
}
