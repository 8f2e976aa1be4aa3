//! What an agent needs to know before it starts. It reads no file of its own and no environment.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How one agent is set up. [`Options::new`] gives the defaults of an installed node.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the Node object, and the value of the label on every sandbox the agent owns.
    pub node_name: String,
    /// The address reported as InternalIP.
    pub node_ip: IpAddr,
    /// A second address of the other family, if the node has one.
    pub node_ip_secondary: Option<IpAddr>,
    /// The node's pod ranges, one per family. When empty they are taken from `spec.podCIDRs` of the Node
    /// object as soon as something sets them.
    pub pod_cidrs: Vec<String>,
    /// Where pods' volumes live; `/var/lib/kubelet` because CSI drivers and others expect it.
    pub pods_dir: PathBuf,
    /// Where container logs are written, `/var/log/pods`.
    pub logs_dir: PathBuf,
    /// Where `<pod>_<namespace>_<container>-<id>.log` links are kept; none when `None`.
    pub log_links_dir: Option<PathBuf>,
    /// Where the CNI configuration is written; the runtime's `conf_dir`. The agent writes none when `None`.
    pub cni_conf_dir: Option<PathBuf>,
    /// Where the host-local plugin of CNI keeps its leases.
    pub cni_state_dir: PathBuf,
    /// The CRI socket, `unix:///run/containerd/containerd.sock` or a plain path.
    pub runtime_endpoint: String,
    /// The parent of all pods' cgroups in every hierarchy. Empty: the runtime has none, as the one in memory.
    pub cgroup_root: String,
    /// Negative OOM scores are clamped to zero. Needed where root lacks CAP_SYS_RESOURCE.
    pub restrict_oom_score_adj: bool,
    /// The DNS servers of pods with the ClusterFirst policy.
    pub cluster_dns: Vec<IpAddr>,
    /// The domain of the cluster's DNS names.
    pub cluster_domain: String,
    /// The resolv.conf that the Default DNS policy copies.
    pub resolv_conf: PathBuf,
    /// The version reported as kubeletVersion.
    pub version: String,
    /// Extra labels for the Node object at registration.
    pub node_labels: Vec<(String, String)>,
    /// Pods the node takes.
    pub max_pods: u32,
    /// Where the HTTPS server listens. Port 0 picks a free one, which is then reported in the Node.
    pub listen: SocketAddr,
    /// The identity of the HTTPS server; without it the server is not started.
    pub tls: Option<ServerTls>,
    /// CPU and memory to report in place of the machine's, for nodes that share one machine.
    pub capacity: Capacity,
}

/// Overrides of what the machine has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// Certificates of the HTTPS server, in PEM.
#[derive(Clone)]
pub struct ServerTls {
    /// The server's chain, leaf first.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
    /// The authorities whose client certificates are accepted.
    pub client_ca_pem: String,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults of an installed node.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        Options {
            node_name: node_name.into(),
            node_ip,
            node_ip_secondary: None,
            pod_cidrs: Vec::new(),
            pods_dir: "/var/lib/kubelet".into(),
            logs_dir: "/var/log/pods".into(),
            log_links_dir: Some("/var/log/containers".into()),
            cni_conf_dir: Some("/etc/cni/net.d".into()),
            cni_state_dir: "/var/lib/cni/networks".into(),
            runtime_endpoint: "unix:///run/containerd/containerd.sock".into(),
            cgroup_root: "/kubepods".into(),
            restrict_oom_score_adj: false,
            cluster_dns: vec![IpAddr::from([10, 96, 0, 10])],
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            version: "v1.36.1+kontiki.0.1.0".into(),
            node_labels: Vec::new(),
            max_pods: 110,
            listen: SocketAddr::from(([0, 0, 0, 0], 10250)),
            tls: None,
            capacity: Capacity::default(),
        }
    }

    /// The directory of one pod, `<pods_dir>/pods/<uid>`.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir.join("pods").join(uid)
    }

    /// The directory of one pod's logs, named as every log collector expects.
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}
