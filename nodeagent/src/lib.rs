//! Pods on a node through the container runtime interface.
//!
//! The agent is an ordinary client of the Kubernetes API: it registers its node, runs the pods that are
//! bound to it, and reports what it sees. It decides nothing about placement and never talks to the store.
//! Every decision about a pod is made in the pure files of [`pod`]; the rest of the crate observes and acts.

pub mod options;
pub mod runtime;

pub use options::{Options, ServerTls};

use tokio_util::sync::CancellationToken;

/// Why the agent could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The runtime's socket did not answer before `shutdown` was asked for.
    #[error("the container runtime at {endpoint} does not answer")]
    Runtime {
        /// The endpoint that was tried.
        endpoint: String,
        /// The last attempt's failure.
        #[source]
        source: runtime::RuntimeError,
    },
    /// A directory of the agent could not be made.
    #[error("cannot prepare {path}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The HTTPS port could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the agent until `shutdown` is cancelled. Containers keep running afterwards: the next agent on
/// the same node adopts them.
pub async fn run(client: kube::Client, options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    let _ = (client, options);
    shutdown.cancelled().await;
    Ok(())
}
