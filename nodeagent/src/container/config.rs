//! A container, as CRI is told.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use proto::cri::{
    ContainerConfig, ContainerMetadata, Image, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerResources, Mount,
};

use super::env::Environment;
use super::expand::expand;
use super::{NODE_LABEL, labels, security};
use crate::pod::spec;

/// What has been found out before a container can be described.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The image as the runtime has it.
    pub image: &'a Image,
    /// How many containers of this name came before.
    pub attempt: u32,
    /// Its environment.
    pub environment: &'a Environment,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// What the kernel is told.
    pub resources: LinuxContainerResources,
    /// The owner's name, for the label.
    pub node_name: &'a str,
    /// Where Localhost seccomp profiles are.
    pub seccomp_dir: &'a std::path::Path,
    /// The id of the container whose processes it is to see.
    pub target: Option<String>,
}

/// Describes a container, or says why its configuration cannot be.
pub fn config(pod: &Pod, container: &Container, parts: Parts<'_>) -> Result<ContainerConfig, String> {
    let lookup = |name: &str| parts.environment.get(name).map(str::to_owned);
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|word| expand(word, lookup)).collect()
    };
    let envs = parts
        .environment
        .iter()
        .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone().into_bytes() });
    let mut security_context = security::of_container(pod, container, Some(parts.image), parts.seccomp_dir)?;
    if let (Some(target), Some(namespaces)) = (parts.target, &mut security_context.namespace_options) {
        security::join(namespaces, target);
    }
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: parts.attempt }),
        image: Some(ImageSpec {
            image: parts.image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: envs.collect(),
        mounts: parts.mounts,
        devices: Vec::new(),
        labels: labels(pod, container, parts.node_name),
        annotations: annotations(container, parts.attempt),
        log_path: format!("{}/{}.log", container.name, parts.attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(parts.resources),
            security_context: Some(security_context),
        }),
    })
}

fn labels(pod: &Pod, container: &Container, node_name: &str) -> HashMap<String, String> {
    let pairs = [
        (labels::POD_NAME, spec::name(pod)),
        (labels::POD_NAMESPACE, spec::namespace(pod)),
        (labels::POD_UID, spec::uid(pod)),
        (labels::CONTAINER_NAME, container.name.as_str()),
        (NODE_LABEL, node_name),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn annotations(container: &Container, attempt: u32) -> HashMap<String, String> {
    let path = container.termination_message_path.clone().unwrap_or_default();
    let policy = container.termination_message_policy.clone().unwrap_or_default();
    [
        (labels::RESTART_COUNT, attempt.to_string()),
        (labels::TERMINATION_MESSAGE_PATH, path),
        (labels::TERMINATION_MESSAGE_POLICY, policy),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
