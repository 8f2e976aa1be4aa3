//! The table every node has: hooks, maps and the chains that do not depend on any service.

use std::fmt::Write as _;

use crate::model::Family;

/// The mark of packets whose source is rewritten on their way out; the bit kube-proxy uses.
pub const MASQUERADE_MARK: &str = "0x4000";

/// Which addresses are inside the cluster, in one family.
#[derive(Debug, Clone)]
pub struct Networks {
    /// The family of both.
    pub family: Family,
    /// Pods, as a CIDR.
    pub pods: String,
}

/// nftables' words for a family.
pub struct Words {
    /// The table's family.
    pub ip: &'static str,
    /// The type of an address.
    pub address: &'static str,
    /// Addresses that never leave a machine.
    pub loopback: &'static str,
}

/// The words of `family`.
pub fn words(family: Family) -> Words {
    match family {
        Family::V4 => Words { ip: "ip", address: "ipv4_addr", loopback: "127.0.0.0/8" },
        Family::V6 => Words { ip: "ip6", address: "ipv6_addr", loopback: "::1" },
    }
}

/// The name of our table.
pub const TABLE: &str = "kontiki";

/// A script that replaces the whole table by one without services, in one transaction.
pub fn base(networks: &Networks) -> String {
    let Words { ip, address, loopback } = words(networks.family);
    let mut script = format!("add table {ip} {TABLE}\ndelete table {ip} {TABLE}\n");
    let _ = write!(
        script,
        "table {ip} {TABLE} {{
  comment \"Kubernetes services\"
  map service-ips {{ type {address} . inet_proto . inet_service : verdict; }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; }}
  map no-endpoint-services {{ type {address} . inet_proto . inet_service : verdict; }}
  map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
  map guarded-ips {{ type {address} . inet_proto . inet_service : verdict; }}
  set cluster-ips {{ type {address}; }}
  chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}
  chain reject-chain {{ reject; }}
  chain drop-chain {{ drop; }}
  chain services {{
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local {ip} daddr != {loopback} meta l4proto . th dport vmap @service-nodeports
  }}
  chain endpoints-check {{
    {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services
    fib daddr type local {ip} daddr != {loopback} meta l4proto . th dport vmap @no-endpoint-nodeports
  }}
  chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; }}
  chain guard {{ ct state new {ip} daddr . meta l4proto . th dport vmap @guarded-ips; }}
  chain filter-prerouting {{ type filter hook prerouting priority -110; jump guard; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark and {MASQUERADE_MARK} == 0 return
    meta mark set meta mark xor {MASQUERADE_MARK}
    masquerade fully-random
  }}
  chain filter-input {{ type filter hook input priority -110; ct state new jump endpoints-check; }}
  chain filter-forward {{
    type filter hook forward priority -110;
    ct state new jump endpoints-check
    ct state new jump cluster-ips-check
  }}
  chain filter-output {{ type filter hook output priority -110; jump guard; }}
  chain filter-output-after {{
    type filter hook output priority -90;
    ct state new jump endpoints-check
    ct state new jump cluster-ips-check
  }}
}}
"
    );
    script
}
