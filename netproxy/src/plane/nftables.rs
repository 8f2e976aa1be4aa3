//! Services as nftables rules: every change is one transaction.

use std::io;

use super::Plane;
use crate::compile::nftables::{Networks, base, piece, transaction};
use crate::diff::{Change, stale_flows};
use crate::kernel::Kernel;
use crate::model::Frontend;

/// Services in nftables.
#[derive(Debug)]
pub struct NftablesPlane<K> {
    kernel: K,
    networks: Vec<Networks>,
    sent_bytes: u64,
}

impl<K: Kernel> NftablesPlane<K> {
    /// For pods in `networks`, told through `kernel`.
    pub fn new(kernel: K, networks: Vec<Networks>) -> Self {
        Self { kernel, networks, sent_bytes: 0 }
    }

    async fn tell(&mut self, mut script: String, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            for networks in &self.networks {
                let (old, new) = (piece(&change.old, networks), piece(&change.new, networks));
                transaction(&mut script, networks.family, &old, &new);
            }
        }
        if !script.is_empty() {
            self.sent_bytes += script.len() as u64;
            self.kernel.apply(&script).await?;
        }
        for flow in changes.iter().flat_map(stale_flows) {
            self.kernel.forget(&flow).await?;
        }
        Ok(())
    }
}

impl<K: Kernel> Plane for NftablesPlane<K> {
    async fn begin(&mut self, fixed: &[Frontend], changes: &[Change]) -> io::Result<()> {
        let mut script = String::new();
        for networks in &self.networks {
            script.push_str(&base(networks));
            let fixed = piece(fixed, networks);
            transaction(&mut script, networks.family, &Default::default(), &fixed);
        }
        self.tell(script, changes).await
    }

    async fn change(&mut self, changes: &[Change]) -> io::Result<()> {
        self.tell(String::new(), changes).await
    }

    fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }
}
