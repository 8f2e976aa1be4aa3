//! A published port: a socket on the machine's loopback whose connections are carried to a service's node port.
//!
//! The socket was opened in the machine's network namespace before this process entered the host's, so that it
//! answers there while the connection onward starts on the node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s::k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::{Api, Client};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::layout::Published;

/// Connections a published port carries at once; each holds two sockets and 16 KiB of buffers.
const CONNECTIONS_MAX: usize = 1024;

/// Serves one published port until `stop`.
pub async fn serve(
    listener: TcpListener,
    to: Published,
    node: Ipv4Addr,
    client: Client,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (inbound, _) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(port = to.port, %error, "cannot accept on a published port");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (to, client) = (to.clone(), client.clone());
        tokio::spawn(async move {
            if let Err(error) = carry(inbound, &to, node, client).await {
                tracing::info!(published = %to, %error, "a connection was not carried");
            }
            drop(place);
        });
    }
}

async fn carry(mut inbound: TcpStream, to: &Published, node: Ipv4Addr, client: Client) -> anyhow::Result<()> {
    let target = target(to, node, client).await?;
    let mut outbound = TcpStream::connect(target).await?;
    tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await?;
    Ok(())
}

async fn target(to: &Published, node: Ipv4Addr, client: Client) -> anyhow::Result<SocketAddr> {
    let service = Api::<Service>::namespaced(client, &to.namespace).get(&to.service).await?;
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let port = chosen(&ports, to.service_port.as_deref())
        .ok_or_else(|| anyhow::anyhow!("service {}/{} has no such port", to.namespace, to.service))?;
    if let Some(node_port) = port.node_port {
        return Ok(SocketAddr::from((node, u16::try_from(node_port)?)));
    }
    let address: std::net::IpAddr = spec.cluster_ip.unwrap_or_default().parse()?;
    Ok(SocketAddr::from((address, u16::try_from(port.port)?)))
}

fn chosen<'a>(ports: &'a [ServicePort], wanted: Option<&str>) -> Option<&'a ServicePort> {
    let Some(wanted) = wanted else { return ports.first() };
    ports.iter().find(|port| port.name.as_deref() == Some(wanted) || port.port.to_string() == wanted)
}
