//! What a container and its sandbox are told: environment, commands, identity, files.
//!
//! Everything here is pure; [`crate::pod::execute`] fetches what is referred to and passes it in.

pub mod config;
pub mod downward;
pub mod env;
pub mod expand;
pub mod files;
pub mod sandbox;
pub mod security;

/// A label on every sandbox and container: the node that owns it. Nothing without it is ever touched.
pub const NODE_LABEL: &str = "io.kontiki.node";
/// The labels that log collectors and debugging tools read.
pub mod labels {
    /// Name of the pod.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Namespace of the pod.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Uid of the pod.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Name of the container.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Annotation: where the container may leave a last word.
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Annotation: whether the log stands in for a missing last word.
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Annotation: how many containers of this name came before.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
}
