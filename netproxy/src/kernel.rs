//! Where the proxy acts: the kernel's tables, through a trait, so that tests see what would be told to it.

mod nft;

pub use nft::Nft;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

/// A UDP flow the kernel may still remember: its clients would go on talking to a backend that is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleFlow {
    /// The address clients use; the node port's flows have none.
    pub frontend: Option<SocketAddr>,
    /// The port of the node, for node ports.
    pub node_port: Option<u16>,
    /// The backend that is gone; `None` when there was none before.
    pub backend: Option<SocketAddr>,
}

/// The kernel as the proxy uses it.
pub trait Kernel: Send {
    /// Applies a script of commands, all or nothing.
    ///
    /// # Errors
    /// The kernel or its tool refused; nothing was changed.
    fn apply(&mut self, script: &str) -> impl Future<Output = io::Result<()>> + Send;

    /// Forgets connection state of a UDP backend that is gone.
    ///
    /// # Errors
    /// The tool could not be run. A flow that does not exist is no error.
    fn forget(&mut self, flow: &StaleFlow) -> impl Future<Output = io::Result<()>> + Send;
}
