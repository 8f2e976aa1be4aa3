//! The process of one host: opens the machine's loopback ports, enters the host's namespaces, and is from there on an
//! ordinary server with an agent.
//!
//! Order matters: a socket stays in the network namespace where it was opened, and a process can enter a mount
//! namespace only while it has one thread.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use clap::Args;
use netproxy::ProxyMode;
use nix::sched::{CloneFlags, setns};

use super::layout::{Cluster, Host, Published};
use super::{containerd, data_home, publish};
use crate::compose::{self, Node};
use crate::failure::{Code, Failure, Step};

/// Ports tried after the wanted one.
const PORTS_TRIED: u16 = 20;
/// Where a server listens inside its host, as on a real machine.
const API_PORT: u16 = 6443;

/// Flags of the hidden verb `kontiki local host`.
#[derive(Debug, Args)]
pub struct HostProcess {
    #[arg(long)]
    name: String,
    #[arg(short = 'p', long = "port")]
    ports: Vec<Published>,
    #[arg(long)]
    api_port: u16,
    #[arg(long)]
    timeout: u64,
    #[arg(long, default_value_t = ProxyMode::Auto)]
    proxy_mode: ProxyMode,
}

impl HostProcess {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// A port is taken, a namespace is missing, or a part of the server failed.
    pub fn run(self) -> Result<(), Failure> {
        let cluster = Cluster::new(&data_home()?, &self.name);
        let host = cluster.server();
        std::fs::write(host.pid_file(), std::process::id().to_string()).step("cannot write the pid file")?;
        let result = self.serve(&cluster, &host);
        if let Err(failure) = &result {
            say("failed", &failure.to_string());
        }
        let _ = std::fs::remove_file(host.pid_file());
        result
    }

    fn serve(self, cluster: &Cluster, host: &Host) -> Result<(), Failure> {
        let api = bind_near(self.api_port)?;
        let port = api.local_addr().step("cannot read the API port")?.port();
        let published = self.ports.iter().map(bind_published).collect::<Result<Vec<_>, _>>()?;
        enter(host)?;
        containerd::ensure(host)?;
        say("runtime", "containerd answers");
        let inside =
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, API_PORT)).step("cannot listen inside the host")?;
        compose::run(async {
            let config = compose::ServerConfig {
                audit: compose::Audit::default(),
                data_dir: Some(host.dir().join("server")),
                listeners: vec![api, inside],
                kubeconfig: cluster.kubeconfig(),
                public: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                advertise: host.address().into(),
                context: format!("kontiki-{}", cluster.name),
                node: Some(node(host, self.proxy_mode)),
                extra_names: Vec::new(),
                access: compose::Access::default(),
                administrator: compose::Administrator::Privileged,
                peers: None,
            };
            let server = compose::Server::start(config).await?;
            say("api", &format!("https://127.0.0.1:{port}"));
            for (listener, to) in published {
                let listener =
                    tokio::net::TcpListener::from_std(listener).step("cannot serve a published port")?;
                tokio::spawn(publish::serve(listener, to, host.address(), server.admin(), server.stopping()));
            }
            server.node_ready(Duration::from_secs(self.timeout)).await?;
            say("node", &format!("{} Ready", host.name));
            server.until_stopped().await
        })
    }
}

fn node(host: &Host, proxy_mode: ProxyMode) -> Node {
    let dir = host.dir();
    Node {
        name: host.name.clone(),
        address: host.address().into(),
        pod_cidr: host.pod_cidr(),
        runtime_endpoint: host.runtime_socket(),
        pods_dir: dir.join("kubelet"),
        logs_dir: dir.join("log/pods"),
        cni_conf_dir: dir.join("cni/net.d"),
        cni_data_dir: dir.join("cni/ipam"),
        cgroup_parent: format!("/{}/kubepods", host.cgroup()),
        proxy_mode,
    }
}

fn bind_near(wanted: u16) -> Result<TcpListener, Failure> {
    for port in wanted..=wanted.saturating_add(PORTS_TRIED) {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return nonblocking(listener);
        }
    }
    Err(Failure::new(
        Code::Conflict,
        format!("ports {wanted} to {} of 127.0.0.1 are taken", wanted + PORTS_TRIED),
    )
    .fix("--api-port PORT"))
}

fn bind_published(to: &Published) -> Result<(TcpListener, Published), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, to.port)).map_err(|error| {
        Failure::new(Code::Conflict, format!("port {} of 127.0.0.1 cannot be published", to.port))
            .why(error)
            .fix("choose another port with -p HOST_PORT:SERVICE")
    })?;
    Ok((nonblocking(listener)?, to.clone()))
}

fn nonblocking(listener: TcpListener) -> Result<TcpListener, Failure> {
    listener.set_nonblocking(true).step("cannot prepare a socket")?;
    Ok(listener)
}

fn enter(host: &Host) -> Result<(), Failure> {
    let net = File::open(host.namespace_file()).step("the host's network namespace is gone")?;
    let mounts = File::open(host.mounts_file()).step("the host's mount namespace is gone")?;
    setns(&net, CloneFlags::CLONE_NEWNET).step("cannot enter the host's network namespace")?;
    setns(&mounts, CloneFlags::CLONE_NEWNS).step("cannot enter the host's mount namespace")
}

/// Tells the process that started this one; it may be gone by now, which is no error.
fn say(step: &str, text: &str) {
    let line = serde_json::json!({ "step": step, "text": text });
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
