//! Images made on the spot: one static busybox, under the names that the tests use.

use std::io::Write;
use std::path::Path;

use serde_json::json;

const APPLETS: [&str; 14] = [
    "sh", "sleep", "cat", "echo", "httpd", "wget", "ls", "mkdir", "id", "env", "head", "true", "false",
    "test",
];

/// Writes an archive that `ctr images import` takes.
pub fn write(path: &Path, name: &str, command: &[&str]) -> std::io::Result<()> {
    let layer = layer()?;
    let digest = |bytes: &[u8]| format!("{:x}", Hex(sha256(bytes)));
    let layer_digest = digest(&layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    })
    .to_string();
    let config_digest = digest(config.as_bytes());
    let manifest = json!([{
        "Config": format!("{config_digest}.json"), "RepoTags": [name], "Layers": [format!("{layer_digest}/layer.tar")],
    }])
    .to_string();
    let mut archive = Vec::new();
    entry(&mut archive, &format!("{config_digest}.json"), config.as_bytes(), 0o644, b'0', "");
    entry(&mut archive, &format!("{layer_digest}/layer.tar"), &layer, 0o644, b'0', "");
    entry(&mut archive, "manifest.json", manifest.as_bytes(), 0o644, b'0', "");
    archive.extend([0; 1024]);
    std::fs::File::create(path)?.write_all(&archive)
}

fn layer() -> std::io::Result<Vec<u8>> {
    let busybox = std::fs::read("/bin/busybox")?;
    let mut tar = Vec::new();
    for dir in ["bin/", "etc/", "tmp/", "dev/", "proc/", "sys/"] {
        entry(&mut tar, dir, &[], 0o1777, b'5', "");
    }
    entry(&mut tar, "bin/busybox", &busybox, 0o755, b'0', "");
    for applet in APPLETS {
        entry(&mut tar, &format!("bin/{applet}"), &[], 0o777, b'2', "busybox");
    }
    entry(&mut tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", 0o644, b'0', "");
    entry(&mut tar, "etc/group", b"root:x:0:\n", 0o644, b'0', "");
    tar.extend([0; 1024]);
    Ok(tar)
}

/// One entry of a tar archive.
fn entry(tar: &mut Vec<u8>, name: &str, data: &[u8], mode: u32, kind: u8, link: &str) {
    let mut head = [0_u8; 512];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}\0"));
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", data.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    head[156] = kind;
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(head);
    tar.extend(data);
    tar.extend(std::iter::repeat_n(0, data.len().next_multiple_of(512) - data.len()));
}

struct Hex(Vec<u8>);

impl std::fmt::LowerHex for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}
