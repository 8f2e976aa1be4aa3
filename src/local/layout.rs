//! Where a local cluster's files, namespaces, cgroups and addresses are. Pure: it names things and touches nothing.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// One local cluster's names.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name, a DNS label.
    pub name: String,
    root: PathBuf,
}

/// One host of a local cluster.
#[derive(Debug, Clone)]
pub struct Host {
    /// The node's name.
    pub name: String,
    cluster: Cluster,
    number: u8,
}

impl Cluster {
    /// The cluster `name` below `data_home` (usually ~/.local/share).
    pub fn new(data_home: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), root: data_home.join("kontiki").join(name) }
    }

    /// The folder that holds everything of this cluster.
    pub fn dir(&self) -> &Path {
        &self.root
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The network namespace whose bridge joins the hosts.
    pub fn switch(&self) -> String {
        format!("kontiki-{}", self.name)
    }

    /// The first server.
    pub fn server(&self) -> Host {
        Host { name: "server-0".to_owned(), cluster: self.clone(), number: 1 }
    }

    /// The cgroup that holds all hosts, from the root of a hierarchy.
    pub fn cgroup(&self) -> String {
        format!("kontiki/{}", self.name)
    }
}

impl Host {
    /// Everything of this host.
    pub fn dir(&self) -> PathBuf {
        self.cluster.root.join(&self.name)
    }

    /// The cluster this host belongs to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its network namespace's name.
    pub fn namespace(&self) -> String {
        format!("kontiki-{}-{}", self.cluster.name, self.name)
    }

    /// The file its network namespace is pinned to.
    pub fn namespace_file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.namespace())
    }

    /// The file its mount namespace is pinned to; its folder is a private mount, which pinning needs.
    pub fn mounts_file(&self) -> PathBuf {
        self.cluster.root.join("ns").join(&self.name)
    }

    /// Its end of the cable, as the switch calls it.
    pub fn port(&self) -> String {
        format!("h{}", self.number)
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, self.number)
    }

    /// The range its pods take addresses from.
    pub fn pod_cidr(&self) -> String {
        format!("10.244.{}.0/24", self.number - 1)
    }

    /// The cgroup of this host, from the root of a hierarchy.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", self.cluster.cgroup(), self.name)
    }

    /// The socket of this host's container runtime.
    pub fn runtime_socket(&self) -> PathBuf {
        self.dir().join("containerd.sock")
    }

    /// The log of the kontiki process.
    pub fn log(&self) -> PathBuf {
        self.dir().join("kontiki.log")
    }

    /// Holds the kontiki process's id while it runs.
    pub fn pid_file(&self) -> PathBuf {
        self.dir().join("kontiki.pid")
    }
}

/// A port of the machine's loopback that leads to a service: `HOST:SERVICE[:PORT]` or `HOST:NAMESPACE/SERVICE[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub service: String,
    /// The service's port, by name or number; its first when none is given.
    pub service_port: Option<String>,
}

impl std::str::FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "want HOST_PORT:[NAMESPACE/]SERVICE[:PORT], for example 8080:web";
        let mut parts = text.split(':');
        let port = parts.next().and_then(|port| port.parse().ok()).ok_or(wanted)?;
        let target = parts.next().filter(|target| !target.is_empty()).ok_or(wanted)?;
        let service_port = parts.next().map(str::to_owned);
        if parts.next().is_some() {
            return Err(wanted.to_owned());
        }
        let (namespace, service) = target.split_once('/').unwrap_or(("default", target));
        Ok(Self { port, namespace: namespace.to_owned(), service: service.to_owned(), service_port })
    }
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.port, self.namespace, self.service)?;
        match &self.service_port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_reads_back_what_it_prints() {
        for (given, printed) in [
            ("8080:web", "8080:default/web"),
            ("8443:shop/front:https", "8443:shop/front:https"),
            ("80:web:8080", "80:default/web:8080"),
        ] {
            let published: Published = given.parse().expect(given);
            assert_eq!(published.to_string(), printed);
            assert_eq!(printed.parse::<Published>().as_ref(), Ok(&published));
        }
        for wrong in ["", "web", "8080", "8080:", "x:web", "1:a:b:c", "70000:web"] {
            assert!(wrong.parse::<Published>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_a_host() {
        let host = Cluster::new(Path::new("/data"), "demo").server();
        assert_eq!(host.namespace(), "kontiki-demo-server-0");
        assert_eq!(host.cgroup(), "kontiki/demo/server-0");
        assert_eq!(host.mounts_file(), Path::new("/data/kontiki/demo/ns/server-0"));
        assert_eq!(host.address().to_string(), "172.30.0.1");
    }
}
