//! What happens inside of the host, one chapter after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use nodeagent::Options;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::server::{self, Pki};

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Agent {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Agent {
    fn start(api: &Api, pki: &Pki, dir: &Path) -> Self {
        let mut options = Options::new("node-a", "172.30.0.1".parse().expect("an address"));
        options.pod_cidrs = vec!["10.244.1.0/24".into()];
        options.pods_dir = dir.join("kubelet");
        options.logs_dir = dir.join("pods");
        options.log_links_dir = None;
        options.cni_conf_dir = Some(dir.join("cni/net.d"));
        options.cni_state_dir = dir.join("cni/ipam");
        options.runtime_endpoint = dir.join("containerd.sock").to_string_lossy().into_owned();
        options.cgroup_root =
            format!("/kontiki-rig/{}/kubepods", dir.file_name().expect("a name").to_string_lossy());
        options.restrict_oom_score_adj = true;
        options.tls = Some(pki.server());
        let stop = CancellationToken::new();
        let run = nodeagent::run(api.client(), options, stop.clone());
        let task = tokio::spawn(async move { run.await.expect("the agent runs") });
        Agent { task, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

pub fn tell(dir: &Path) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let api = Api::new();
        api.put(
            "/api/v1/namespaces/default/configmaps",
            json!({"metadata": {"name": "settings"}, "data": {"color": "blue"}}),
        );
        api.put(
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "keys"}, "data": {"token": "czNjcjN0"}}),
        );
        let pki = Pki::new();
        let agent = Agent::start(&api, &pki, dir);
        registration(&api).await;
        let id = a_pod_runs(&api, dir).await;
        let agent = adoption(&api, &pki, dir, agent, &id).await;
        server::ask(&pki).await;
        deletion(&api, dir).await;
        crash_loop(&api).await;
        init_and_completion(&api).await;
        failing_probe_restarts(&api).await;
        sandbox_dies(&api, dir).await;
        agent.stop().await;
    });
}

/// Waits until `check` gives something; fails after half a minute with the last object.
async fn eventually<T>(api: &Api, path: &str, what: &str, check: impl Fn(&Value) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let object = api.get(path).unwrap_or_default();
        if let Some(found) = check(&object) {
            return found;
        }
        if start.elapsed() > Duration::from_secs(40) {
            let events = api.all("/api/v1/namespaces/default/events");
            let texts: Vec<String> =
                events.iter().map(|event| format!("{} {}", event["reason"], event["message"])).collect();
            panic!("{what}: {object:#}\n{}", texts.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

async fn registration(api: &Api) {
    let node = eventually(api, "/api/v1/nodes/node-a", "the node is ready", |node| {
        (condition(node, "Ready") == Some("True")).then(|| node.clone())
    })
    .await;
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-a");
    assert_eq!(node["status"]["addresses"][0], json!({"type": "InternalIP", "address": "172.30.0.1"}));
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-a";
    let holder = eventually(api, lease, "a lease", |lease| {
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(holder, "node-a");
}

fn web() -> Value {
    json!({"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {
        "nodeName": "node-a", "restartPolicy": "Always", "terminationGracePeriodSeconds": 5, "serviceAccountName": "default",
        "containers": [{
            "name": "web", "image": "docker.io/library/box:1", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "echo hello from $COLOR; echo bad >&2; echo page > /www/index.html; exec httpd -f -p 8080 -h /www"],
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "200m"}, "requests": {"memory": "32Mi", "cpu": "100m"}},
            "readinessProbe": {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1},
            "livenessProbe": {"exec": {"command": ["test", "-f", "/www/index.html"]}, "periodSeconds": 1},
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo bye > /www/bye"]}}},
            "volumeMounts": [
                {"name": "scratch", "mountPath": "/www"}, {"name": "settings", "mountPath": "/settings"},
                {"name": "settings", "mountPath": "/one", "subPath": "color"},
                {"name": "keys", "mountPath": "/keys"}, {"name": "api", "mountPath": "/api"}]}],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 256}},
            {"name": "api", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]}})
}

