//! helm installs, upgrades, tests, rolls back and removes a chart of ours (`helm/chart`), in versions 3 and 4: hooks run in
//! their order, an upgrade that fails leaves what was before, and the history tells of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::target::Target;
use crate::{folder, https, kubelet};

const NAMESPACE: &str = "market";
/// How long helm may wait for what must happen, and for what cannot.
const WAIT: &str = "60s";
const SHORT_WAIT: &str = "4s";

/// Which helm: their flags differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helm {
    /// Merges three versions of an object itself.
    Three,
    /// Applies on the server.
    Four,
}

/// Plays a release's life.
pub(crate) async fn play(binary: &Path, helm: Helm, target: &Target) -> Result<()> {
    let client = https::client(&target.kubeconfig())?;
    let node = tokio::spawn(kubelet::run(client.clone()));
    let scene = Scene {
        binary: binary.to_owned(),
        helm,
        kubeconfig: target.kubeconfig(),
        home: tempfile::tempdir()?,
        chart: folder("helm").join("chart").display().to_string(),
        client,
    };
    let played = scene.play().await;
    if node.is_finished() {
        node.await??;
    } else {
        node.abort();
    }
    played
}

struct Scene {
    binary: PathBuf,
    helm: Helm,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
    chart: String,
    client: Client,
}

impl Scene {
    async fn play(&self) -> Result<()> {
        self.validates()?;
        self.installs().await?;
        self.tests().await?;
        self.upgrades().await?;
        self.fails_and_goes_back().await?;
        self.rolls_back().await?;
        self.leaves_others_alone().await?;
        self.forbidden()?;
        self.uninstalls().await
    }

    /// Runs helm; an error has what it said.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .args(["--namespace", NAMESPACE])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .output()
            .context("helm starts")?;
        if !output.status.success() {
            bail!("helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("helm {}: {text}", arguments.join(" ")))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn greeting(&self) -> Result<String> {
        let settings = self.api::<ConfigMap>().get("shop-settings").await?;
        settings.data.unwrap_or_default().remove("greeting").context("a greeting")
    }

    /// Numbers and states of the release's revisions.
    fn history(&self) -> Result<Vec<(u64, String)>> {
        let history = self.json(&["history", "shop"])?;
        let rows = history.as_array().context("a list")?;
        let row = |row: &Value| Some((row["revision"].as_u64()?, row["status"].as_str()?.to_owned()));
        rows.iter().map(row).collect::<Option<_>>().context("revisions with states")
    }

    /// What the server is asked for before anything is made.
    fn validates(&self) -> Result<()> {
        let dry = self.run(&["install", "shop", &self.chart, "--dry-run=server", "--create-namespace"])?;
        ensure!(dry.contains("kind: RoleBinding"), "the server has roles: {dry}");
        if self.helm == Helm::Three {
            self.run(&["template", "shop", &self.chart, "--validate"])?;
        }
        let listed = self.json(&["list", "-A"])?;
        ensure!(listed == json!([]), "a dry run makes no release: {listed}");
        Ok(())
    }

    async fn installs(&self) -> Result<()> {
        let install = ["install", "shop", &self.chart, "--create-namespace", "--wait", "--timeout", WAIT];
        let release = self.json(&install)?;
        ensure!(release["info"]["status"] == "deployed", "installed: {release}");
        let notes = release["info"]["notes"].as_str().unwrap_or_default();
        ensure!(notes.trim() == "shop says hello on port 80 (revision 1).", "notes: {notes}");
        let deployment = self.api::<Deployment>().get("shop").await?;
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas);
        ensure!(ready == Some(2), "helm waited until both pods were ready: {ready:?}");
        ensure!(deployment.labels()["app.kubernetes.io/managed-by"] == "Helm", "whose it is");
        ensure!(deployment.annotations()["meta.helm.sh/release-name"] == "shop", "of which release it is");
        let settings = self.api::<ConfigMap>().get("shop-settings").await?;
        let system = Api::<Namespace>::all(self.client.clone()).get("kube-system").await?;
        let looked_up = settings.data.as_ref().and_then(|data| data.get("cluster"));
        ensure!(looked_up == system.uid().as_ref(), "lookup read the cluster: {looked_up:?}");
        self.hooks("1", "false").await?;
        let listed = self.json(&["list", "-A"])?;
        ensure!(listed[0]["chart"] == "shop-1.0.0" && listed[0]["revision"] == "1", "listed: {listed}");
        let secrets =
            self.api::<Secret>().list(&ListParams::default().labels("owner=helm,name=shop")).await?;
        let kept = secrets.items.first().and_then(|secret| secret.type_.clone());
        ensure!(kept.as_deref() == Some("helm.sh/release.v1"), "where a release is kept: {kept:?}");
        Ok(())
    }

