//! Puts the rooms together: store, API server, controllers and scheduler while this member leads, and on a node the
//! agent and the service proxy. Decides who gets which client; the work itself is in the rooms.

mod advertising;
mod audit;
mod certificates;
mod client;
mod leading;
mod node;
mod peers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::authn::Anonymous;
use access::pki::{Authority, Identity, Kubeconfig, Material, kubeconfig, serving_names};
use access::seal::{Keyring, SystemRandom};
use access::tokens::Signer;
use access::{Mode, UserInfo, groups, users};
use apiserver::{ApiServer, Config, Kubelet, Remotes, Tls};
use raft_store::{Options, Seams, Store};
use tokio_util::sync::CancellationToken;

use crate::failure::{Code, Failure, Step};
use advertising::Advertising;

pub use audit::Audit;
pub use node::Node;
use peers::Peers;
pub use peers::{Join, Listed, Members, Membership, PeersConfig, Role};

/// What `/version` and the agent report.
pub const VERSION: &str = concat!("v1.36.1+kontiki.", env!("CARGO_PKG_VERSION"));
const DOMAIN: &str = "cluster.local";
const FIRST_SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
const DNS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
const POD_CIDR: &str = "10.244.0.0/16";
/// How long the parts get to end by themselves.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What a server is started with.
pub struct ServerConfig {
    /// Where everything is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Sockets of the API, listening already.
    pub listeners: Vec<std::net::TcpListener>,
    /// Where the administrator's kubeconfig is written.
    pub kubeconfig: PathBuf,
    /// The address the kubeconfig names.
    pub public: SocketAddr,
    /// The address other hosts and pods reach this server at.
    pub advertise: IpAddr,
    /// The kubeconfig's context.
    pub context: String,
    /// How requests are recorded.
    pub audit: Audit,
    /// The worker in this process.
    pub node: Option<Node>,
    /// Names of the serving certificate besides those every cluster has.
    pub extra_names: Vec<String>,
    /// Who may come in, and who decides what they may do.
    pub access: Access,
    /// What the administrator's certificate says.
    pub administrator: Administrator,
    /// How it meets other servers; `None` for one that stays alone. Needs a data directory.
    pub peers: Option<PeersConfig>,
}

/// Who may come in, and who decides what they may do.
pub struct Access {
    /// Who may come in without a credential.
    pub anonymous: Anonymous,
    /// Who knows tokens that are none of ours.
    pub remotes: Remotes,
    /// Who decides.
    pub authorizers: Vec<Mode>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            anonymous: Anonymous::default(),
            remotes: Remotes::default(),
            authorizers: Mode::DEFAULT.to_vec(),
        }
    }
}

/// Where the administrator's rights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Administrator {
    /// `system:masters`, whom no role limits: clusters that are made to be thrown away.
    Privileged,
    /// A group bound to cluster-admin, which can be taken away again.
    ByRole,
}

/// A running server.
pub struct Server {
    api: ApiServer,
    store: Store,
    stop: CancellationToken,
    /// Ends last: the members that stay need this one until its store has stopped.
    peering: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
    node: Option<String>,
    failed: tokio::sync::mpsc::Receiver<Failure>,
}

/// Runs a server in a runtime of its own. Two workers at least: an apply must not wait for a request.
///
/// # Errors
/// The operating system has no threads left, or what the server says.
pub fn run<T>(server: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.step("cannot start the runtime")?;
    let ended = runtime.block_on(server);
    // A part that has panicked may have left another waiting for ever.
    runtime.shutdown_timeout(STOP_MAX);
    ended
}