/// Gives the container's id.
async fn a_pod_runs(api: &Api, dir: &Path) -> String {
    api.put(PODS, web());
    let pod = eventually(api, &format!("{PODS}/web"), "the pod is ready", |pod| {
        (condition(pod, "Ready") == Some("True")).then(|| pod.clone())
    })
    .await;
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["qosClass"], "Burstable");
    assert!(status["podIP"].as_str().is_some_and(|ip| ip.starts_with("10.244.1.")), "{status:#}");
    let container = &status["containerStatuses"][0];
    assert_eq!(
        (&container["ready"], &container["started"], &container["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let log = std::fs::read_to_string(dir.join(format!("pods/default_web_{uid}/web/0.log"))).expect("a log");
    assert!(log.contains(" stdout F hello from blue\n"), "{log}");
    assert!(log.contains(" stderr F bad\n"), "{log}");
    let volumes = dir.join(format!("kubelet/pods/{uid}/volumes"));
    assert_eq!(
        std::fs::read_to_string(volumes.join("kubernetes.io~configmap/settings/color")).expect("a file"),
        "blue"
    );
    assert_eq!(
        std::fs::read_to_string(volumes.join("kubernetes.io~secret/keys/token")).expect("a file"),
        "s3cr3t"
    );
    assert_eq!(
        std::fs::read_to_string(volumes.join("kubernetes.io~projected/api/labels")).expect("a file"),
        "app=\"web\""
    );
    let id = container["containerID"]
        .as_str()
        .and_then(|id| id.strip_prefix("containerd://"))
        .expect("an id")
        .to_owned();
    for (command, expected) in [
        (vec!["cat", "/settings/color"], "blue"),
        (vec!["cat", "/one"], "blue"),
        (vec!["cat", "/keys/token"], "s3cr3t"),
        (vec!["cat", "/api/token"], "a.b.c"),
        (vec!["sh", "-c", "echo $SECRET"], "s3cr3t\n"),
    ] {
        assert_eq!(exec(dir, &id, &command).await, expected, "{command:?}");
    }
    let hosts = exec(dir, &id, &["cat", "/etc/hosts"]).await;
    assert!(hosts.contains("\tweb\n"), "{hosts}");
    id
}

async fn exec(dir: &Path, id: &str, command: &[&str]) -> String {
    use nodeagent::runtime::Runtime;
    let cri = nodeagent::runtime::cri::Cri::new(&dir.join("containerd.sock").to_string_lossy());
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let output = cri.exec(id.to_owned(), command, Duration::from_secs(5)).await.expect("exec");
    String::from_utf8(output.stdout).expect("text")
}

/// An agent that starts anew finds the container and leaves it alone.
async fn adoption(api: &Api, pki: &Pki, dir: &Path, agent: Agent, id: &str) -> Agent {
    agent.stop().await;
    let agent = Agent::start(api, pki, dir);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pod = api.get(&format!("{PODS}/web")).expect("the pod");
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["containerID"], json!(format!("containerd://{id}")));
    assert_eq!((&container["restartCount"], &container["ready"]), (&json!(0), &json!(true)));
    agent
}

async fn deletion(api: &Api, dir: &Path) {
    let pod = api.get(&format!("{PODS}/web")).expect("the pod");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    api.delete(&format!("{PODS}/web"), 5);
    eventually(api, &format!("{PODS}/web"), "the pod is gone", |pod| pod.is_null().then_some(())).await;
    let start = Instant::now();
    while dir.join(format!("kubelet/pods/{uid}")).exists()
        || dir.join(format!("pods/default_web_{uid}")).exists()
    {
        assert!(start.elapsed() < Duration::from_secs(20), "directories stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&uid), "something of the pod is still mounted");
}

fn simple(name: &str, policy: &str, command: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": "node-a", "restartPolicy": policy, "containers": [
        {"name": "c", "image": "docker.io/library/box:1", "command": ["sh", "-c", command]}]}})
}

