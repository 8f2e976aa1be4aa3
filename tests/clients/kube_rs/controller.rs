//! A controller as kube-rs makes them: of each ConfigMap that asks for it, a Secret that it owns; what lies elsewhere goes
//! by its finalizer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event as Record;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event as News, EventType, Recorder};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::{Controller, watcher};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::{config_map, until, value};

const FINALIZER: &str = "example.org/kube-rs";

struct Shared {
    client: Client,
    namespace: String,
    recorder: Recorder,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failed(#[from] kube::Error);

/// Runs it while objects come, change and go.
pub(super) async fn play(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shared = Arc::new(Shared {
        client: client.clone(),
        namespace: namespace.to_owned(),
        recorder: Recorder::new(client.clone(), "example.org/kube-rs".into()),
    });
    let controller = Controller::new(api.clone(), watcher::Config::default().labels("app=test"))
        .owns(secrets.clone(), watcher::Config::default())
        .graceful_shutdown_on(stopped.map(drop))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), shared);
    let running = tokio::spawn(controller.for_each(|_| std::future::ready(())));

    api.create(&PostParams::default(), &config_map("one", "first")).await?;
    mirrored(&secrets, "first").await?;
    let patch = json!({"data": {"k": "second"}});
    api.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    mirrored(&secrets, "second").await?;
    secrets.delete("one", &DeleteParams::default()).await?;
    mirrored(&secrets, "second").await.context("what it owns comes back")?;
    let owner = api.get("one").await?;
    ensure!(owner.finalizers() == [FINALIZER], "finalizers: {:?}", owner.finalizers());
    let records: Api<Record> = Api::namespaced(client.clone(), namespace);
    let about = ListParams::default().fields("regarding.name=one,reason=Mirrored");
    ensure!(!records.list(&about).await?.items.is_empty(), "an event tells of it");

    api.delete("one", &DeleteParams::default()).await?;
    until("all of it is gone", async || {
        let trace = api.get_opt("trace-of-one").await?;
        Ok(api.get_opt("one").await?.is_none() && trace.is_none() && secrets.get_opt("one").await?.is_none())
    })
    .await?;
    // The receiver is the controller's and waits for this.
    let _ = stop.send(());
    running.await?;
    Ok(())
}

async fn mirrored(secrets: &Api<Secret>, wanted: &str) -> Result<()> {
    until(wanted, async || {
        let secret = secrets.get_opt("one").await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        Ok(data.get("k").is_some_and(|bytes| bytes.0 == wanted.as_bytes()))
    })
    .await
}

async fn reconcile(
    object: Arc<ConfigMap>,
    shared: Arc<Shared>,
) -> Result<Action, kube::runtime::finalizer::Error<Failed>> {
    let api: Api<ConfigMap> = Api::namespaced(shared.client.clone(), &shared.namespace);
    finalizer(&api, FINALIZER, object, |event| async {
        match event {
            Event::Apply(object) => mirror(&shared, &object).await,
            Event::Cleanup(object) => forget(&shared, &object).await,
        }
    })
    .await
}

async fn mirror(shared: &Shared, object: &ConfigMap) -> Result<Action, Failed> {
    let owner = object.controller_owner_ref(&()).into_iter().collect();
    let mut secret = Secret::default();
    secret.metadata.name = Some(object.name_any());
    secret.metadata.owner_references = Some(owner);
    secret.string_data = Some(BTreeMap::from([("k".to_owned(), value(object).to_owned())]));
    let api: Api<Secret> = Api::namespaced(shared.client.clone(), &shared.namespace);
    let mine = PatchParams::apply("mirror").force();
    api.patch(&object.name_any(), &mine, &Patch::Apply(&secret)).await?;
    let trace = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("trace-of-{}", object.name_any())}});
    let api: Api<ConfigMap> = Api::namespaced(shared.client.clone(), &shared.namespace);
    api.patch(&format!("trace-of-{}", object.name_any()), &mine, &Patch::Apply(&trace)).await?;
    let news = News {
        type_: EventType::Normal,
        reason: "Mirrored".to_owned(),
        note: None,
        action: "Mirror".to_owned(),
        secondary: None,
    };
    shared.recorder.publish(&news, &object.object_ref(&())).await?;
    Ok(Action::await_change())
}

async fn forget(shared: &Shared, object: &ConfigMap) -> Result<Action, Failed> {
    let api: Api<ConfigMap> = Api::namespaced(shared.client.clone(), &shared.namespace);
    let trace = api.delete(&format!("trace-of-{}", object.name_any()), &DeleteParams::default()).await;
    match trace {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => drop(other?),
    }
    Ok(Action::await_change())
}
