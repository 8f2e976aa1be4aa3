//! Gives each node a range of pod addresses, one for each family.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::{
    Cache, Client, Key, Next, PatchKind, Queue, Reconcile, Recorder, Regarding, Severity, View as _,
};
use serde_json::json;

use crate::views::Node;
use crate::{House, resources};

/// Length of a node's prefix.
const NODE_PREFIX_V4: u32 = 24;
const NODE_PREFIX_V6: u32 = 64;
/// When all ranges are taken, a node that goes makes room; looked at this often.
const FULL_PAUSE: Duration = Duration::from_secs(30);

/// The addresses of all pods in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pool {
    base: u128,
    prefix: u32,
    ipv6: bool,
}

impl Pool {
    fn parse(cidr: &str) -> Option<Pool> {
        let (address, prefix) = cidr.split_once('/')?;
        let prefix: u32 = prefix.parse().ok()?;
        let (base, ipv6) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), false),
            IpAddr::V6(address) => (u128::from(address), true),
        };
        (prefix <= if ipv6 { 128 } else { 32 }).then_some(Pool { base, prefix, ipv6 })
    }

    fn node_prefix(self) -> u32 {
        let length = if self.ipv6 { NODE_PREFIX_V6 } else { NODE_PREFIX_V4 };
        length.max(self.prefix)
    }

    /// Ranges for nodes, in order.
    fn ranges(self) -> impl Iterator<Item = String> {
        let bits = if self.ipv6 { 128 } else { 32 };
        let length = self.node_prefix();
        let count = 1_u128.checked_shl(length - self.prefix).unwrap_or(u128::MAX);
        let step = 1_u128.checked_shl(bits - length).unwrap_or(0);
        (0..count).map(move |at| {
            let address = self.base + at * step;
            if self.ipv6 {
                format!("{}/{length}", std::net::Ipv6Addr::from(address))
            } else {
                let address = u32::try_from(address).unwrap_or(u32::MAX);
                format!("{}/{length}", std::net::Ipv4Addr::from(address))
            }
        })
    }
}

/// The first free range of each pool; `None` if one has none left.
fn allocate(pools: &[Pool], taken: &BTreeSet<String>) -> Option<Vec<String>> {
    pools.iter().map(|pool| pool.ranges().find(|range| !taken.contains(range))).collect()
}

struct Ipam {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    pools: Vec<Pool>,
    /// Given by us, perhaps not yet seen on the node; by node.
    given: Mutex<BTreeMap<String, Vec<String>>>,
}

pub(crate) fn start(house: &mut House<'_>, nodes: &Cache<Node>, cidrs: &[String]) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    nodes.on_change(move |change| changed.add(change.latest().metadata().key()));
    let client = house.client("node-controller");
    let controller = Arc::new(Ipam {
        recorder: house.recorder(&client, "cidrAllocator"),
        client,
        nodes: nodes.clone(),
        pools: cidrs.iter().filter_map(|cidr| Pool::parse(cidr)).collect(),
        given: Mutex::default(),
    });
    let nodes = nodes.clone();
    // One worker: two nodes must not be given the same range.
    house.work(controller, queue, 1, async move { nodes.synced().await });
}

impl Reconcile for Ipam {
    type Key = Key;

    fn name(&self) -> &'static str {
        "node-ipam"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(node) = self.nodes.get(key) else {
            self.lock().remove(&key.name);
            return Ok(Next::Change);
        };
        if !node.spec.pod_cidrs.is_empty() || !node.spec.pod_cidr.is_empty() || self.pools.is_empty() {
            return Ok(Next::Change);
        }
        let Some(ranges) = self.ranges_for(&node) else {
            let text = format!("Node {} status is now: CIDRNotAvailable", key.name);
            let regarding = Regarding::new(&resources::NODES, &node.metadata);
            self.recorder.event(regarding, Severity::Normal, "CIDRNotAvailable", text);
            return Ok(Next::After(FULL_PAUSE));
        };
        let patch = json!({
            "metadata": { "uid": node.metadata.uid },
            "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
        });
        self.client.patch(&resources::NODES, ("", &key.name, ""), PatchKind::Strategic, &patch).await?;
        Ok(Next::Change)
    }
}

impl Ipam {
    fn ranges_for(&self, node: &Node) -> Option<Vec<String>> {
        let mut given = self.lock();
        if let Some(ranges) = given.get(&node.metadata.name) {
            return Some(ranges.clone());
        }
        let nodes = self.nodes.all();
        let seen = nodes.iter().flat_map(|node| node.spec.pod_cidrs.iter().chain([&node.spec.pod_cidr]));
        let taken: BTreeSet<String> = seen.chain(given.values().flatten()).cloned().collect();
        let ranges = allocate(&self.pools, &taken)?;
        given.insert(node.metadata.name.clone(), ranges.clone());
        Some(ranges)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.given.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cidrs: &[&str], taken: &[&str], expect: Option<&[&str]>) {
        let pools: Vec<Pool> = cidrs.iter().filter_map(|cidr| Pool::parse(cidr)).collect();
        let taken = taken.iter().map(|range| (*range).to_owned()).collect();
        let expect =
            expect.map(|ranges| ranges.iter().map(|range| (*range).to_owned()).collect::<Vec<String>>());
        assert_eq!(allocate(&pools, &taken), expect);
    }

    #[test]
    fn the_first_free_range_of_each_family() {
        check(&["10.244.0.0/16"], &[], Some(&["10.244.0.0/24"]));
        check(&["10.244.0.0/16"], &["10.244.0.0/24", "10.244.2.0/24"], Some(&["10.244.1.0/24"]));
        check(
            &["10.244.0.0/16", "fd00:10:244::/56"],
            &["fd00:10:244::/64"],
            Some(&["10.244.0.0/24", "fd00:10:244:1::/64"]),
        );
        check(&["10.244.0.0/23"], &["10.244.0.0/24", "10.244.1.0/24"], None);
    }
}