async fn crash_loop(api: &Api) {
    api.put(PODS, simple("crash", "Always", "echo last words > /dev/termination-log; exit 3"));
    let container = eventually(api, &format!("{PODS}/crash"), "a crash loop", |pod| {
        let container = &pod["status"]["containerStatuses"][0];
        (container["state"]["waiting"]["reason"] == "CrashLoopBackOff").then(|| container.clone())
    })
    .await;
    assert_eq!(container["restartCount"], 1);
    let end = &container["lastState"]["terminated"];
    assert_eq!(
        (&end["exitCode"], &end["reason"], &end["message"]),
        (&json!(3), &json!("Error"), &json!("last words\n"))
    );
    let message = container["state"]["waiting"]["message"].as_str().expect("a message");
    assert!(
        message.starts_with("back-off 10s restarting failed container=c pod=crash_default("),
        "{message}"
    );
    api.delete(&format!("{PODS}/crash"), 1);
    eventually(api, &format!("{PODS}/crash"), "the pod is gone", |pod| pod.is_null().then_some(())).await;
}

async fn init_and_completion(api: &Api) {
    let mut pod = simple("job", "Never", "test \"$(cat /shared/file)\" = made");
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/shared"}]);
    pod["spec"]["initContainers"] = json!([{"name": "make", "image": "docker.io/library/box:1",
        "command": ["sh", "-c", "echo made > /shared/file"], "volumeMounts": [{"name": "work", "mountPath": "/shared"}]}]);
    pod["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {"medium": "Memory"}}]);
    api.put(PODS, pod);
    let pod = eventually(api, &format!("{PODS}/job"), "the pod has succeeded", |pod| {
        (pod["status"]["phase"] == "Succeeded").then(|| pod.clone())
    })
    .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(pod["status"]["initContainerStatuses"][0]["ready"], true);
    assert_eq!(condition(&pod, "Initialized"), Some("True"));
    assert_eq!(condition(&pod, "Ready"), Some("False"));
}

async fn failing_probe_restarts(api: &Api) {
    let mut pod = simple("sick", "Always", "sleep 1000");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod["spec"]["containers"][0]["livenessProbe"] =
        json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
    api.put(PODS, pod);
    eventually(api, &format!("{PODS}/sick"), "the container is restarted", |pod| {
        let container = &pod["status"]["containerStatuses"][0];
        (container["restartCount"] == 1 && container["lastState"]["terminated"]["exitCode"] == 137)
            .then_some(())
    })
    .await;
}

/// The pause process dies: the pod gets a new sandbox and starts anew in it.
async fn sandbox_dies(api: &Api, dir: &Path) {
    let mut pod = simple("pausing", "Always", "sleep 1000");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    api.put(PODS, pod);
    let pod = eventually(api, &format!("{PODS}/pausing"), "the pod is ready", |pod| {
        (condition(pod, "Ready") == Some("True")).then(|| pod.clone())
    })
    .await;
    let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let sandbox = sandbox_of(dir, &uid).await;
    let ctr = std::process::Command::new("ctr")
        .arg("-a")
        .arg(dir.join("containerd.sock"))
        .args(["-n", "k8s.io", "tasks", "kill", "-s", "KILL", &sandbox])
        .status();
    assert!(ctr.is_ok_and(|status| status.success()), "the sandbox is not killed");
    eventually(api, &format!("{PODS}/pausing"), "the pod runs again", |pod| {
        let container = &pod["status"]["containerStatuses"][0];
        (condition(pod, "Ready") == Some("True") && container["restartCount"] == 1).then_some(())
    })
    .await;
    assert_ne!(sandbox_of(dir, &uid).await, sandbox);
}

/// The newest sandbox of a pod.
async fn sandbox_of(dir: &Path, uid: &str) -> String {
    use nodeagent::runtime::Runtime;
    let cri = nodeagent::runtime::cri::Cri::new(&dir.join("containerd.sock").to_string_lossy());
    let label = ("io.kubernetes.pod.uid".to_owned(), uid.to_owned());
    let inventory = cri.inventory(label).await.expect("an inventory");
    let newest = inventory.sandboxes.into_iter().max_by_key(|sandbox| sandbox.created_at);
    newest.expect("a sandbox").id
}
