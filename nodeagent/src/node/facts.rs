//! What the machine is. Read once; a machine does not change while it runs.

use std::path::Path;

use crate::Options;

/// Memory kept back from pods: the hard eviction threshold.
const MEMORY_RESERVED: u64 = 100 << 20;

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk where pods' volumes are.
    pub disk_bytes: u64,
    /// /etc/machine-id.
    pub machine_id: String,
    /// The board's uuid, or the machine id where there is none.
    pub system_uuid: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// The name of the distribution.
    pub os_image: String,
    /// As Go names it.
    pub architecture: String,
}

impl Facts {
    /// Looks at the machine, minding the overrides.
    pub fn read(options: &Options) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        let uname = rustix::system::uname();
        Facts {
            cpu_millis: options.capacity.cpu_millis.unwrap_or(1000 * cores as u64),
            memory_bytes: options.capacity.memory_bytes.unwrap_or_else(memory),
            disk_bytes: disk(&options.pods_dir),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            os_image: os_image(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
        }
    }

    /// Bytes that pods may ask for.
    pub fn allocatable_memory(&self) -> u64 {
        self.memory_bytes.saturating_sub(MEMORY_RESERVED)
    }
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The size of the file system that holds the path or will hold it.
fn disk(path: &Path) -> u64 {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    rustix::fs::statvfs(existing).map_or(0, |stat| stat.f_blocks * stat.f_frsize)
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn go_architecture(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
