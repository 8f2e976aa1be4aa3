//! The worker in a server's process: the node agent and the service proxy, as clients with the node's own identity.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use access::pki::Material;
use access::{UserInfo, users};
use apiserver::ApiServer;
use futures::StreamExt;
use k8s::k8s_openapi::api::core::v1 as core;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{DNS_ADDRESS, DOMAIN, POD_CIDR, VERSION, client};
use crate::failure::{Code, Failure, Step};

/// Where this node's resolver listens, behind the cluster's DNS address. Not 53: a machine may have its own there.
const DNS_PORT: u16 = 10_053;
const AGENT_PORT: u16 = 10_250;

/// What a node is started with.
pub struct Node {
    /// The Node object's name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The range its pods take addresses from.
    pub pod_cidr: String,
    /// The container runtime's socket.
    pub runtime_endpoint: PathBuf,
    /// Pods' volumes.
    pub pods_dir: PathBuf,
    /// Containers' logs.
    pub logs_dir: PathBuf,
    /// Where the runtime reads its network configuration.
    pub cni_conf_dir: PathBuf,
    /// Where address leases are kept.
    pub cni_data_dir: PathBuf,
    /// The cgroup of all pods.
    pub cgroup_parent: String,
    /// What carries services.
    pub proxy_mode: netproxy::ProxyMode,
}

/// Starts the agent and the proxy; a part that fails for good is told to `failed`.
///
/// # Errors
/// The agent's certificate cannot be made, or this machine lacks what the proxy was asked to use.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    api: &ApiServer,
    material: &Material,
    node: Node,
    stop: &CancellationToken,
    failed: mpsc::Sender<Failure>,
) -> Result<(), Failure> {
    netproxy::usable(node.proxy_mode).map_err(|error| {
        Failure::new(Code::Unfit, "the service proxy cannot run").why(error).fix("--proxy-mode auto")
    })?;
    let agent = client::local(api, UserInfo::node(&node.name), "kubelet", None);
    let options = agent_options(&node, material)?;
    let (cancel, failure) = (stop.clone(), failed.clone());
    tasks.spawn(async move {
        if let Err(error) = nodeagent::run(agent, options, cancel).await {
            tell(&failure, Failure::new(Code::Other, "the node agent cannot run").why(causes(&error))).await;
        }
    });
    let proxy = client::local(api, UserInfo::authenticated(users::PROXY, &[]), "kube-proxy", None);
    let options = netproxy::Options {
        node: node.name,
        dns_listen: SocketAddr::new(node.address, DNS_PORT),
        dns_address: DNS_ADDRESS,
        domain: DOMAIN.to_owned(),
        pod_cidrs: vec![POD_CIDR.to_owned()],
        mode: node.proxy_mode,
        upstreams: Vec::new(),
    };
    let cancel = stop.clone();
    tasks.spawn(async move {
        if let Err(error) = netproxy::run(proxy, options, cancel).await {
            tell(&failed, Failure::new(Code::Other, "the service proxy cannot run").why(error)).await;
        }
    });
    Ok(())
}

async fn tell(failed: &mpsc::Sender<Failure>, failure: Failure) {
    // The receiver is gone when the server stops already.
    let _ = failed.send(failure).await;
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn agent_options(node: &Node, material: &Material) -> Result<nodeagent::Options, Failure> {
    let names = [node.name.clone(), node.address.to_string(), "127.0.0.1".to_owned(), "localhost".to_owned()];
    let serving = material
        .authority
        .node_server(&node.name, &names, jiff::Timestamp::now())
        .step("cannot make the agent's certificate")?;
    let mut options = nodeagent::Options::new(&node.name, node.address);
    options.pod_cidrs = vec![node.pod_cidr.clone()];
    options.pods_dir.clone_from(&node.pods_dir);
    options.logs_dir.clone_from(&node.logs_dir);
    options.log_links_dir = None;
    options.cni_conf_dir = Some(node.cni_conf_dir.clone());
    options.cni_state_dir.clone_from(&node.cni_data_dir);
    options.runtime_endpoint = format!("unix://{}", node.runtime_endpoint.display());
    options.cgroup_root.clone_from(&node.cgroup_parent);
    options.restrict_oom_score_adj = true;
    options.cluster_dns = vec![DNS_ADDRESS];
    DOMAIN.clone_into(&mut options.cluster_domain);
    VERSION.clone_into(&mut options.version);
    options.listen = SocketAddr::new(node.address, AGENT_PORT);
    options.tls = Some(nodeagent::ServerTls {
        certificate_pem: serving.certificate_pem(),
        key_pem: serving.key_pem(),
        client_ca_pem: material.authority.certificate_pem(),
    });
    Ok(options)
}

/// Waits until the node says that it is Ready.
pub(super) async fn ready(client: kube::Client, name: &str) -> Result<(), Failure> {
    let api = kube::Api::<core::Node>::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut nodes = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
    while let Some(node) = nodes.next().await {
        let Ok(node) = node else { continue };
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            return Ok(());
        }
    }
    Err(Failure::new(Code::Other, format!("the watch of node {name} ended")))
}
