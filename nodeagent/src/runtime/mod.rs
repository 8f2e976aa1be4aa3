//! The container runtime as the agent sees it: one trait, the CRI client behind it, and a recording fake.
//!
//! The messages are CRI's own, so that nothing is lost in a translation; what a message *means* for a pod
//! is decided in [`crate::pod`].

pub mod cri;
pub mod fake;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use proto::cri as api;

/// A future of the runtime; boxed, so that the trait can be used as an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RuntimeError>> + Send + 'a>>;

/// A failed call, with what the runtime said.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rpc error: code = {code:?} desc = {message}")]
pub struct RuntimeError {
    /// The gRPC code.
    pub code: tonic::Code,
    /// The runtime's own words.
    pub message: String,
}

impl RuntimeError {
    /// The object the call was about does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.code == tonic::Code::NotFound
    }
}

impl From<tonic::Status> for RuntimeError {
    fn from(status: tonic::Status) -> Self {
        RuntimeError { code: status.code(), message: status.message().to_owned() }
    }
}

/// What a command in a container did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub exit_code: i32,
    /// What it wrote, at most 16 MiB.
    pub stdout: Vec<u8>,
    /// What it wrote to the error stream.
    pub stderr: Vec<u8>,
}

/// Everything the runtime has of this node's pods, in one look.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// All sandboxes with this node's label.
    pub sandboxes: Vec<api::PodSandbox>,
    /// All containers with this node's label.
    pub containers: Vec<api::Container>,
}

/// A runtime: containerd through CRI, or a fake.
pub trait Runtime: Send + Sync + 'static {
    /// Name and version.
    fn version(&self) -> Answer<'_, api::VersionResponse>;
    /// RuntimeReady and NetworkReady.
    fn status(&self) -> Answer<'_, api::RuntimeStatus>;
    /// All sandboxes and containers that carry the label.
    fn inventory(&self, label: (String, String)) -> Answer<'_, Inventory>;
    /// One sandbox in detail; its addresses are only here.
    fn sandbox_status(&self, id: String) -> Answer<'_, api::PodSandboxStatus>;
    /// Starts the pause process and joins the network.
    fn run_sandbox(&self, config: api::PodSandboxConfig) -> Answer<'_, String>;
    /// Kills what is in it and leaves the network.
    fn stop_sandbox(&self, id: String) -> Answer<'_, ()>;
    /// Forgets it with its containers.
    fn remove_sandbox(&self, id: String) -> Answer<'_, ()>;
    /// Prepares a container.
    fn create_container(
        &self,
        sandbox: String,
        config: api::ContainerConfig,
        sandbox_config: api::PodSandboxConfig,
    ) -> Answer<'_, String>;
    /// Starts it.
    fn start_container(&self, id: String) -> Answer<'_, ()>;
    /// Sends the stop signal, waits `grace`, kills.
    fn stop_container(&self, id: String, grace: Duration) -> Answer<'_, ()>;
    /// Forgets it.
    fn remove_container(&self, id: String) -> Answer<'_, ()>;
    /// One container in detail.
    fn container_status(&self, id: String) -> Answer<'_, api::ContainerStatus>;
    /// Opens the log file anew after a rotation.
    fn reopen_log(&self, id: String) -> Answer<'_, ()>;
    /// Runs a command and waits for it. A command that outlives `timeout` gives DeadlineExceeded.
    fn exec(&self, id: String, command: Vec<String>, timeout: Duration) -> Answer<'_, ExecOutput>;
    /// The URL of an interactive exec.
    fn exec_url(&self, request: api::ExecRequest) -> Answer<'_, String>;
    /// The URL of an attach.
    fn attach_url(&self, request: api::AttachRequest) -> Answer<'_, String>;
    /// The URL of a port-forward.
    fn port_forward_url(&self, sandbox: String) -> Answer<'_, String>;
    /// All images.
    fn images(&self) -> Answer<'_, Vec<api::Image>>;
    /// One image, if it is there.
    fn image(&self, name: String) -> Answer<'_, Option<api::Image>>;
    /// Pulls and gives the reference.
    fn pull(&self, name: String, auth: Option<api::AuthConfig>) -> Answer<'_, String>;
    /// Waits until something about tasks may have changed. It may wake for nothing; it never stays silent
    /// for longer than the relist period. For one listener: what happens while nobody waits wakes the next wait.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