impl Server {
    /// Starts every part; returns once the API is ready.
    ///
    /// # Errors
    /// The data directory, the keys or the sockets cannot be used.
    pub async fn start(mut config: ServerConfig) -> Result<Self, Failure> {
        let peers = config.peers.take();
        if let (Some(peers), Some(dir)) = (&peers, &config.data_dir) {
            Peers::prepare(dir, peers).await?;
        }
        let material = material(&config)?;
        let peers = match (peers, &config.data_dir) {
            (Some(peers), Some(dir)) => Some(Peers::load(dir, peers)?),
            _ => None,
        };
        let store = open_store(config.data_dir.as_deref(), peers.as_ref()).await?;
        let access = std::mem::take(&mut config.access);
        let mut api_config = api_config(&config, &material, access)?;
        api_config.audit = config.audit.open(config.data_dir.as_deref())?;
        let tokens = api_config.signer.clone();
        let advertising = Advertising::new(&store, config.advertise);
        api_config.advertised = advertising.addresses();
        let peering = CancellationToken::new();
        if let Some(peers) = &peers {
            peers.keep()?;
            peers.serve(&store, &peering)?;
            peers.admitted(&store).await?;
            api_config.own_pages = Some(peers.pages(&material.authority, &store)?);
        }
        let api = ApiServer::new(api_config, store.clone());
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        for listener in config.listeners {
            listener.set_nonblocking(true).step("cannot prepare a socket")?;
            let listener = tokio::net::TcpListener::from_std(listener).step("cannot serve the API")?;
            let api = api.clone();
            tasks.spawn(async move {
                if let Err(error) = api.serve(listener).await {
                    tracing::error!(%error, "the API is not served");
                }
            });
        }
        api.bootstrap().await;
        let text = kubeconfig(&Kubeconfig {
            cluster: &config.context,
            user: &format!("{}-admin", config.context),
            server: &format!("https://{}", config.public),
            authority_pem: &material.authority.certificate_pem(),
            client: &material.admin,
        });
        write_private(&config.kubeconfig, &text)?;
        let authority = Arc::new(
            Authority::from_issued(material.authority.issued().clone())
                .step("cannot prepare the certificates")?,
        );
        leading::spawn(&mut tasks, &api, &store, &leading::Keys { authority, tokens }, &stop);
        advertising.spawn(&mut tasks, &api, &stop);
        let (sender, failed) = tokio::sync::mpsc::channel(4);
        let node_name = config.node.as_ref().map(|node| node.name.clone());
        if let Some(node) = config.node {
            node::spawn(&mut tasks, &api, &material, node, &stop, sender)?;
        }
        Ok(Self { api, store, stop, peering, tasks, node: node_name, failed })
    }

    /// A client with the administrator's rights.
    pub fn admin(&self) -> kube::Client {
        let admin = UserInfo::authenticated(users::ADMIN, &[groups::MASTERS]);
        client::local(&self.api, admin, "kontiki", None)
    }

    /// Cancelled when the server begins to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until this process's node is Ready.
    ///
    /// # Errors
    /// It is not within `timeout`, or a part of the node failed.
    pub async fn node_ready(&self, timeout: Duration) -> Result<(), Failure> {
        let Some(name) = &self.node else { return Ok(()) };
        match tokio::time::timeout(timeout, node::ready(self.admin(), name)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Failure::new(Code::TimedOut, format!("node {name} is not Ready after {timeout:?}"))
                    .fix("kubectl describe node shows what it waits for"))
            }
        }
    }

    /// Runs until SIGINT or SIGTERM, then stops every part in order: the node's parts, controllers, the API, the store.
    ///
    /// # Errors
    /// A part failed for good.
    pub async fn until_stopped(mut self) -> Result<(), Failure> {
        let result = tokio::select! {
            signal = signalled() => signal,
            // Without an orderly end: it would wait for what is gone.
            failed = self.store.failed() => return Err(panicked(failed)),
            failure = self.failed.recv() => match failure {
                Some(failure) => Err(failure),
                // Without a node nobody can report: wait for the signal alone.
                None => signalled().await,
            },
        };
        // First, so that the others are not without a leader for a moment.
        self.store.hand_over().await;
        self.stop.cancel();
        self.api.stop();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        self.api.flush_audit().await;
        self.store.shutdown().await;
        self.peering.cancel();
        result
    }
}

