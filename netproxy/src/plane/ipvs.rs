//! Services as IPVS virtual servers: every change is a handful of netlink messages.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Plane;
use crate::compile::ipvs::{Command, Ledger, Member, Objects, base, objects, service_rules};
use crate::compile::nftables::{Networks, Piece, transaction};
use crate::diff::Change;
use crate::kernel::{Ipvs, Watch};
use crate::model::{Frontend, ServiceId};

/// Between two looks at backends on their way out. Connections end at their own pace; nobody waits for this.
const DRAIN_LOOK: Duration = Duration::from_secs(2);

/// Services in IPVS.
pub struct IpvsPlane {
    kernel: Ipvs,
    watch: Watch,
    networks: Vec<Networks>,
    node: BTreeSet<IpAddr>,
    ledger: Ledger,
    /// Services that must follow when the node's addresses change.
    node_ported: BTreeMap<ServiceId, Vec<Frontend>>,
    next_look: Option<Instant>,
    node_changed: bool,
}

impl IpvsPlane {
    /// For pods in `networks`, in this thread's network namespace.
    ///
    /// # Errors
    /// The kernel lacks IPVS, or refuses.
    pub fn open(networks: Vec<Networks>) -> io::Result<Self> {
        let kernel = Ipvs::open()?;
        let watch = Watch::open(kernel.device())?;
        Ok(Self {
            kernel,
            watch,
            networks,
            node: BTreeSet::new(),
            ledger: Ledger::default(),
            node_ported: BTreeMap::new(),
            next_look: None,
            node_changed: false,
        })
    }

    /// Backends on their way out that still have connections.
    pub fn draining(&self) -> usize {
        self.ledger.draining().values().map(BTreeSet::len).sum()
    }

    /// Takes everything away: nothing of services is left in the kernel, but the nftables table.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn retire(self) -> io::Result<()> {
        self.kernel.retire()
    }

    fn objects(&self, frontends: &[Frontend]) -> Objects {
        objects(&self.served(frontends), &self.node)
    }

    /// Frontends of families that pods have addresses of.
    fn served(&self, frontends: &[Frontend]) -> Vec<Frontend> {
        let families: BTreeSet<_> = self.networks.iter().map(|networks| networks.family).collect();
        frontends.iter().filter(|frontend| families.contains(&frontend.family)).cloned().collect()
    }

    fn rules(&self, script: &mut String, old: &[Frontend], new: &[Frontend]) {
        for networks in &self.networks {
            let (old, new) = (service_rules(old, networks), service_rules(new, networks));
            transaction(script, networks.family, &old, &new);
        }
    }

    fn remember(&mut self, service: &ServiceId, frontends: &[Frontend]) {
        if frontends.iter().any(|frontend| frontend.port.node_port.is_some()) {
            self.node_ported.insert(service.clone(), self.served(frontends));
        } else {
            self.node_ported.remove(service);
        }
    }

    fn execute(&mut self, commands: &[Command]) -> io::Result<()> {
        self.kernel.execute(commands)?;
        if self.ledger.draining().is_empty() {
            self.next_look = None;
        } else {
            self.next_look.get_or_insert_with(|| Instant::now() + DRAIN_LOOK);
        }
        Ok(())
    }

    /// Node ports follow the node's addresses.
    fn follow_node(&mut self) -> io::Result<()> {
        let node = self.kernel.node_addresses()?;
        let old = std::mem::replace(&mut self.node, node);
        if old == self.node {
            return Ok(());
        }
        let mut commands = Vec::new();
        for (service, frontends) in &self.node_ported {
            let (old, new) = (objects(frontends, &old), objects(frontends, &self.node));
            commands.extend(self.ledger.change(service, &old, &new));
        }
        self.execute(&commands)
    }

    fn look_at_draining(&mut self) -> io::Result<()> {
        let mut commands = Vec::new();
        for (key, backends) in self.ledger.draining().clone() {
            let ended = self.kernel.ended(key, &backends)?;
            commands.extend(self.ledger.drained(key, &ended));
        }
        self.next_look = None;
        self.execute(&commands)
    }
}

impl Plane for IpvsPlane {
    async fn begin(&mut self, fixed: &[Frontend], changes: &[Change]) -> io::Result<()> {
        self.node = self.kernel.node_addresses()?;
        self.node_ported.clear();
        let found = self.kernel.found(&self.node)?;
        let mut wanted: BTreeMap<ServiceId, Vec<Frontend>> = BTreeMap::new();
        let all = fixed.iter().chain(changes.iter().flat_map(|change| &change.new));
        for frontend in all {
            wanted.entry(frontend.service.clone()).or_default().push(frontend.clone());
        }
        let compiled: Vec<(ServiceId, Objects)> =
            wanted.iter().map(|(service, frontends)| (service.clone(), self.objects(frontends))).collect();
        let (ledger, commands) = Ledger::begin(found, &compiled);
        self.ledger = ledger;
        // Elements come with the new table, so that there is no moment without them.
        let (members, commands): (Vec<Command>, Vec<Command>) =
            commands.into_iter().partition(|command| matches!(command, Command::AddMember(_)));
        let members: Vec<Member> = members.iter().filter_map(Command::member).collect();
        let mut script = String::new();
        for networks in &self.networks {
            script.push_str(&base(networks, members.iter()));
            for frontends in wanted.values() {
                transaction(
                    &mut script,
                    networks.family,
                    &Piece::default(),
                    &service_rules(frontends, networks),
                );
            }
        }
        self.kernel.script(&script).await?;
        self.execute(&commands)?;
        for (service, frontends) in &wanted {
            self.remember(service, frontends);
        }
        Ok(())
    }

    async fn change(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut script = String::new();
        let mut commands = Vec::new();
        for change in changes {
            self.rules(&mut script, &change.old, &change.new);
            let (old, new) = (self.objects(&change.old), self.objects(&change.new));
            commands.extend(self.ledger.change(&change.service, &old, &new));
            self.remember(&change.service, &change.new);
        }
        self.kernel.script(&script).await?;
        self.execute(&commands)
    }

    async fn wake(&mut self) {
        let look = async {
            match self.next_look {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.watch.changed() => self.node_changed = true,
            () = look => {}
        }
    }

    async fn tend(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.node_changed) {
            self.follow_node()?;
        }
        if self.next_look.is_some_and(|at| at <= Instant::now()) {
            self.look_at_draining()?;
        }
        Ok(())
    }

    fn sent_bytes(&self) -> u64 {
        self.kernel.sent_bytes()
    }
}
