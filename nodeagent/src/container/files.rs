//! The text of files that the agent writes for a pod: /etc/hosts, and what goes into resolv.conf.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use proto::cri::DnsConfig;

use crate::pod::spec;

/// Search domains a resolv.conf may hold.
const SEARCHES_MAX: usize = 32;
/// Name servers a resolv.conf may hold.
const SERVERS_MAX: usize = 3;

/// The host name inside the pod, cut to what the kernel takes.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> String {
    let short = short_hostname(pod);
    if let Some(name) = spec::spec(pod).hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    if spec::spec(pod).set_hostname_as_fqdn == Some(true) {
        return fqdn(pod, cluster_domain).unwrap_or(short);
    }
    short
}

fn short_hostname(pod: &Pod) -> String {
    let given = spec::spec(pod).hostname.as_deref().filter(|name| !name.is_empty());
    let name = given.unwrap_or_else(|| spec::name(pod));
    // A label holds 63 bytes and may end in neither a dash nor a dot.
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's name in cluster DNS, which only pods with a subdomain have.
fn fqdn(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = spec::spec(pod).subdomain.as_deref().filter(|name| !name.is_empty())?;
    Some(format!("{}.{subdomain}.{}.svc.{cluster_domain}", short_hostname(pod), spec::namespace(pod)))
}

/// /etc/hosts of a pod with a network of its own, or an addition to the node's (`node_hosts`).
pub fn hosts(pod: &Pod, ips: &[String], cluster_domain: &str, node_hosts: Option<&str>) -> String {
    let mut text = String::new();
    match node_hosts {
        Some(node) => {
            text.push_str("# Kubernetes-managed hosts file (host network).\n");
            text.push_str(node);
        }
        None => {
            text.push_str("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
            text.push_str("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
            let names = match fqdn(pod, cluster_domain) {
                Some(fqdn) => format!("{fqdn}\t{}", short_hostname(pod)),
                None => short_hostname(pod),
            };
            for ip in ips {
                text.push_str(&format!("{ip}\t{names}\n"));
            }
        }
    }
    let aliases = spec::spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            text.push_str(&format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.clone().unwrap_or_default().join("\t")
            ));
        }
    }
    text
}

/// What the node resolves names with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads resolv.conf; the last `search` counts.
    pub fn parse(text: &str) -> Self {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(str::to_owned)),
                Some("search") => {
                    conf.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect()
                }
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }
}

/// The pod's resolv.conf, from its policy and its own additions.
pub fn dns(pod: &Pod, node: &ResolvConf, cluster_dns: &[IpAddr], cluster_domain: &str) -> DnsConfig {
    let policy = spec::spec(pod).dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => None,
        "Default" => Some(false),
        "ClusterFirst" => Some(!spec::host_network(pod) && !cluster_dns.is_empty()),
        _ => Some(!cluster_dns.is_empty()),
    };
    let mut config = match cluster {
        None => DnsConfig::default(),
        Some(false) => DnsConfig {
            servers: node.servers.clone(),
            searches: node.searches.clone(),
            options: node.options.clone(),
        },
        Some(true) => {
            let namespace = spec::namespace(pod);
            let own = [
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ];
            DnsConfig {
                servers: cluster_dns.iter().map(IpAddr::to_string).collect(),
                searches: own.into_iter().chain(node.searches.clone()).collect(),
                options: vec!["ndots:5".into()],
            }
        }
    };
    if let Some(extra) = &spec::spec(pod).dns_config {
        config.servers.extend(extra.nameservers.clone().unwrap_or_default());
        config.searches.extend(extra.searches.clone().unwrap_or_default());
        for option in extra.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            config.options.retain(|other| other.split(':').next() != Some(name));
            config.options.push(match option.value.as_deref() {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    dedup(&mut config.servers, SERVERS_MAX);
    dedup(&mut config.searches, SEARCHES_MAX);
    config
}

/// Keeps the first of equals, and at most `max`.
fn dedup(list: &mut Vec<String>, max: usize) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
    list.truncate(max);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value, expected: &str) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}))
                .expect("a valid pod");
        let node = ResolvConf::parse("nameserver 192.0.2.1\nsearch corp.example.\noptions timeout:2\n");
        let config = dns(&pod, &node, &[IpAddr::from([10, 96, 0, 10])], "cluster.local");
        let text = format!(
            "{} | {} | {}",
            config.servers.join(" "),
            config.searches.join(" "),
            config.options.join(" ")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn policies() {
        let cluster =
            "10.96.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local corp.example | ndots:5";
        let node = "192.0.2.1 | corp.example | timeout:2";
        check(json!({"containers": []}), cluster);
        check(json!({"containers": [], "dnsPolicy": "Default"}), node);
        check(json!({"containers": [], "hostNetwork": true}), node);
        check(
            json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
            cluster,
        );
        check(
            json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"], "searches": ["a"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            "1.2.3.4 | a | ndots:2 edns0",
        );
        check(
            json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
            "10.96.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local corp.example | ndots:1",
        );
    }
}
