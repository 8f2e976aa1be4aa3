//! kube-rs: requests, patches and typed errors, discovery, subresources, watchers in both ways to begin over a killed
//! server, and a controller with a finalizer.

mod controller;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{PartialObjectMeta, Status};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::reflector::{Store, store};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::https;
use crate::target::Target;

/// Nothing here takes as long: whatever does has hung.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Plays everything.
pub(crate) async fn play(target: &mut Target) -> Result<()> {
    let client = https::client(&target.kubeconfig())?;
    requests(&client, &namespace(&client, "requests").await?).await.context("requests")?;
    apply(&client, &namespace(&client, "apply").await?).await.context("apply")?;
    discovers(&client, &namespace(&client, "discovery").await?).await.context("discovery")?;
    subresources(&client, &namespace(&client, "subresources").await?).await.context("subresources")?;
    controller::play(&client, &namespace(&client, "controller").await?).await.context("controller")?;
    watchers(&client, &namespace(&client, "watchers").await?, target).await.context("watchers")
}

async fn namespace(client: &Client, name: &str) -> Result<String> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(format!("kube-rs-{name}"));
    let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(made.name_any())
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut made = ConfigMap::default();
    made.metadata.name = Some(name.to_owned());
    made.metadata.labels = Some(BTreeMap::from([("app".to_owned(), "test".to_owned())]));
    made.data = Some(BTreeMap::from([("k".to_owned(), value.to_owned())]));
    made
}

fn value(object: &ConfigMap) -> &str {
    object.data.as_ref().and_then(|data| data.get("k")).map_or("", String::as_str)
}

/// What the server refused.
fn refused<T: std::fmt::Debug>(answer: kube::Result<T>) -> Result<Status> {
    match answer {
        Err(kube::Error::Api(status)) => Ok(*status),
        other => bail!("not refused: {other:?}"),
    }
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds().await? {
        ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn requests(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let first = api.create(&PostParams::default(), &config_map("one", "1")).await?;
    ensure!(api.get("one").await? == first, "what is read is what was made");
    ensure!(api.get_opt("two").await?.is_none(), "what is not there is none");
    let mut second = first.clone();
    second.data = config_map("one", "2").data;
    let replaced = api.replace("one", &PostParams::default(), &second).await?;
    ensure!(value(&replaced) == "2" && replaced.resource_version() != first.resource_version(), "replaced");
    let conflict = refused(api.replace("one", &PostParams::default(), &second).await)?;
    ensure!(conflict.is_conflict() && conflict.code == 409, "an old revision: {conflict:?}");
    let exists = refused(api.create(&PostParams::default(), &config_map("one", "")).await)?;
    ensure!(exists.is_already_exists(), "a taken name: {exists:?}");
    let invalid = refused(api.create(&PostParams::default(), &config_map("Not_A_Name", "")).await)?;
    let causes = invalid.details.as_ref().map(|details| details.causes.clone()).unwrap_or_default();
    ensure!(invalid.is_invalid() && causes[0].field == "metadata.name", "a wrong name: {invalid:?}");
    let merge = json!({"data": {"k": "3"}});
    let merged = api.patch("one", &PatchParams::default(), &Patch::Merge(&merge)).await?;
    ensure!(value(&merged) == "3", "merged");
    let metadata = api.get_metadata("one").await?;
    ensure!(metadata.metadata.resource_version == merged.resource_version(), "the same by metadata");
    for number in 0..7 {
        api.create(&PostParams::default(), &config_map(&format!("page-{number}"), "")).await?;
    }
    let (mut pages, mut token) = (Vec::new(), None);
    loop {
        let mut asked = ListParams::default().labels("app=test").limit(3);
        asked.continue_token = token;
        let page = api.list(&asked).await?;
        pages.push(page.items.len());
        token = page.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    ensure!(pages == [3, 3, 2], "pages: {pages:?}");
    let all = ListParams::default().labels("app=test");
    api.delete_collection(&DeleteParams::default(), &all).await?;
    ensure!(api.list(&all).await?.items.is_empty(), "all are deleted");
    Ok(())
}

async fn apply(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let configuration = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"k": value}});
    let one = PatchParams::apply("one");
    let first = api.patch("one", &one, &Patch::Apply(configuration("1"))).await?;
    let again = api.patch("one", &one, &Patch::Apply(configuration("1"))).await?;
    ensure!(first.resource_version() == again.resource_version(), "the same again changes nothing");
    let two = PatchParams::apply("two");
    let conflict = refused(api.patch("one", &two, &Patch::Apply(configuration("2"))).await)?;
    let words = "Apply failed with 1 conflict: conflict with \"one\": .data.k";
    ensure!(conflict.is_conflict() && conflict.message == words, "two owners: {conflict:?}");
    let forced = api.patch("one", &two.force(), &Patch::Apply(configuration("2"))).await?;
    ensure!(value(&forced) == "2", "forced");
    let owners: Vec<_> = forced.managed_fields().iter().map(|entry| entry.manager.as_deref()).collect();
    ensure!(owners.contains(&Some("two")), "owners: {owners:?}");
    Ok(())
}