fn panicked(failed: raft_store::Failed) -> Failure {
    Failure::new(Code::Other, format!("{failed}, and this server with it"))
        .why("a bug, or broken memory; the log above has the place")
        .fix("start it again: what was acknowledged is on disk; report the panic")
}

async fn signalled() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).step("cannot wait for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result.step("cannot wait for SIGINT"),
    }
}

async fn open_store(data_dir: Option<&Path>, peers: Option<&Peers>) -> Result<Store, Failure> {
    let mut options = match data_dir {
        Some(dir) => Options::in_dir(dir),
        None => Options::in_memory(),
    };
    if let Some(peers) = peers {
        options.member = peers.member();
        options.peering = Some(peers.peering());
    }
    Store::open(options, Seams::system()).await.step("cannot open the store")
}

fn material(config: &ServerConfig) -> Result<Material, Failure> {
    let mut own: Vec<String> = config.extra_names.clone();
    own.extend([config.advertise.to_string(), config.public.ip().to_string()]);
    own.extend(config.node.as_ref().map(|node| node.name.clone()));
    let names = serving_names(FIRST_SERVICE_ADDRESS, DOMAIN, &own);
    let identity = match config.administrator {
        Administrator::Privileged => Identity::privileged(names),
        Administrator::ByRole => Identity::installed(names),
    };
    let now = jiff::Timestamp::now();
    match &config.data_dir {
        Some(dir) => Material::load_or_create(&dir.join("pki"), &identity, now),
        None => Material::in_memory(&identity, now),
    }
    .step("cannot prepare the certificates")
}

fn api_config(config: &ServerConfig, material: &Material, allowed: Access) -> Result<Config, Failure> {
    let (signer, keyring) = match &config.data_dir {
        Some(dir) => (
            Signer::load_or_generate(&dir.join("pki/service-account.key"))
                .step("cannot read the tokens' key")?,
            Keyring::load_or_create(&dir.join("encryption.key"), &mut SystemRandom)
                .step("cannot read the Secrets' key")?,
        ),
        None => (Signer::generate(), Keyring::generate(&mut SystemRandom)),
    };
    let authority = material.authority.certificate().clone();
    let mut api = Config::new(signer);
    api.tls = Some(Tls {
        // The authority too: a server that joins knows it by its hash alone.
        chain: vec![material.serving.certificate.clone(), authority.clone()],
        key: material.serving.key(),
        client_roots: vec![authority.clone()],
    });
    api.kubelet = Some(Kubelet {
        chain: vec![material.kubelet_client.certificate.clone()],
        key: material.kubelet_client.key(),
        roots: vec![authority],
    });
    api.keyring = Some(Arc::new(keyring));
    let hostname = nix::unistd::gethostname().step("cannot read the host's name")?;
    api.hostname = hostname.to_string_lossy().to_lowercase();
    // Several servers may share a host, each with an address or a port of its own.
    api.identity = format!("{} {} {}", api.hostname, config.advertise, config.public.port());
    api.port = if config.node.is_some() { 6443 } else { config.public.port() };
    VERSION.clone_into(&mut api.version);
    api.authority_pem = material.authority.certificate_pem();
    api.anonymous = allowed.anonymous;
    api.remotes = allowed.remotes;
    api.authorizers = allowed.authorizers;
    if config.administrator == Administrator::ByRole {
        let url = format!("https://{}", config.public);
        api.bootstrap_objects = access::bootstrap::installed(&url, &api.authority_pem);
    }
    Ok(api)
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).step("cannot make the kubeconfig's folder")?;
    let aside = path.with_extension("new");
    let mut file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .step("cannot write the kubeconfig")?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).step("cannot write the kubeconfig")?;
    std::fs::rename(&aside, path).step("cannot put the kubeconfig in its place")
}