    /// The hook before has its revision; the one after ran and is gone.
    async fn hooks(&self, revision: &str, upgrade: &str) -> Result<()> {
        let before = self.api::<ConfigMap>().get("shop-before").await?;
        let data = before.data.unwrap_or_default();
        ensure!(data["revision"] == revision && data["upgrade"] == upgrade, "the hook before: {data:?}");
        let job = self.api::<Job>().get_opt("shop-migrate").await?;
        ensure!(job.is_none(), "the job that succeeded is deleted");
        Ok(())
    }

    async fn tests(&self) -> Result<()> {
        let told = self.run(&["test", "shop", "--timeout", WAIT])?;
        ensure!(told.contains("Phase:          Succeeded"), "the release's test: {told}");
        let pod = self.api::<Pod>().get("shop-answers").await?;
        ensure!(pod.status.and_then(|status| status.phase).as_deref() == Some("Succeeded"), "its pod ended");
        Ok(())
    }

    /// What somebody else added stays; what the chart says changes.
    async fn upgrades(&self) -> Result<()> {
        let patch = json!({"metadata": {"labels": {"team": "blue"}}});
        let service = self.api::<Service>();
        service.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let cluster_ip = service.get("shop").await?.spec.and_then(|spec| spec.cluster_ip);
        let values = ["--set", "greeting=good day", "--set", "replicas=3", "--set", "service.port=81"];
        let upgrade = [&["upgrade", "shop", &self.chart, "--wait", "--timeout", WAIT], &values[..]].concat();
        let release = self.json(&upgrade)?;
        ensure!(release["version"] == 2, "the second revision: {release}");
        ensure!(self.greeting().await? == "good day", "the new value");
        let deployment = self.api::<Deployment>().get("shop").await?;
        let updated = deployment.status.and_then(|status| status.updated_replicas);
        ensure!(updated == Some(3), "helm waited for the new pods: {updated:?}");
        let service = service.get("shop").await?;
        ensure!(service.labels().get("team").map(String::as_str) == Some("blue"), "another's label stays");
        let spec = service.spec.context("a spec")?;
        ensure!(spec.cluster_ip == cluster_ip, "the address stays");
        let ports: Vec<i32> = spec.ports.unwrap_or_default().iter().map(|port| port.port).collect();
        ensure!(ports == [81], "ports after the upgrade: {ports:?}");
        self.hooks("2", "true").await?;
        let given = self.json(&["get", "values", "shop"])?;
        ensure!(given["replicas"] == 3, "values are kept: {given}");
        let manifest = self.run(&["get", "manifest", "shop"])?;
        ensure!(manifest.contains("greeting: \"good day\""), "the manifest is kept");
        Ok(())
    }

