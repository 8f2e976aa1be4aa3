//! Pods on a node through the container runtime interface.
//!
//! The agent is an ordinary client of the Kubernetes API: it registers its node, runs the pods that are
//! bound to it, and reports what it sees. It decides nothing about placement and never talks to the store.
//! Every decision about a pod is made in the pure files of [`pod`]; the rest of the crate observes and acts.

pub mod cgroups;
pub mod container;
pub mod events;
pub mod images;
pub mod logs;
pub mod node;
pub mod objects;
pub mod options;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod server;
pub mod shared;
pub mod volumes;

pub use options::{Capacity, Options, ServerTls};

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use events::Recorder;
use images::Images;
use node::facts::Facts;
use objects::Objects;
use pod::supervisor::{self, Pods};
use runtime::Runtime;
use shared::Shared;

/// Why the agent could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A directory of the agent could not be made.
    #[error("cannot prepare {path}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The HTTPS server could not be started.
    #[error("cannot serve on {address}")]
    Serve {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: server::ServeError,
    },
}

/// Runs the agent until `shutdown` is cancelled. Containers keep running afterwards: the next agent on
/// the same node adopts them.
pub async fn run(
    client: kube::Client,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime::cri::Cri::new(&options.runtime_endpoint));
    run_with(client, runtime, options, shutdown).await
}

/// Like [`run`], with a runtime given from outside.
pub async fn run_with(
    client: kube::Client,
    runtime: Arc<dyn Runtime>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    for path in [options.pods_dir.join("pods"), options.logs_dir.clone()] {
        node::private_directory(&path).map_err(|source| RunError::Directory { path, source })?;
    }
    let pods = Pods::default();
    let server = match &options.tls {
        None => None,
        Some(tls) => {
            let server = server::Server::bind(options.listen, tls).await;
            Some(server.map_err(|source| RunError::Serve { address: options.listen, source })?)
        }
    };
    let port = server.as_ref().map(server::Server::port);
    let work = async {
        let shared = Arc::new(shared(client, runtime, options, &shutdown).await);
        let serving = async {
            if let Some(server) = server {
                server.run(Arc::clone(&shared), pods.clone(), shutdown.clone()).await;
            }
        };
        let working = async {
            let node = node::sync::register(&shared, port).await;
            let (labels, current) =
                tokio::sync::watch::channel(node.metadata.labels.clone().unwrap_or_default());
            tokio::join!(
                node::labels::follow(Arc::clone(&shared), labels, shutdown.clone()),
                node::sync::run(Arc::clone(&shared), node, port, shutdown.clone()),
                logs::rotate::run(shared.runtime.as_ref(), pods.clone(), shutdown.clone()),
                supervisor::run(Arc::clone(&shared), pods.clone(), current, shutdown.clone()),
            );
        };
        // One future, so that the port is closed when this function returns: the next agent opens it at once.
        tokio::join!(serving, working);
    };
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

/// Waits for the runtime and gathers what all workers share.
async fn shared(
    client: kube::Client,
    runtime: Arc<dyn Runtime>,
    options: Options,
    shutdown: &CancellationToken,
) -> Shared {
    let runtime_name = runtime_name(runtime.as_ref()).await;
    let objects = Objects::new(client.clone(), shutdown.clone());
    let recorder = Recorder::new(client, options.node_name.clone());
    let images =
        Images { runtime: Arc::clone(&runtime), objects: objects.clone(), recorder: recorder.clone() };
    let facts = Facts::read(&options);
    Shared { options, runtime, runtime_name, objects, images, recorder, facts }
}

/// Nothing can be done before the runtime answers.
async fn runtime_name(runtime: &dyn Runtime) -> String {
    let mut told = false;
    loop {
        match runtime.version().await {
            Ok(version) => return version.runtime_name,
            Err(error) if !told => {
                tracing::warn!(%error, "waiting for the container runtime");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
