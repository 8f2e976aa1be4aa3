//! The whole agent on a runtime in memory, against an API in memory: no root, no containers, no network.
//!
//! What the runtime was told is the specification: a restart of the agent must tell it nothing.

#[path = "../rig/api.rs"]
mod api;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::Api;
use nodeagent::runtime::fake::Fake;
use nodeagent::{Options, RunError, ServerTls};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Bench {
    api: Api,
    runtime: Arc<Fake>,
    dir: tempfile::TempDir,
}

struct Agent {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        let runtime = Arc::new(Fake::with_images(&["box:1"]));
        Bench { api: Api::new(), runtime, dir: tempfile::tempdir().expect("a directory") }
    }

    fn options(&self) -> Options {
        let dir: &Path = self.dir.path();
        let mut options = Options::new("node-a", "172.30.0.1".parse().expect("an address"));
        options.pods_dir = dir.join("kubelet");
        options.logs_dir = dir.join("pods");
        options.log_links_dir = None;
        options.cni_conf_dir = None;
        options.cgroup_root = String::new();
        options
    }

    fn run(
        &self,
        options: Options,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), RunError>> + use<> {
        let runtime: Arc<dyn nodeagent::runtime::Runtime> = self.runtime.clone();
        nodeagent::run_with(self.api.client(), runtime, options, stop.clone())
    }

    fn start(&self) -> Agent {
        let stop = CancellationToken::new();
        let run = self.run(self.options(), &stop);
        let task = tokio::spawn(async move { run.await.expect("the agent runs") });
        Agent { task, stop }
    }

    /// Waits until a pod looks like this.
    async fn until(&self, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let pod = self.api.get(&format!("{PODS}/{name}")).unwrap_or_default();
            if check(&pod) {
                return pod;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {pod:#}\n{}", self.runtime.dump());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_dump(&self, expected: &str) {
        let begun = Instant::now();
        while self.runtime.dump() != expected {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{:?} is not {expected:?}",
                self.runtime.dump()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Agent {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

fn pod(name: &str, policy: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> =
        containers.iter().map(|name| json!({"name": name, "image": "box:1", "command": ["x"]})).collect();
    json!({"metadata": {"name": name}, "spec": {"nodeName": "node-a", "restartPolicy": policy,
        "terminationGracePeriodSeconds": 7, "containers": containers}})
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| {
        list.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

fn forever() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_pod_starts_restarts_and_is_deleted() {
    forever().block_on(async {
        let bench = Bench::new();
        let agent = bench.start();
        bench.api.put(PODS, pod("web", "Always", &["a", "b"]));
        bench.until("web", "the pod is ready", is_ready).await;
        let calls = bench.runtime.take_calls();
        assert_eq!(calls, ["run sandbox", "create a", "start a", "create b", "start b"]);
        // The first restart is at once.
        bench.runtime.exit("b", 3);
        bench
            .until("web", "b was restarted", |pod| {
                let b = &pod["status"]["containerStatuses"][1];
                b["restartCount"] == 1 && b["lastState"]["terminated"]["exitCode"] == 3 && is_ready(pod)
            })
            .await;
        // The second waits.
        bench.runtime.exit("b", 3);
        bench
            .until("web", "b is held back", |pod| {
                pod["status"]["containerStatuses"][1]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            })
            .await;
        assert_eq!(bench.runtime.take_calls(), ["create b", "start b"]);
        bench.api.delete(&format!("{PODS}/web"), 7);
        bench.until("web", "the pod is gone", Value::is_null).await;
        bench.until_dump("").await;
        assert_eq!(bench.runtime.take_calls(), ["stop a within 7s", "stop sandbox", "remove sandbox"]);
        agent.stop().await;
    });
}

#[test]
fn an_agent_that_restarts_touches_nothing() {
    forever().block_on(async {
        let bench = Bench::new();
        let agent = bench.start();
        bench.api.put(PODS, pod("web", "Always", &["a"]));
        bench.until("web", "the pod is ready", is_ready).await;
        agent.stop().await;
        bench.runtime.take_calls();
        let agent = bench.start();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(bench.runtime.take_calls(), [""; 0]);
        assert!(is_ready(&bench.api.get(&format!("{PODS}/web")).expect("the pod")));
        agent.stop().await;
        // While no agent runs the object goes; the next agent clears up.
        bench.api.delete(&format!("{PODS}/web"), 0);
        let agent = bench.start();
        bench.until_dump("").await;
        agent.stop().await;
    });
}

#[test]
fn an_agent_that_has_ended_has_closed_its_port() {
    // With a second thread, on which a task that outlives the agent would run. Whether it does is a race, so more than once.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let bench = Bench::new();
        let certified = rcgen::generate_simple_self_signed(["node-a".to_owned()]).expect("a certificate");
        let pem = certified.cert.pem();
        let tls = ServerTls {
            certificate_pem: pem.clone(),
            key_pem: certified.signing_key.serialize_pem(),
            client_ca_pem: pem,
        };
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        for _ in 0..30 {
            let mut options = bench.options();
            (options.listen, options.tls) = (address, Some(tls.clone()));
            let stop = CancellationToken::new();
            let stopping = async {
                while TcpStream::connect(address).is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                stop.cancel();
            };
            let (ended, ()) = tokio::join!(bench.run(options, &stop), stopping);
            ended.expect("the agent runs");
            TcpListener::bind(address).expect("the port is free");
        }
    });
}

#[test]
fn a_pod_that_completes_is_reported_and_kept() {
    forever().block_on(async {
        let bench = Bench::new();
        let agent = bench.start();
        bench.api.put(PODS, pod("job", "Never", &["a"]));
        bench.until("job", "the pod is ready", is_ready).await;
        bench.runtime.exit("a", 0);
        bench.until("job", "the pod has succeeded", |pod| pod["status"]["phase"] == "Succeeded").await;
        bench.until_dump("sandbox stopped, a#0 exited(0)").await;
        agent.stop().await;
    });
}

#[test]
fn what_cannot_start_says_why() {
    forever().block_on(async {
        let bench = Bench::new();
        let agent = bench.start();
        let mut missing = pod("missing", "Always", &["a"]);
        missing["spec"]["containers"][0]["image"] = json!("nope:1");
        bench.api.put(PODS, missing);
        let waits = |pod: &Value, reason: &str| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason
        };
        bench.until("missing", "the image cannot be pulled", |pod| waits(pod, "ErrImagePull")).await;
        bench.until("missing", "pulling is held back", |pod| waits(pod, "ImagePullBackOff")).await;
        let mut reference = pod("reference", "Always", &["a"]);
        reference["spec"]["containers"][0]["env"] =
            json!([{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k"}}}]);
        bench.api.put(PODS, reference);
        let pod = bench
            .until("reference", "the reference is missing", |pod| waits(pod, "CreateContainerConfigError"))
            .await;
        let message = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
        assert_eq!(message, "configmap \"nope\" not found");
        let mut huge = pod_of_size("64");
        huge["metadata"]["name"] = json!("huge");
        bench.api.put(PODS, huge);
        let pod = bench.until("huge", "the pod is refused", |pod| pod["status"]["phase"] == "Failed").await;
        assert_eq!(pod["status"]["reason"], "OutOfcpu");
        assert!(pod["status"]["containerStatuses"].is_null());
        agent.stop().await;
    });
}

fn pod_of_size(cpu: &str) -> Value {
    let mut pod = pod("p", "Always", &["a"]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": format!("{cpu}000")}});
    pod
}
