//! Rules are judged by packets: a table of cases sent through real rules in network namespaces.
//!
//! ```text
//!   client 192.0.2.2 ── node 192.0.2.1 / 10.244.0.1 ── pod a 10.244.0.5, pod b 10.244.0.6 (a bridge with hairpin)
//! ```
//! Each pod answers its own letter on port 8080. Needs root, ip, nft and busybox; says so and passes where they lack.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netproxy::compile::nftables::{Networks, Piece, base, piece, transaction};
use netproxy::model::{Backends, Family, Frontend, Port, Protocol, ServiceId};

const VIRTUAL: &str = "10.96.0.7";
const NODE_PORT: u16 = 30_080;
const A: &str = "10.244.0.5";
const B: &str = "10.244.0.6";

/// Who sends, where to, and what answers: letters that must all be seen, `refused`, or `silence`.
const CASES: [(&str, &str, &str, &str, &str); 16] = [
    // (backends, policy, from, to, answer)
    ("ab", "", "client", "10.96.0.7:80", "ab"),
    ("ab", "", "node", "10.96.0.7:80", "ab"),
    ("ab", "", "a", "10.96.0.7:80", "ab"),
    ("a", "", "a", "10.96.0.7:80", "a"),
    ("b", "", "a", "10.96.0.7:80", "b"),
    ("ab", "", "client", "192.0.2.1:30080", "ab"),
    ("ab", "", "node", "192.0.2.1:30080", "ab"),
    ("ab", "", "a", "10.244.0.1:30080", "ab"),
    ("", "", "client", "10.96.0.7:80", "refused"),
    ("", "", "node", "10.96.0.7:80", "refused"),
    ("", "", "a", "10.96.0.7:80", "refused"),
    ("", "", "client", "192.0.2.1:30080", "refused"),
    ("ab", "", "client", "10.96.0.7:81", "refused"),
    ("ab", "affinity", "client", "10.96.0.7:80", "one"),
    ("ab", "local", "client", "192.0.2.1:30080", "ab"),
    ("ab", "none local", "client", "192.0.2.1:30080", "silence"),
];

