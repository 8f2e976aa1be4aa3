//! What a server is started with. Facts only.

use crate::audit::Audit;
use crate::identity::Remotes;
use access::Tree;
use access::authn::Anonymous;
use access::seal::Keyring;
use access::tokens::Signer;
use futures::future::BoxFuture;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Certificates of the HTTPS side.
#[derive(Debug)]
pub struct Tls {
    /// Serving certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Authorities that client certificates may come from.
    pub client_roots: Vec<CertificateDer<'static>>,
}

/// How node agents are reached.
#[derive(Debug)]
pub struct Kubelet {
    /// Client certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Authorities that agents' serving certificates come from.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Everything a server needs besides its store.
pub struct Config {
    /// HTTPS; `None` serves in memory only.
    pub tls: Option<Tls>,
    /// How node agents are reached; `None` answers 503 to exec and its like.
    pub kubelet: Option<Kubelet>,
    /// Seals Secrets; `None` stores them in the clear (tests).
    pub keyring: Option<Arc<Keyring>>,
    /// Signs service account tokens.
    pub signer: Signer,
    /// Service addresses, first family first: base address and prefix length.
    pub service_cidrs: Vec<(IpAddr, u8)>,
    /// Node ports, both ends included.
    pub node_ports: (u16, u16),
    /// Addresses under which clients in the cluster reach the servers, now.
    pub advertised: Advertised,
    /// Port of those addresses.
    pub port: u16,
    /// What tells this server from every other of the cluster, now and after a restart.
    pub identity: String,
    /// The host it runs on.
    pub hostname: String,
    /// `gitVersion` of `/version`.
    pub version: String,
    /// PEM of the cluster's authority, for `kube-system/extension-apiserver-authentication`.
    pub authority_pem: String,
    /// Where requests are recorded; `None` records nothing.
    pub audit: Option<Audit>,
    /// Who may come in without a credential.
    pub anonymous: Anonymous,
    /// Who knows tokens that are none of ours.
    pub remotes: Remotes,
    /// Who decides what they may do, in this order; `system:masters` are not asked about.
    pub authorizers: Vec<access::Mode>,
    /// Objects the cluster has from its first minute besides those every cluster has.
    pub bootstrap_objects: Vec<Tree>,
    /// What is answered under [`OWN_PAGES`], if anything.
    pub own_pages: Option<OwnPages>,
}

/// Tells the addresses of all servers.
pub type Advertised = Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>;

/// Pages of the program around this server begin so. They are no part of the Kubernetes API: none of its checks has been
/// made when they are asked.
pub const OWN_PAGES: &str = "/kontiki/";

/// Answers a page of one's own with a status and a text; `None` if there is no such page.
pub type OwnPages =
    Arc<dyn Fn(&http::request::Parts) -> Option<BoxFuture<'static, (u16, String)>> + Send + Sync>;

impl Config {
    /// The defaults of a cluster: 10.96.0.0/16, node ports 30000–32767, port 6443.
    pub fn new(signer: Signer) -> Self {
        Self {
            tls: None,
            kubelet: None,
            keyring: None,
            signer,
            service_cidrs: vec![(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 0)), 16)],
            node_ports: (30000, 32767),
            advertised: Arc::new(Vec::new),
            audit: None,
            anonymous: Anonymous::default(),
            remotes: Remotes::default(),
            authorizers: access::Mode::DEFAULT.to_vec(),
            bootstrap_objects: Vec::new(),
            own_pages: None,
            port: 6443,
            identity: "localhost".to_owned(),
            hostname: "localhost".to_owned(),
            version: "v1.36.1+kontiki.0.1.0".to_owned(),
            authority_pem: String::new(),
        }
    }
}
