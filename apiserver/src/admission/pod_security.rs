//! Pod Security: pods that break what their namespace enforces are refused,
//! and writers of pods and templates are warned. The standards are in the
//! kinds crate; this reads the namespace and its pods.

use super::{Operation, Review};
use crate::catalog;
use crate::status::{ApiError, ApiResult};
use kinds::pod_security::{self as standards, Policy, Standard, Subject, details, reasons, violations};
use kinds::{Subresource, tree};
use mvcc::Key;
use schema::Tree;
use schema::go::quote;
use std::collections::{BTreeMap, HashSet};

/// Pods of a namespace that are looked at when it becomes stricter, as upstream.
const PODS_MAX: usize = 3000;

pub(super) fn validate(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if review.operation == Operation::Delete {
        return Ok(());
    }
    let resource = review.kind.resource;
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") if review.sub == Subresource::None => namespace(review, object, old),
        ("", "pods") => pod(review, object, old),
        _ if review.sub == Subresource::None => template(review, object),
        _ => Ok(()),
    }
}

fn policy_of(review: &Review<'_>, namespace: &str) -> Option<Policy> {
    let entry = review.view.entry(&Key::new("namespaces", "", namespace))?;
    Some(Policy::of(entry.object.labels.iter().map(|(key, value)| (&**key, &**value))))
}

fn pod(review: &Review<'_>, pod: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if matches!(review.sub, Subresource::Status | Subresource::Binding | Subresource::Eviction) {
        return Ok(());
    }
    let Some(policy) = policy_of(review, tree::str_at(pod, "metadata.namespace")) else { return Ok(()) };
    if old.is_some_and(|old| !standards::is_significant(pod, old)) {
        return Ok(());
    }
    let subject = Subject::of(pod);
    let broken = violations(policy.enforce, &subject);
    if broken.is_empty() {
        warn(review, &policy, &subject);
        return Ok(());
    }
    let text = format!("violates PodSecurity {}: {}", quote(&policy.enforce.to_string()), details(&broken));
    Err(ApiError::forbidden(&review.kind.group_resource, tree::str_at(pod, "metadata.name"), text))
}

/// What makes pods is only commented on: its pods are refused when they come.
fn template(review: &Review<'_>, object: &Tree) -> ApiResult<()> {
    let resource = review.kind.resource;
    let path = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "podtemplates") => "template",
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => "spec.template",
        ("batch", "cronjobs") => "spec.jobTemplate.spec.template",
        _ => return Ok(()),
    };
    let policy = policy_of(review, tree::str_at(object, "metadata.namespace"));
    if let (Some(policy), Some(template)) = (policy, tree::at(object, path)) {
        warn(review, &policy, &Subject::of(template));
    }
    Ok(())
}

fn warn(review: &Review<'_>, policy: &Policy, subject: &Subject<'_>) {
    let broken = violations(policy.warn, subject);
    if !broken.is_empty() {
        let text =
            format!("would violate PodSecurity {}: {}", quote(&policy.warn.to_string()), details(&broken));
        review.context.warnings.add(text);
    }
}

/// A namespace's labels must be understood; when it becomes stricter, the pods that break it now are named.
fn namespace(review: &Review<'_>, new: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    let policy = Policy::of(tree::entries_at(new, "metadata.labels"));
    let before = old.map(|old| Policy::of(tree::entries_at(old, "metadata.labels")));
    let known = before.as_ref().is_some_and(|before| before.errors == policy.errors);
    let name = tree::str_at(new, "metadata.name");
    if !policy.errors.is_empty() && !known {
        return Err(ApiError::invalid("", "Namespace", name, &policy.errors));
    }
    if before.is_some_and(|before| policy.enforce.asks_more_than(before.enforce)) {
        for text in comments_on_pods(review, name, policy.enforce)? {
            review.context.warnings.add(text);
        }
    }
    Ok(())
}

fn comments_on_pods(review: &Review<'_>, namespace: &str, standard: Standard) -> ApiResult<Vec<String>> {
    let pods = pods_of(review, namespace)?;
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().take(PODS_MAX) {
        let broken = violations(standard, &Subject::of(pod));
        if !broken.is_empty() {
            by_reason.entry(reasons(&broken)).or_default().push(tree::str_at(pod, "metadata.name"));
        }
    }
    let mut comments = Vec::new();
    if pods.len() > PODS_MAX {
        let total = pods.len();
        comments.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {total} existing pods"
        ));
    }
    if !by_reason.is_empty() {
        let (namespace, standard) = (quote(namespace), quote(&standard.to_string()));
        comments.push(format!(
            "existing pods in namespace {namespace} violate the new PodSecurity enforce level {standard}"
        ));
    }
    let mut named: Vec<String> =
        by_reason.into_iter().map(|(reason, pods)| format!("{}: {reason}", some_of(&pods))).collect();
    named.sort();
    comments.extend(named);
    Ok(comments)
}

/// The first pod by name, and how many more.
fn some_of(pods: &[&str]) -> String {
    let first = pods.iter().min().copied().unwrap_or_default();
    match pods.len() {
        0 | 1 => first.to_owned(),
        2 => format!("{first} (and 1 other pod)"),
        count => format!("{first} (and {} other pods)", count - 1),
    }
}

/// The pods of a namespace, one of each controller first.
fn pods_of(review: &Review<'_>, namespace: &str) -> ApiResult<Vec<Tree>> {
    let Some(kind) = catalog::find("", "v1", "pods") else { return Ok(Vec::new()) };
    let mut seen: HashSet<String> = HashSet::new();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for entry in review.view.list("pods", Some(namespace), None) {
        let pod = review.context.server.codec.tree(kind, entry, entry.revision)?;
        let owners = tree::list_at(&pod, "metadata.ownerReferences").iter();
        let controller = owners
            .filter(|owner| tree::bool_at(owner, "controller") == Some(true))
            .map(|owner| tree::str_at(owner, "uid"))
            .next();
        let is_new = controller.is_none_or(|uid| seen.insert(uid.to_owned()));
        if is_new { first.push(pod) } else { others.push(pod) }
    }
    first.extend(others);
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_stands_for_many() {
        assert_eq!(some_of(&["b"]), "b");
        assert_eq!(some_of(&["b", "a"]), "a (and 1 other pod)");
        assert_eq!(some_of(&["b", "a", "c"]), "a (and 2 other pods)");
    }
}
