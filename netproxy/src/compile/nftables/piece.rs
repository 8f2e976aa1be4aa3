//! One service's nftables objects: chains with their rules, sets, and elements of the shared maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::base::{Networks, words};
use crate::model::{Backends, Family, Frontend};

/// The objects a service needs in one family's table. Equal pieces need no change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Chains by name, with their rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Sets by name, with their definition.
    pub sets: BTreeMap<String, String>,
    /// Elements of shared maps: (map, key) → verdict.
    pub verdicts: BTreeMap<(&'static str, String), String>,
    /// Elements of shared sets.
    pub members: BTreeSet<(&'static str, String)>,
}

/// Longest chain name that leaves the kernel room: 128 bytes with the terminating zero.
const NAME_MAX: usize = 120;

/// Compiles the frontends of one service that belong to `networks`' family.
pub fn piece(frontends: &[Frontend], networks: &Networks) -> Piece {
    let mut piece = Piece::default();
    for frontend in frontends.iter().filter(|frontend| frontend.family == networks.family) {
        Compiler { frontend, networks, piece: &mut piece }.compile();
    }
    piece
}

/// Compiles only what another carrier of services cannot do: guards, and ways past it for clients inside that use an
/// address whose traffic from outside stays on this node.
pub fn short_cuts(frontends: &[Frontend], networks: &Networks) -> Piece {
    let mut piece = Piece::default();
    for frontend in frontends.iter().filter(|frontend| frontend.family == networks.family) {
        let mut compiler = Compiler { frontend, networks, piece: &mut piece };
        if frontend.external_local && matches!(frontend.anywhere, Backends::To(_)) && frontend.has_outside() {
            let chain = compiler.external_chain(&[]);
            compiler.lead_external("service-ips", "service-nodeports", &format!("goto {chain}"));
        }
        compiler.guard();
    }
    piece
}

struct Compiler<'a> {
    frontend: &'a Frontend,
    networks: &'a Networks,
    piece: &'a mut Piece,
}

