//! Asking a container once.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe, TCPSocketAction};
use tokio::net::TcpStream;

use super::http::{self, Target};
use crate::runtime::Runtime;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Fine.
    Good,
    /// Not fine, and why.
    Bad(String),
    /// The question could not be asked; it does not count.
    Unknown(String),
}

/// Whom to ask.
#[derive(Clone)]
pub struct Subject {
    /// The runtime, for exec.
    pub runtime: Arc<dyn Runtime>,
    /// The container's id.
    pub id: String,
    /// The container's specification.
    pub container: Container,
    /// The pod's address; the node's for pods in its network.
    pub pod_ip: String,
}

/// What is printed of a failed command.
const OUTPUT_MAX: usize = 10 * 1024;

impl Subject {
    /// Asks as the probe says, within its timeout.
    pub async fn probe(&self, probe: &Probe) -> Answer {
        let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1);
        let timeout = Duration::from_secs(seconds);
        if let Some(exec) = &probe.exec {
            return self.exec(exec.command.clone().unwrap_or_default(), timeout).await;
        }
        if let Some(action) = &probe.http_get {
            return match Target::new(action, &self.container, &self.pod_ip) {
                Ok(target) => http_get(&target, timeout).await,
                Err(error) => Answer::Unknown(error),
            };
        }
        if let Some(action) = &probe.tcp_socket {
            return self.tcp(action, timeout).await;
        }
        if let Some(action) = &probe.grpc {
            let service = action.service.clone().unwrap_or_default();
            return match u16::try_from(action.port) {
                Ok(port) => grpc(&self.pod_ip, port, service, timeout).await,
                Err(_) => Answer::Unknown(format!("invalid port number: {}", action.port)),
            };
        }
        Answer::Unknown(format!("missing probe handler for {}", self.container.name))
    }

    async fn exec(&self, command: Vec<String>, timeout: Duration) -> Answer {
        let shown = command.join(" ");
        match self.runtime.exec(self.id.clone(), command, timeout).await {
            Ok(output) if output.exit_code == 0 => Answer::Good,
            Ok(output) => {
                let mut all = output.stdout;
                all.extend(output.stderr);
                all.truncate(OUTPUT_MAX);
                Answer::Bad(String::from_utf8_lossy(&all).into_owned())
            }
            Err(error) if error.code == tonic::Code::DeadlineExceeded => {
                Answer::Bad(format!("command timed out: {shown:?} timed out after {}s", timeout.as_secs()))
            }
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    async fn tcp(&self, action: &TCPSocketAction, timeout: Duration) -> Answer {
        let port = match super::port(&action.port, &self.container) {
            Ok(port) => port,
            Err(error) => return Answer::Unknown(error),
        };
        let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| self.pod_ip.clone());
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Answer::Good,
            Ok(Err(error)) => Answer::Bad(format!("dial tcp {shown}: {}", http::dial_error(&error))),
            Err(_) => Answer::Bad(format!("dial tcp {shown}: i/o timeout")),
        }
    }

    /// Runs a lifecycle hook. The caller gives it its time.
    pub async fn hook(&self, handler: &LifecycleHandler, timeout: Duration) -> Result<(), String> {
        if let Some(exec) = &handler.exec {
            let command = exec.command.clone().unwrap_or_default();
            let shown = command.join(" ");
            return match self.runtime.exec(self.id.clone(), command, timeout).await {
                Ok(output) if output.exit_code == 0 => Ok(()),
                Ok(output) => Err(format!("command '{shown}' exited with {}", output.exit_code)),
                Err(error) => Err(error.to_string()),
            };
        }
        if let Some(action) = &handler.http_get {
            let target = Target::new(action, &self.container, &self.pod_ip)?;
            return match http::get(&target).await {
                Ok(answer) if (200..400).contains(&answer.status) => Ok(()),
                Ok(answer) => Err(format!("unexpected status code {} from {}", answer.status, target.path)),
                Err(error) => Err(error),
            };
        }
        if let Some(sleep) = &handler.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        Err("invalid handler".to_owned())
    }
}

async fn http_get(target: &Target, timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, http::get(target)).await {
        Ok(Ok(answer)) if (200..400).contains(&answer.status) => Answer::Good,
        Ok(Ok(answer)) => Answer::Bad(format!("HTTP probe failed with statuscode: {}", answer.status)),
        Ok(Err(error)) => Answer::Bad(error),
        Err(_) => {
            let scheme = if target.https { "https" } else { "http" };
            let url = format!("{scheme}://{}:{}{}", target.host, target.port, target.path);
            Answer::Bad(format!(
                "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            ))
        }
    }
}

/// `grpc.health.v1.Health/Check`, whose two messages hold one field each.
async fn grpc(host: &str, port: u16, service: String, timeout: Duration) -> Answer {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = format!("http://{host}:{port}");
    let check = async {
        let endpoint =
            tonic::transport::Endpoint::from_shared(address.clone()).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|_| {
            format!("timeout: failed to connect service {:?} within {timeout:?}", format!("{host}:{port}"))
        })?;
        let mut client = proto::health::health_client::HealthClient::new(channel);
        let answer = client.check(proto::health::HealthCheckRequest { service }).await;
        answer.map(|answer| answer.into_inner().status).map_err(|status| status.message().to_owned())
    };
    match tokio::time::timeout(timeout, check).await {
        Ok(Ok(1)) => Answer::Good,
        Ok(Ok(2)) => Answer::Bad("service unhealthy (responded with \"NOT_SERVING\")".into()),
        Ok(Ok(3)) => Answer::Bad("service unhealthy (responded with \"SERVICE_UNKNOWN\")".into()),
        Ok(Ok(_)) => Answer::Bad("service unhealthy (responded with \"UNKNOWN\")".into()),
        Ok(Err(error)) => Answer::Bad(error),
        Err(_) => Answer::Bad(format!(
            "timeout: failed to connect service \"{host}:{port}\" within {}s",
            timeout.as_secs()
        )),
    }
}
