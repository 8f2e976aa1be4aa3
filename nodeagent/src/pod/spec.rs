//! Questions that a pod's specification answers by itself.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, ContainerStatus, EphemeralContainer, Pod, PodSpec, PodStatus,
};

/// The specification; the API server never stores a pod without one.
pub fn spec(pod: &Pod) -> &PodSpec {
    static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&NONE)
}

/// The pod's uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// How messages name a pod: `name_namespace(uid)`.
pub fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Init containers, sidecars among them.
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// Main containers.
pub fn main_containers(pod: &Pod) -> &[Container] {
    &spec(pod).containers
}

/// Which list of the specification a container stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs once before the main containers.
    Init,
    /// An init container that goes on running.
    Sidecar,
    /// A main container.
    Main,
    /// A container that was added to the running pod to look at it, and runs once.
    Ephemeral,
}

impl Role {
    /// The path of a container with this role, for events.
    pub fn field_path(self, name: &str) -> String {
        match self {
            Role::Main => format!("spec.containers{{{name}}}"),
            Role::Init | Role::Sidecar => format!("spec.initContainers{{{name}}}"),
            Role::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// All containers of the pod's own with their roles, in the order in which they start.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    let init = init_containers(pod)
        .iter()
        .map(|container| (if is_sidecar(container) { Role::Sidecar } else { Role::Init }, container));
    init.chain(main_containers(pod).iter().map(|container| (Role::Main, container)))
}

/// Finds a container in any list.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    let own = containers(pod).find(|(_, container)| container.name == name);
    own.map(|(role, container)| (role, Cow::Borrowed(container))).or_else(|| {
        let added = ephemeral(pod).iter().find(|container| container.name == name)?;
        Some((Role::Ephemeral, Cow::Owned(as_container(added))))
    })
}

/// What is reported of containers of every role: main, init, and those that were added to look at the pod.
pub fn container_statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten()
}

/// Containers that were added to look at the pod.
pub fn ephemeral(pod: &Pod) -> &[EphemeralContainer] {
    spec(pod).ephemeral_containers.as_deref().unwrap_or_default()
}

/// The container whose processes an added one is to see.
pub fn target<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let added = ephemeral(pod).iter().find(|container| container.name == name)?;
    added.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// What an added container has in common with the others, which is all but its target.
pub fn as_container(added: &EphemeralContainer) -> Container {
    let fields = serde_json::to_value(added).expect("a container is plain data");
    serde_json::from_value(fields).expect("every field is one of a container")
}

/// An init container with restartPolicy Always.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The pod shares the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network == Some(true)
}

/// Whether a container that exited with `code` is started again, by its own rules or the pod's.
pub fn restarts(pod: &Pod, role: Role, container: &Container, code: i32) -> bool {
    if role == Role::Ephemeral {
        return false;
    }
    let mut rules = container.restart_policy_rules.iter().flatten();
    if rules.any(|rule| rule.action == "Restart" && rule_matches(rule, code)) {
        return true;
    }
    let policy = container.restart_policy.as_deref().or(spec(pod).restart_policy.as_deref());
    match (policy.unwrap_or("Always"), role) {
        ("Never", _) => false,
        // An init container of an Always pod is done when it succeeded, as with OnFailure.
        ("OnFailure", _) | (_, Role::Init) => code != 0,
        _ => true,
    }
}

fn rule_matches(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(codes) = &rule.exit_codes else { return false };
    let listed = codes.values.iter().flatten().any(|value| *value == code);
    match codes.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

/// Seconds a container of this pod may take to stop. A deletion's own period wins.
pub fn grace_seconds(pod: &Pod) -> i64 {
    pod.metadata
        .deletion_grace_period_seconds
        .unwrap_or_else(|| spec(pod).termination_grace_period_seconds.unwrap_or(30))
}

/// Deletion was asked for.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Succeeded or Failed, as the API has it.
pub fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_every_role_are_looked_through() {
        let named = |name: &str| ContainerStatus { name: name.to_owned(), ..ContainerStatus::default() };
        let names = |status: &PodStatus| -> Vec<String> {
            container_statuses(status).map(|status| status.name.clone()).collect()
        };
        let mut status = PodStatus { container_statuses: Some(vec![named("main")]), ..PodStatus::default() };
        assert_eq!(names(&status), ["main"]);
        status.init_container_statuses = Some(vec![named("init"), named("sidecar")]);
        status.ephemeral_container_statuses = Some(vec![named("debugger")]);
        assert_eq!(names(&status), ["main", "init", "sidecar", "debugger"]);
    }
}
