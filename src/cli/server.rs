//! `kontiki server`: one control-plane replica on this host, and a worker unless `--no-agent`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use netproxy::ProxyMode;

use super::access::AccessFlags;
use super::answer;
use super::audit::AuditFlags;
use crate::compose::{Administrator, Join, Node, PeersConfig, Server as Running, ServerConfig, run};
use crate::failure::{Code, Failure, Step};

/// How long the node may take before the server gives up starting.
const NODE_READY_MAX: Duration = Duration::from_secs(120);

/// Flags of `kontiki server`.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Where the server keeps its data.
    #[arg(long, default_value = "/var/lib/kontiki")]
    data_dir: PathBuf,
    /// The API's port.
    #[arg(long, default_value_t = 6443)]
    port: u16,
    /// The address the API listens on.
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// The address other hosts and pods reach this server at.
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// This node's name; the host's name if not given.
    #[arg(long)]
    name: Option<String>,
    /// Run no worker here.
    #[arg(long)]
    no_agent: bool,
    /// The container runtime's socket.
    #[arg(long, default_value = "/run/containerd/containerd.sock")]
    runtime_endpoint: PathBuf,
    /// What carries services on this node: ipvs, nftables, or auto, which is IPVS where the kernel has it.
    #[arg(long, default_value_t = ProxyMode::Auto, value_name = "MODE")]
    proxy_mode: ProxyMode,
    /// Where the administrator's kubeconfig is written.
    #[arg(long, default_value = "/etc/kontiki/kubeconfig")]
    kubeconfig: PathBuf,
    /// Another name or address of the serving certificate. May be given more than once.
    #[arg(long = "tls-san")]
    tls_san: Vec<String>,
    /// Join the cluster of the server at this URL (https://HOST:6443) instead of founding one.
    #[arg(long)]
    join: Option<String>,
    /// The token that lets this server join; the file join-token of a server's data directory has it.
    #[arg(long, env = "KONTIKI_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token; - is standard input.
    #[arg(long, env = "KONTIKI_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The port where servers of one cluster speak to each other.
    #[arg(long, default_value_t = 6444)]
    peer_port: u16,
    #[command(flatten)]
    audit: AuditFlags,
    #[command(flatten)]
    access: AccessFlags,
}

impl Server {
    pub(super) fn run(self) -> Result<(), Failure> {
        let join = self.join()?;
        if !self.no_agent && !nix::unistd::geteuid().is_root() {
            return Err(Failure::new(Code::Permission, "needs root")
                .why("a worker makes mounts, cgroups and network rules")
                .fix("sudo kontiki server; or --no-agent; or kontiki dev"));
        }
        let listener = listen(self.bind, self.port, "--port")?;
        let peer_listener = listen(self.bind, self.peer_port, "--peer-port")?;
        let public_ip = self.advertise_address.map_or_else(own_address, Ok)?;
        let peers = PeersConfig {
            address: SocketAddr::new(public_ip, bound_port(&peer_listener)?),
            listener: peer_listener,
            join,
        };
        let node = if self.no_agent { None } else { Some(self.node(public_ip)?) };
        let config = ServerConfig {
            data_dir: Some(self.data_dir.join("server")),
            kubeconfig: self.kubeconfig.clone(),
            public: SocketAddr::new(public_ip, bound_port(&listener)?),
            advertise: public_ip,
            context: "kontiki".to_owned(),
            audit: self.audit.options(),
            node,
            listeners: vec![listener],
            extra_names: self.tls_san.clone(),
            access: self.access.read()?,
            administrator: Administrator::ByRole,
            peers: Some(peers),
        };
        run(async {
            let server = Running::start(config).await?;
            answer(&format!("export KUBECONFIG={}", self.kubeconfig.display()))?;
            server.node_ready(NODE_READY_MAX).await?;
            server.until_stopped().await
        })
    }

    /// The cluster to join, if one is named.
    fn join(&self) -> Result<Option<Join>, Failure> {
        let Some(url) = &self.join else { return Ok(None) };
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) if path.as_os_str() == "-" => {
                std::io::read_to_string(std::io::stdin()).step("cannot read the token")?
            }
            (None, Some(path)) => std::fs::read_to_string(path).step("cannot read the token")?,
            (None, None) => {
                return Err(Failure::new(Code::Usage, "joining needs a token")
                    .fix("--token-file FILE with a copy of join-token, from a server's data directory"));
            }
        };
        Join::new(url, &token).map(Some)
    }

    fn node(&self, address: IpAddr) -> Result<Node, Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()
                .step("cannot read the host's name")?
                .to_string_lossy()
                .to_lowercase(),
        };
        Ok(Node {
            name,
            address,
            pod_cidr: "10.244.0.0/24".to_owned(),
            runtime_endpoint: self.runtime_endpoint.clone(),
            pods_dir: "/var/lib/kubelet".into(),
            logs_dir: "/var/log/pods".into(),
            cni_conf_dir: "/etc/cni/net.d".into(),
            cni_data_dir: "/var/lib/cni/networks".into(),
            cgroup_parent: "/kubepods".to_owned(),
            proxy_mode: self.proxy_mode,
        })
    }
}

fn listen(address: IpAddr, port: u16, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind((address, port)).map_err(|error| {
        Failure::new(Code::Conflict, format!("cannot listen on {address}:{port}"))
            .why(error)
            .fix(format!("stop what listens there, or choose {flag}"))
    })
}

/// The port that was asked for, or the one that port 0 became.
fn bound_port(listener: &TcpListener) -> Result<u16, Failure> {
    Ok(listener.local_addr().step("cannot read a socket's port")?.port())
}

/// The address this host sends from.
fn own_address() -> Result<IpAddr, Failure> {
    let asked = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr())
    });
    match asked {
        Ok(address) if !address.ip().is_loopback() && !address.ip().is_unspecified() => Ok(address.ip()),
        _ => Err(Failure::new(Code::Unfit, "this host has no address others could reach")
            .fix("--advertise-address IP")),
    }
}
