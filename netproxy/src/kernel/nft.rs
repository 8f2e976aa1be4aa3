//! The kernel through `nft` and `conntrack`, in the network namespace of this process.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Kernel;
use crate::diff::StaleFlow;

/// Runs the tools of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct Nft;

/// Folders an administrator's tools stand in, which a service's search path may lack.
const TOOL_FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

impl Kernel for Nft {
    async fn apply(&mut self, script: &str) -> io::Result<()> {
        let mut child = tool("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().expect("a piped stdin");
        input.write_all(script.as_bytes()).await?;
        drop(input);
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        let why: String = String::from_utf8_lossy(&output.stderr).chars().take(2000).collect();
        Err(io::Error::other(format!("nft refused: {}", why.trim())))
    }

    async fn forget(&mut self, flow: &StaleFlow) -> io::Result<()> {
        let mut arguments = vec!["-D".to_owned(), "-p".to_owned(), "udp".to_owned()];
        if let Some(frontend) = flow.frontend {
            arguments.extend(["--orig-dst".to_owned(), frontend.ip().to_string()]);
            arguments.extend(["--orig-port-dst".to_owned(), frontend.port().to_string()]);
        }
        if let Some(port) = flow.node_port {
            arguments.extend(["--orig-port-dst".to_owned(), port.to_string()]);
        }
        if let Some(backend) = flow.backend {
            arguments.extend(["--dst-nat".to_owned(), backend.ip().to_string()]);
        }
        // conntrack answers 1 when no flow fits, which is as good as having removed it.
        tool("conntrack").args(&arguments).output().await.map(drop)
    }
}

fn tool(name: &str) -> Command {
    let path = format!("{}:{TOOL_FOLDERS}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(name);
    command
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
