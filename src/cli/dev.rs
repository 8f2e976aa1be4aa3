//! `kontiki dev`: API server, controllers and scheduler for tests, without root and gone when it ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::access::AccessFlags;
use super::answer;
use super::audit::AuditFlags;
use crate::compose::{Administrator, Server, ServerConfig, run};
use crate::failure::{Code, Failure, Step};

/// Flags of `kontiki dev`.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// The API's port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Keep the data here; without it everything is in memory and gone at the end.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Write the kubeconfig here instead of into a temporary folder.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    audit: AuditFlags,
    #[command(flatten)]
    access: AccessFlags,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        let began = Instant::now();
        let folder = Folder::new()?;
        let path = self.kubeconfig.clone().unwrap_or_else(|| folder.0.join("kubeconfig"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).map_err(|error| {
            Failure::new(Code::Conflict, format!("port {} of 127.0.0.1 cannot be listened on", self.port))
                .why(error)
                .fix("kontiki dev --port 0 takes a free one")
        })?;
        let public: SocketAddr = listener.local_addr().step("cannot read the API's port")?;
        let config = ServerConfig {
            data_dir: self.data_dir,
            listeners: vec![listener],
            kubeconfig: path.clone(),
            public,
            advertise: advertised(),
            context: "kontiki-dev".to_owned(),
            audit: self.audit.options(),
            node: None,
            extra_names: Vec::new(),
            access: self.access.read()?,
            administrator: Administrator::Privileged,
            peers: None,
        };
        run(async {
            let server = Server::start(config).await?;
            let ms = began.elapsed().as_millis();
            answer(&format!(
                "KUBECONFIG={}        # ready in {ms} ms; Ctrl-C removes everything",
                path.display()
            ))?;
            server.until_stopped().await
        })
    }
}

/// The `kubernetes` endpoints may not be loopback addresses: this machine's own, else a documentation address that
/// leads nowhere.
fn advertised() -> IpAddr {
    // Connecting a datagram socket sends nothing: it only asks the routing table for the source address.
    let asked = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr())
    });
    match asked {
        Ok(address) if !address.ip().is_loopback() && !address.ip().is_unspecified() => address.ip(),
        _ => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    }
}

/// A temporary folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("kontiki-dev-{}", std::process::id()));
        std::fs::create_dir_all(&path).step("cannot make a temporary folder")?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it any more; a folder that stays is only untidy.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