/// Objects of kinds that are known from the server only.
async fn discovers(client: &Client, namespace: &str) -> Result<()> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let apps = discovery.get("apps").context("the apps group")?;
    let (kind, capabilities) = apps.recommended_kind("Deployment").context("Deployments")?;
    ensure!(kind.plural == "deployments" && capabilities.scope == Scope::Namespaced, "{kind:?}");
    ensure!(capabilities.supports_operation(verbs::WATCH), "Deployments are watched");
    let scaled = capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale");
    ensure!(scaled, "Deployments have a scale");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let object = DynamicObject::new("web", &kind).data(deployment("web"));
    let made = api.create(&PostParams::default(), &object).await?;
    ensure!(made.data["spec"]["strategy"]["type"] == "RollingUpdate", "defaults: {}", made.data);
    let uid = made.uid().context("a uid")?;
    api.delete("web", &DeleteParams::foreground()).await?;
    let gone = await_condition(api, "web", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.context("deleted in the foreground")??;
    Ok(())
}

fn deployment(name: &str) -> Value {
    json!({"spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
        },
    }})
}

async fn subresources(client: &Client, namespace: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let mut object = deployment("web");
    object["metadata"] = json!({"name": "web"});
    deployments.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    ensure!(
        deployments.get_scale("web").await?.spec.and_then(|spec| spec.replicas).unwrap_or(0) == 0,
        "none"
    );
    let patch = json!({"spec": {"replicas": 2}});
    deployments.patch_scale("web", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"collisionCount": 4}});
    let teller = PatchParams::apply("teller").force();
    let told = deployments.patch_status("web", &teller, &Patch::Apply(&status)).await?;
    ensure!(told.status.and_then(|status| status.collision_count) == Some(4), "the status is applied");
    ensure!(told.spec.and_then(|spec| spec.replicas) == Some(2), "the scale went before");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let mut robot = ServiceAccount::default();
    robot.metadata.name = Some("robot".to_owned());
    accounts.create(&PostParams::default(), &robot).await?;
    let spec = TokenRequestSpec { expiration_seconds: Some(600), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let token = accounts.create_token_request("robot", &PostParams::default(), &request).await?;
    let token = token.status.and_then(|status| status.token).context("a token")?;
    ensure!(token.split('.').count() == 3, "a signed token");
    Ok(())
}

/// A cache that a watcher fills in the background.
struct Mirror {
    store: Store<ConfigMap>,
    follower: tokio::task::JoinHandle<()>,
}

impl Mirror {
    fn start(api: Api<ConfigMap>, config: watcher::Config) -> Self {
        let (store, writer) = store();
        let stream = reflector(writer, watcher(api, config.labels("app=test"))).default_backoff();
        // Failures are the killed server's: the watcher goes on after them.
        let follower = tokio::spawn(stream.for_each(|_| std::future::ready(())));
        Self { store, follower }
    }

    fn revisions(&self) -> BTreeMap<String, Option<String>> {
        self.store.state().iter().map(|object| (object.name_any(), object.resource_version())).collect()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Two watchers, one that lists and one that streams the state, follow what is written before and after a kill.
async fn watchers(client: &Client, namespace: &str, target: &mut Target) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for number in 0..5 {
        api.create(&PostParams::default(), &config_map(&format!("item-{number}"), "0")).await?;
    }
    let mirrors = [watcher::Config::default(), watcher::Config::default().streaming_lists()]
        .map(|config| Mirror::start(api.clone(), config));
    for mirror in &mirrors {
        tokio::time::timeout(PATIENCE, mirror.store.wait_until_ready())
            .await
            .context("the first state")??;
    }
    for round in 0..3 {
        if round == 1 && target.restarts() {
            target.restart()?;
        }
        let patch = json!({"data": {"k": format!("round {round}")}});
        for number in 0..5 {
            let name = format!("item-{number}");
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        api.delete(&format!("item-{round}"), &DeleteParams::default()).await?;
        api.create(&PostParams::default(), &config_map(&format!("item-{round}"), "again")).await?;
        let live = api.list(&ListParams::default().labels("app=test")).await?;
        let live: BTreeMap<_, _> =
            live.items.iter().map(|object| (object.name_any(), object.resource_version())).collect();
        until("both caches have what the server has", async || {
            Ok(mirrors.iter().all(|mirror| mirror.revisions() == live))
        })
        .await?;
    }
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), namespace);
    let metadata = watcher(api, watcher::Config::default().labels("app=test"));
    let mut metadata = std::pin::pin!(metadata.applied_objects());
    let first = metadata.try_next().await?.context("an object")?;
    ensure!(first.types.as_ref().is_some_and(|types| types.kind == "PartialObjectMetadata"), "{first:?}");
    Ok(())
}
