//! The ways to carry services: each keeps what it told the kernel and turns changes into commands.
//!
//! A plane decides nothing: `compile` says what the kernel shall have, `kernel` is how it is told.

mod ipvs;
mod nftables;

use std::future::Future;
use std::io;

pub use ipvs::IpvsPlane;
pub use nftables::NftablesPlane;

use crate::diff::Change;
use crate::model::Frontend;

/// What carries services in the kernel.
pub trait Plane: Send {
    /// Forgets what was told and makes the kernel ready for the first changes: `fixed` frontends, which follow no
    /// object, and `changes` from nothing are all that is left afterwards.
    ///
    /// # Errors
    /// The kernel refused; beginning again is safe.
    fn begin(
        &mut self,
        fixed: &[Frontend],
        changes: &[Change],
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Tells the kernel what changed.
    ///
    /// # Errors
    /// The kernel refused; what it has is unknown until `begin`.
    fn change(&mut self, changes: &[Change]) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits until there is something to `tend`. May be dropped at any time.
    fn wake(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Does what time and the node bring, not services: what `wake` woke for.
    ///
    /// # Errors
    /// The kernel refused; what it has is unknown until `begin`.
    fn tend(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Bytes sent to the kernel so far.
    fn sent_bytes(&self) -> u64;
}
