//! Where the proxy acts: the kernel's tables, through a trait, so that tests see what would be told to it.

mod addresses;
mod ipvs;
mod netlink;
mod nft;

pub use addresses::{Device, Watch};
pub use ipvs::Ipvs;
pub use nft::Nft;

use std::future::Future;
use std::io;

use crate::diff::StaleFlow;

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