impl Compiler<'_> {
    fn compile(&mut self) {
        for address in &self.frontend.cluster {
            self.piece.members.insert(("cluster-ips", address.to_string()));
        }
        self.inside();
        self.outside();
    }

    fn inside(&mut self) {
        let chain = self.name("service");
        match &self.frontend.internal {
            Backends::To(backends) => {
                let mut rules = Vec::new();
                for address in &self.frontend.cluster {
                    self.verdict("service-ips", self.key(*address), format!("goto {chain}"));
                    let ip = words(self.frontend.family).ip;
                    let pods = &self.networks.pods;
                    rules.push(format!("{ip} daddr {address} {ip} saddr != {pods} jump mark-for-masquerade"));
                }
                rules.extend(self.balance(backends));
                self.piece.chains.insert(chain, rules);
            }
            Backends::Reject => self.refuse(self.frontend.cluster.clone(), "goto reject-chain"),
            Backends::Drop => self.refuse(self.frontend.cluster.clone(), "goto drop-chain"),
        }
    }

    fn outside(&mut self) {
        if !self.frontend.has_outside() {
            return;
        }
        match &self.frontend.outside {
            Backends::To(backends) => {
                let chain = self.external_chain(backends);
                self.lead_external("service-ips", "service-nodeports", &format!("goto {chain}"));
            }
            Backends::Reject => self.refuse_external("goto reject-chain"),
            Backends::Drop => {
                // Clients inside are led past the refusal, which only sees packets that nobody rewrote.
                let chain = self.external_chain(&[]);
                self.lead_external("service-ips", "service-nodeports", &format!("goto {chain}"));
                self.refuse_external("goto drop-chain");
            }
        }
        self.guard();
    }

    fn refuse_external(&mut self, verdict: &str) {
        self.lead_external("no-endpoint-services", "no-endpoint-nodeports", verdict);
    }

    /// One verdict for every external address and for the node port.
    fn lead_external(&mut self, addresses: &'static str, node_ports: &'static str, verdict: &str) {
        let frontend = self.frontend;
        for address in &frontend.external {
            self.verdict(addresses, self.key(*address), verdict.to_owned());
        }
        if let Some(port) = frontend.port.node_port {
            let key = format!("{} . {port}", frontend.port.protocol.name());
            self.verdict(node_ports, key, verdict.to_owned());
        }
    }

    /// Packets to a guarded address from elsewhere than its sources are dropped before anything else is decided.
    fn guard(&mut self) {
        let frontend = self.frontend;
        let Some(guard) = &frontend.guard else { return };
        let sources: Vec<String> = guard.sources.iter().map(ToString::to_string).collect();
        let ip = words(self.frontend.family).ip;
        let rules =
            vec![format!("{ip} saddr {{ {} }} return", sources.join(", ")), "goto drop-chain".to_owned()];
        let chain = self.name("guard");
        for address in &guard.addresses {
            self.verdict("guarded-ips", self.key(*address), format!("goto {chain}"));
        }
        self.piece.chains.insert(chain, rules);
    }

    /// Traffic from outside: with the cluster policy its source becomes this node, so that answers return through
    /// it; with the local policy the source is kept and only backends of this node are used, but clients inside,
    /// which come from this node as from anywhere, have every backend.
    fn external_chain(&mut self, backends: &[SocketAddr]) -> String {
        let mut rules = Vec::new();
        if self.frontend.external_local {
            rules.extend(self.short_cut());
        } else {
            rules.push("jump mark-for-masquerade".to_owned());
        }
        if !backends.is_empty() {
            rules.extend(self.balance(backends));
        }
        let chain = self.name("external");
        self.piece.chains.insert(chain.clone(), rules);
        chain
    }

    fn short_cut(&mut self) -> Vec<String> {
        let Backends::To(backends) = &self.frontend.anywhere else { return Vec::new() };
        let rules = self.balance(backends);
        let chain = self.name("anywhere");
        self.piece.chains.insert(chain.clone(), rules);
        let ip = words(self.frontend.family).ip;
        vec![
            format!("{ip} saddr {} goto {chain}", self.networks.pods),
            "fib saddr type local jump mark-for-masquerade".to_owned(),
            format!("fib saddr type local goto {chain}"),
        ]
    }

    /// Rules that hand a packet to one of `backends`, and those backends' chains.
    fn balance(&mut self, backends: &[SocketAddr]) -> Vec<String> {
        let ip = words(self.frontend.family).ip;
        let mut rules = Vec::new();
        let mut choices = Vec::new();
        for (number, backend) in backends.iter().enumerate() {
            let chain = self.endpoint(*backend);
            if self.frontend.affinity.is_some() {
                rules.push(format!("{ip} saddr @{} goto {chain}", self.affinity_set(*backend)));
            }
            choices.push(format!("{number} : goto {chain}"));
        }
        rules.push(format!("numgen random mod {} vmap {{ {} }}", backends.len(), choices.join(", ")));
        rules
    }

    fn endpoint(&mut self, backend: SocketAddr) -> String {
        let family = words(self.frontend.family);
        let mut rules = vec![format!("{} saddr {} jump mark-for-masquerade", family.ip, backend.ip())];
        if let Some(affinity) = self.frontend.affinity {
            let set = self.affinity_set(backend);
            let definition =
                format!("type {}; flags dynamic,timeout; timeout {}s;", family.address, affinity.as_secs());
            self.piece.sets.insert(set.clone(), definition);
            rules.push(format!("update @{set} {{ {} saddr }}", family.ip));
        }
        rules.push(format!("meta l4proto {} dnat to {backend}", self.frontend.port.protocol.name()));
        let chain = self.name(&format!("endpoint/{}/{}", backend.ip(), backend.port()));
        self.piece.chains.insert(chain.clone(), rules);
        chain
    }

    fn affinity_set(&self, backend: SocketAddr) -> String {
        self.name(&format!("affinity/{}/{}", backend.ip(), backend.port()))
    }

    fn refuse(&mut self, addresses: Vec<IpAddr>, verdict: &str) {
        for address in addresses {
            self.verdict("no-endpoint-services", self.key(address), verdict.to_owned());
        }
    }

    fn verdict(&mut self, map: &'static str, key: String, verdict: String) {
        self.piece.verdicts.insert((map, key), verdict);
    }

    fn key(&self, address: IpAddr) -> String {
        format!("{address} . {} . {}", self.frontend.port.protocol.name(), self.frontend.port.port)
    }

    /// A name for one of this port's objects: readable, unique, and within the kernel's bound.
    fn name(&self, kind: &str) -> String {
        let Frontend { service, port, .. } = self.frontend;
        let readable =
            format!("{}/{}/{}/{}", service.namespace, service.name, port.protocol.name(), port.name);
        let kind = if self.frontend.family == Family::V6 { kind.replace(':', "_") } else { kind.to_owned() };
        // The hash keeps names apart that are equal after cutting, or when a part itself holds a slash.
        let mut name = format!(
            "{}-{:08x}-{readable}",
            kind.replace('/', "_"),
            fingerprint(&format!("{readable}/{}", port.port))
        );
        name.truncate(NAME_MAX);
        name
    }
}

/// FNV-1a, 32 bit: stable between runs and builds, which names in the kernel must be.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