#[test]
fn packets_find_their_backends() {
    let Some(net) = Net::new() else { return };
    let networks = Networks { family: Family::V4, pods: "10.244.0.0/16".into() };
    net.nft(&base(&networks));
    let mut applied = Piece::default();
    let mut wrong = Vec::new();
    for (backends, policy, from, to, answer) in CASES {
        let wanted = piece(&[frontend(backends, policy)], &networks);
        let mut script = String::new();
        transaction(&mut script, Family::V4, &applied, &wanted);
        if !script.is_empty() {
            net.nft(&script);
        }
        applied = wanted;
        net.forget_flows();
        let seen = net.ask(from, to, answer);
        if seen != answer {
            wrong.push(format!(
                "backends {backends:?} policy {policy:?}: {from} → {to}: want {answer}, got {seen}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Taking the service away leaves none of its objects behind.
    let mut script = String::new();
    transaction(&mut script, Family::V4, &applied, &Piece::default());
    net.nft(&script);
    let left = net.run("node", &["nft", "list", "table", "ip", "kontiki"]);
    assert!(!left.contains("default/web"), "{left}");
}

fn frontend(backends: &str, policy: &str) -> Frontend {
    let to: Vec<SocketAddr> = backends
        .chars()
        .map(|pod| format!("{}:8080", if pod == 'a' { A } else { B }).parse().expect("an address"))
        .collect();
    let internal = if to.is_empty() { Backends::Reject } else { Backends::To(to.clone()) };
    let outside = if policy == "none local" { Backends::Drop } else { internal.clone() };
    Frontend {
        service: ServiceId { namespace: "default".into(), name: "web".into() },
        port: Port { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(NODE_PORT) },
        family: Family::V4,
        cluster: vec![VIRTUAL.parse::<IpAddr>().expect("an address")],
        external: Vec::new(),
        affinity: (policy == "affinity").then_some(Duration::from_secs(60)),
        internal,
        outside,
        external_local: policy.contains("local"),
    }
}

/// The namespaces and servers of one run, gone when dropped.
#[allow(clippy::print_stderr, reason = "people must see that nothing was tested")]
fn skip(missing: &[&str]) {
    eprintln!("SKIPPED: no packet was sent, because that needs root and {missing:?}");
}

struct Net {
    prefix: String,
    servers: Vec<Child>,
    _pages: tempfile::TempDir,
}

impl Net {
    fn new() -> Option<Self> {
        let root = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Uid:\t0"));
        let tools = ["ip", "nft", "busybox", "conntrack"];
        let missing: Vec<_> = tools.into_iter().filter(|tool| !works("which", &[tool])).collect();
        if !root || !missing.is_empty() {
            skip(&missing);
            return None;
        }
        let pages = tempfile::tempdir().expect("a temporary folder");
        let mut net =
            Self { prefix: format!("np{}", std::process::id()), servers: Vec::new(), _pages: pages };
        net.wire();
        for pod in ["a", "b"] {
            let page = net._pages.path().join(pod);
            std::fs::create_dir_all(&page).expect("a folder");
            std::fs::write(page.join("index.html"), pod).expect("a page");
            let page = page.to_string_lossy().into_owned();
            net.servers.push(net.start(pod, &["busybox", "httpd", "-f", "-p", "8080", "-h", &page]));
        }
        Some(net)
    }

    fn wire(&self) {
        for host in ["client", "node", "a", "b"] {
            ip(&["netns", "add", &self.name(host)]);
            self.ip(host, "link set lo up");
        }
        self.ip("node", "link add cni0 type bridge");
        self.ip("node", "addr add 10.244.0.1/24 dev cni0");
        self.ip("node", "link set cni0 up");
        self.cable("client", "192.0.2.2/24", "out");
        self.ip("node", "addr add 192.0.2.1/24 dev out");
        self.ip("client", "route add 10.96.0.0/16 via 192.0.2.1");
        self.ip("node", "route add 10.96.0.0/16 dev out");
        for (pod, address) in [("a", A), ("b", B)] {
            self.cable(pod, &format!("{address}/24"), &format!("to-{pod}"));
            self.ip("node", &format!("link set to-{pod} master cni0"));
            self.ip("node", &format!("link set to-{pod} type bridge_slave hairpin on"));
            self.ip(pod, "route add default via 10.244.0.1");
        }
        // A redirect to the client would use up the very token that the refusal's ICMP message needs.
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.out.send_redirects=0",
        ];
        for setting in settings {
            self.run("node", &["sysctl", "-q", "-w", setting]);
        }
    }

    fn cable(&self, host: &str, address: &str, port: &str) {
        self.ip("node", &format!("link add {port} type veth peer name eth0 netns {}", self.name(host)));
        self.ip("node", &format!("link set {port} up"));
        self.ip(host, &format!("addr add {address} dev eth0"));
        self.ip(host, "link set eth0 up");
    }

    /// What a sender sees in a few tries.
    fn ask(&self, from: &str, to: &str, answer: &str) -> String {
        let tries = if answer.len() == 2 || answer == "one" { 24 } else { 1 };
        let mut letters = std::collections::BTreeSet::new();
        for _ in 0..tries {
            match self.once(from, to) {
                Ok(letter) => letters.insert(letter),
                Err(outcome) => return outcome,
            };
        }
        let seen: String = letters.into_iter().collect();
        if answer == "one" && seen.len() == 1 { "one".to_owned() } else { seen }
    }

    fn once(&self, from: &str, to: &str) -> Result<String, String> {
        let url = format!("http://{to}/");
        let output = self
            .command(from, &["timeout", "2", "busybox", "wget", "-q", "-O-", &url])
            .output()
            .expect("ip runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            _ if errors.contains("refused") => Err("refused".to_owned()),
            Some(124 | 143) => Err("silence".to_owned()),
            code => Err(format!("{code:?} {errors}")),
        }
    }

    fn nft(&self, script: &str) {
        use std::io::Write;
        let mut child =
            self.command("node", &["nft", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("nft reads");
        let output = child.wait_with_output().expect("nft ends");
        assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
    }

    fn forget_flows(&self) {
        // It answers 1 when there is nothing to forget.
        let _ = self.command("node", &["conntrack", "-F"]).output();
    }

    fn run(&self, host: &str, words: &[&str]) -> String {
        let output = self.command(host, words).output().expect("ip runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn start(&self, host: &str, words: &[&str]) -> Child {
        self.command(host, words).spawn().expect("a server starts")
    }

    fn command(&self, host: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn ip(&self, host: &str, words: &str) {
        let name = self.name(host);
        let mut parts = vec!["-n", name.as_str()];
        parts.extend(words.split_whitespace());
        ip(&parts);
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for host in ["client", "node", "a", "b"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(host)]).status();
        }
    }
}

fn ip(parts: &[&str]) {
    assert!(works("ip", parts), "ip {}", parts.join(" "));
}

fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}
