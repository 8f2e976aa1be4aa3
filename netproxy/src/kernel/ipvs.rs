//! IPVS and what belongs to it, told over netlink: virtual servers over its generic family, addresses over the
//! routing family, set elements over nftables' family, and the rest of nftables through its tool.

mod elements;
mod servers;

use servers::Family as IpvsFamily;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};

use super::addresses::{self, Device};
use super::netlink::{Netlink, Request};
use super::{Kernel, Nft};
use crate::compile::ipvs::{Command, DEVICE, Found, ServerKey};

/// Settings of this network namespace without which services do not work.
const SETTINGS: [(&str, &str); 3] = [
    // Connection tracking sees IPVS's packets, so that their source can be rewritten.
    ("net/ipv4/vs/conntrack", "1"),
    // A datagram whose backend is gone finds another.
    ("net/ipv4/vs/expire_nodest_conn", "1"),
    // A client's affinity to a backend on its way out ends.
    ("net/ipv4/vs/expire_quiescent_template", "1"),
];

/// The kernel's IPVS in one network namespace.
#[derive(Debug)]
pub struct Ipvs {
    generic: Netlink,
    route: Netlink,
    netfilter: Netlink,
    family: IpvsFamily,
    device: Device,
    nft: Nft,
    script_bytes: u64,
}

impl Ipvs {
    /// Finds IPVS in this thread's network namespace and makes it ready.
    ///
    /// # Errors
    /// The kernel lacks IPVS or dummy devices, or refuses.
    pub fn open() -> io::Result<Self> {
        let mut generic = Netlink::open(NETLINK_GENERIC)?;
        let family = IpvsFamily::find(&mut generic)?;
        let mut route = Netlink::open(NETLINK_ROUTE)?;
        let device = addresses::ensure_device(&mut route, DEVICE)?;
        for (name, value) in SETTINGS {
            std::fs::write(format!("/proc/sys/{name}"), value)
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        }
        let netfilter = Netlink::open(NETLINK_NETFILTER)?;
        Ok(Self { generic, route, netfilter, family, device, nft: Nft, script_bytes: 0 })
    }

    /// Whether an earlier run's device is in this thread's network namespace.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn left_behind() -> io::Result<bool> {
        let mut route = Netlink::open(NETLINK_ROUTE)?;
        addresses::find_device(&mut route, DEVICE).map(|device| device.is_some())
    }

    /// Bytes sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.generic.sent_bytes() + self.route.sent_bytes() + self.netfilter.sent_bytes() + self.script_bytes
    }

    /// The device that holds the services' addresses.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Addresses of this node that clients may send to, without those of services.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn node_addresses(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let all = addresses::list(&mut self.route)?;
        let usable = all.into_iter().filter(|(device, address)| {
            *device != self.device && !address.is_loopback() && !is_link_local(*address)
        });
        Ok(usable.map(|(_, address)| address).collect())
    }

    /// What an earlier run left: the device's addresses, and the virtual servers at them or at node ports.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn found(&mut self, node: &BTreeSet<IpAddr>) -> io::Result<Found> {
        let all = addresses::list(&mut self.route)?;
        let own =
            all.into_iter().filter(|(device, address)| *device == self.device && !is_link_local(*address));
        let mut found = Found { addresses: own.map(|(_, address)| address).collect(), ..Found::default() };
        for (key, affinity) in self.family.servers(&mut self.generic)? {
            let at = key.address;
            let node_port = NODE_PORTS.contains(&at.port()) && node.contains(&at.ip());
            if !found.addresses.contains(&at.ip()) && !node_port {
                continue;
            }
            let mut server = crate::compile::ipvs::Server { affinity, ..Default::default() };
            let mut draining = BTreeSet::new();
            for backend in self.family.backends(&mut self.generic, key)? {
                let kept = if backend.weight == 0 { &mut draining } else { &mut server.backends };
                kept.insert(backend.address);
            }
            found.servers.insert(key, (server, draining));
        }
        Ok(found)
    }

    /// Takes the steps in their order.
    ///
    /// # Errors
    /// The kernel refused a step; those after it may have been taken.
    pub fn execute(&mut self, commands: &[Command]) -> io::Result<()> {
        for commands in commands.chunk_by(|one, next| Way::of(one) == Way::of(next)) {
            match Way::of(&commands[0]) {
                Way::Elements => elements::change(&mut self.netfilter, commands)?,
                Way::Servers => self.family.change(&mut self.generic, commands)?,
                Way::Addresses => self.change_addresses(commands)?,
            }
        }
        Ok(())
    }

    /// Applies a script of nftables commands, all or nothing.
    ///
    /// # Errors
    /// nftables refused.
    pub async fn script(&mut self, script: &str) -> io::Result<()> {
        if script.is_empty() {
            return Ok(());
        }
        self.script_bytes += script.len() as u64;
        self.nft.apply(script).await
    }

    /// Which of these backends have no connection any more, or are gone.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn ended(
        &mut self,
        key: ServerKey,
        backends: &BTreeSet<SocketAddr>,
    ) -> io::Result<BTreeSet<SocketAddr>> {
        let present = self.family.backends(&mut self.generic, key)?;
        let busy: BTreeSet<SocketAddr> =
            present.iter().filter(|backend| backend.connections > 0).map(|backend| backend.address).collect();
        Ok(backends.difference(&busy).copied().collect())
    }

    /// Takes everything of IPVS services away, device included.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn retire(mut self) -> io::Result<()> {
        let node = self.node_addresses()?;
        let found = self.found(&node)?;
        let commands: Vec<Command> = found.servers.into_keys().map(Command::RemoveServer).collect();
        self.execute(&commands)?;
        addresses::remove_device(&mut self.route, self.device)
    }

    fn change_addresses(&mut self, commands: &[Command]) -> io::Result<()> {
        let requests: Vec<Request> = commands
            .iter()
            .map(|command| match command {
                Command::AddAddress(address) => addresses::add(self.device, *address),
                Command::RemoveAddress(address) => addresses::remove(self.device, *address),
                other => unreachable!("{other:?} goes another way"),
            })
            .collect();
        let outcomes = self.route.tell(&requests)?;
        check(commands, outcomes, |_| &[nix::libc::EEXIST, nix::libc::EADDRNOTAVAIL])
    }
}

/// Where node ports are taken from, unless somebody says otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Which socket a command goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Elements,
    Servers,
    Addresses,
}

impl Way {
    fn of(command: &Command) -> Self {
        match command {
            Command::AddMember(_) | Command::RemoveMember(_) => Self::Elements,
            Command::AddAddress(_) | Command::RemoveAddress(_) => Self::Addresses,
            Command::AddServer(..)
            | Command::EditServer(..)
            | Command::RemoveServer(_)
            | Command::AddBackend(..)
            | Command::ReviveBackend(..)
            | Command::DrainBackend(..)
            | Command::RemoveBackend(..) => Self::Servers,
        }
    }
}

/// The first refusal that is not `fine`, which means that it was so already.
fn check(
    commands: &[Command],
    outcomes: Vec<io::Result<()>>,
    fine: fn(&Command) -> &'static [i32],
) -> io::Result<()> {
    for (command, outcome) in commands.iter().zip(outcomes) {
        if let Err(error) = outcome
            && error.raw_os_error().is_none_or(|code| !fine(command).contains(&code))
        {
            return Err(io::Error::new(error.kind(), format!("the kernel refused {command:?}: {error}")));
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