    /// An upgrade the server refuses, and one whose pods never run.
    async fn fails_and_goes_back(&self) -> Result<()> {
        let back = if self.helm == Helm::Three { "--atomic" } else { "--rollback-on-failure" };
        let failing = ["upgrade", "shop", &self.chart, "--reuse-values", back, "--timeout"];
        let refused = self.run(&[&failing[..], &[WAIT, "--set", "broken=true"]].concat());
        let words = refused.expect_err("a port that cannot be is refused").to_string();
        ensure!(
            words.contains("livenessProbe.httpGet.port: Invalid value: 70000: must be between 1 and 65535"),
            "the server's reason: {words}"
        );
        let nowhere = "image=registry.example/nowhere:1";
        let late = self.run(&[&failing[..], &[SHORT_WAIT, "--set", nowhere]].concat());
        let words = late.expect_err("pods that never run are waited for in vain").to_string();
        ensure!(words.contains("rolled back"), "what helm did about it: {words}");
        ensure!(self.greeting().await? == "good day", "the values of before");
        let deployment = self.api::<Deployment>().get("shop").await?;
        let image = deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .and_then(|pod| pod.containers.into_iter().next()?.image);
        ensure!(image.as_deref() == Some("registry.example/shop:1"), "the image of before: {image:?}");
        let states: Vec<String> = self.history()?.into_iter().map(|(_, state)| state).collect();
        let expected = ["superseded", "superseded", "failed", "superseded", "failed", "deployed"];
        ensure!(states == expected, "the history: {states:?}");
        Ok(())
    }

    async fn rolls_back(&self) -> Result<()> {
        self.run(&["rollback", "shop", "1", "--wait", "--timeout", WAIT])?;
        ensure!(self.greeting().await? == "hello", "the first greeting");
        let deployment = self.api::<Deployment>().get("shop").await?;
        ensure!(deployment.spec.and_then(|spec| spec.replicas) == Some(2), "the first number of replicas");
        let history = self.history()?;
        ensure!(history.last() == Some(&(7, "deployed".to_owned())), "the history: {history:?}");
        self.hooks("1", "false").await
    }

    /// A release may not take what is not its own.
    async fn leaves_others_alone(&self) -> Result<()> {
        let mut mine = ConfigMap::default();
        mine.metadata.name = Some("other-settings".to_owned());
        self.api().create(&PostParams::default(), &mine).await?;
        let taken = self.run(&["upgrade", "--install", "other", &self.chart, "--no-hooks"]);
        let words = taken.expect_err("an object of somebody else").to_string();
        ensure!(words.contains("ConfigMap \"other-settings\" in namespace \"market\" exists"), "{words}");
        ensure!(self.api::<Service>().get_opt("other").await?.is_none(), "nothing of it was made");
        Ok(())
    }

    fn forbidden(&self) -> Result<()> {
        let refused = self.run(&["list", "--kube-as-user", "joe"]).expect_err("joe may not read secrets");
        let words = "secrets is forbidden: User \"joe\" cannot list resource \"secrets\" in API group \"\" in the namespace \"market\"";
        ensure!(refused.to_string().contains(words), "{refused}");
        Ok(())
    }

    async fn uninstalls(&self) -> Result<()> {
        self.run(&["uninstall", "shop", "--wait", "--timeout", WAIT])?;
        ensure!(self.api::<Deployment>().get_opt("shop").await?.is_none(), "the deployment is gone");
        ensure!(self.api::<Service>().get_opt("shop").await?.is_none(), "the service is gone");
        let pods = self.api::<Pod>().list(&ListParams::default().labels("shop=shop")).await?;
        ensure!(pods.items.is_empty(), "its pods are gone: {}", pods.items.len());
        // Hooks are not the release's: the last one ran, the first ones stay.
        self.api::<ConfigMap>().get("shop-farewell").await.context("the hook after")?;
        self.api::<ConfigMap>().get("shop-before").await.context("the hook before")?;
        let kept = self.api::<Secret>().list(&ListParams::default().labels("owner=helm")).await?;
        ensure!(kept.items.is_empty(), "no revision of it is left: {}", kept.items.len());
        Ok(())
    }
}
