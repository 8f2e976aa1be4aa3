//! The network of pods: a bridge on the node and an address from the node's range, by the CNI plugins.
//!
//! Routes between nodes, service addresses and masquerading are not made here; they are netproxy's.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::private_directory;

/// The file in the runtime's CNI directory; the number makes it the first.
const FILE: &str = "10-kontiki.conflist";

/// The network list for these pod ranges.
pub fn conflist(pod_cidrs: &[String], state_dir: &Path) -> Value {
    let ranges: Vec<Value> = pod_cidrs.iter().map(|cidr| json!([{ "subnet": cidr }])).collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "kontiki",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "isDefaultGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": { "type": "host-local", "dataDir": state_dir, "ranges": ranges },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    })
}

/// Writes the list where the runtime looks, unless it is there. The rename makes it appear whole.
pub fn write(dir: &Path, pod_cidrs: &[String], state_dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    private_directory(state_dir)?;
    let text = serde_json::to_string_pretty(&conflist(pod_cidrs, state_dir)).map_err(io::Error::other)?;
    let path = dir.join(FILE);
    if std::fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let next = dir.join(format!(".{FILE}.next"));
    std::fs::write(&next, text)?;
    std::fs::rename(next, path)
}
