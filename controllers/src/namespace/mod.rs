//! Empties namespaces that are to go, then lets them go.
//!
//! Creations in a terminating namespace are refused by the server in the same
//! transaction that would make them, so there is no need for the pause with
//! which upstream lets its caches catch up.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use runtime::client::{List, PartialObject};
use runtime::{Cache, Client, DeleteOptions, Key, Next, Queue, Reconcile, Resource, View as _, failure};
use serde::Deserialize;
use serde_json::{Value, json};

use self::plan::{FINALIZER, Left, Round, Then};
use crate::catalog::{Catalog, Served};
use crate::views::Namespace;
use crate::{House, resources};

/// A namespace that cannot go is tried at least this often.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Resources emptied at a time.
const CONCURRENCY: usize = 8;
/// Pause between the going of an object and the next look, so that many make one look.
const SETTLE: Duration = Duration::from_millis(100);

struct Namespaces {
    client: Client,
    namespaces: Cache<Namespace>,
}

/// Tells the controller that an object of a namespace went.
#[derive(Clone)]
pub(crate) struct Emptied {
    queue: Queue<Key>,
    namespaces: Cache<Namespace>,
}

impl Emptied {
    pub(crate) fn object_gone(&self, namespace: &str) {
        let key = Key::new("", namespace);
        if self.namespaces.get(&key).is_some_and(|namespace| namespace.metadata.deleting()) {
            self.queue.add_after(key, SETTLE);
        }
    }
}

pub(crate) fn start(house: &mut House<'_>, namespaces: &Cache<Namespace>, enabled: bool) -> Emptied {
    let queue = Queue::<Key>::with_retry_max(RETRY_MAX);
    let emptied = Emptied { queue: queue.clone(), namespaces: namespaces.clone() };
    if !enabled {
        return emptied;
    }
    let deleted = queue.clone();
    namespaces.on_change(move |change| {
        let namespace = change.new.filter(|namespace| namespace.metadata.deleting());
        if let Some(namespace) = namespace {
            deleted.add(namespace.metadata().key());
        }
    });
    let controller =
        Arc::new(Namespaces { client: house.client("namespace-controller"), namespaces: namespaces.clone() });
    let namespaces = namespaces.clone();
    house.work(controller, queue, 10, async move { namespaces.synced().await });
    emptied
}

impl Reconcile for Namespaces {
    type Key = Key;

    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        if self.namespaces.get(key).is_none() {
            return Ok(Next::Change);
        }
        match self.terminate(&key.name).await {
            // Gone while we looked, or changed: the latter is retried.
            Err(error) if failure::is_not_found(&error) => Ok(Next::Change),
            answer => answer,
        }
    }
}

impl Namespaces {
    async fn terminate(&self, name: &str) -> Result<Next, kube::Error> {
        let mut namespace: Value = self.client.get(&resources::NAMESPACES, "", name).await?;
        let deleted_at =
            namespace["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
        let Some(deleted_at) = deleted_at else { return Ok(Next::Change) };
        if namespace["status"]["phase"] != "Terminating" {
            namespace["status"]["phase"] = "Terminating".into();
            namespace =
                self.client.update_whole(&resources::NAMESPACES, ("", name, "status"), &namespace).await?;
        }
        if !finalizers(&namespace).contains(&FINALIZER.to_owned()) {
            return Ok(Next::Change);
        }
        let round = self.empty(name, deleted_at).await?;
        let old = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(conditions) = plan::conditions(&old, &round, Timestamp::now()) {
            namespace["status"]["conditions"] = conditions.into();
            namespace =
                self.client.update_whole(&resources::NAMESPACES, ("", name, "status"), &namespace).await?;
        }
        match plan::then(&round) {
            Then::Wait(seconds) => Ok(Next::After(Duration::from_secs(seconds.unsigned_abs()))),
            Then::Retry => Ok(Next::Retry),
            Then::Finalize => {
                let rest: Vec<String> =
                    finalizers(&namespace).into_iter().filter(|name| name != FINALIZER).collect();
                namespace["spec"] = json!({ "finalizers": rest });
                self.client.update(&resources::NAMESPACES, ("", name, "finalize"), &namespace).await?;
                Ok(Next::Change)
            }
        }
    }

    /// One round: pods first, and the rest only once they are gone.
    async fn empty(&self, namespace: &str, deleted_at: Timestamp) -> Result<Round, kube::Error> {
        let catalog = Catalog::read(&self.client).await?;
        let mut round = Round { discovery_error: discovery_error(&catalog), ..Round::default() };
        let served = catalog
            .served
            .into_iter()
            .filter(|served| served.preferred && served.resource.namespaced && served.can("delete"));
        let (pods, others): (Vec<Served>, Vec<Served>) =
            served.partition(|served| served.resource == resources::PODS);
        for (resource, left, error) in self.empty_all(pods, namespace, deleted_at).await {
            let error =
                error.map(|error| format!("failed to delete pods for namespace: {namespace}, err: {error}"));
            round.delete_errors.extend(error);
            round.stopped_at_pods |= left.remaining > 0;
            round.left.push((resource, left));
        }
        if round.stopped_at_pods {
            return Ok(round);
        }
        for (resource, left, error) in self.empty_all(others, namespace, deleted_at).await {
            round.delete_errors.extend(error);
            round.left.push((resource, left));
        }
        Ok(round)
    }

    async fn empty_all(
        &self,
        served: Vec<Served>,
        namespace: &str,
        deleted_at: Timestamp,
    ) -> Vec<(Resource, Left, Option<String>)> {
        let each = futures::stream::iter(served).map(|served| async move {
            let (left, error) = match self.empty_one(&served, namespace, deleted_at).await {
                Ok(left) => plan::judge(&served.resource, namespace, left),
                Err(error) => (Left::default(), Some(failure::message(&error))),
            };
            (served.resource, left, error)
        });
        each.buffered(CONCURRENCY).collect().await
    }

    async fn empty_one(
        &self,
        served: &Served,
        namespace: &str,
        deleted_at: Timestamp,
    ) -> Result<Left, kube::Error> {
        let resource = &served.resource;
        let mut left = Left::default();
        if *resource == resources::PODS {
            left.estimate = self.pods_estimate(namespace, deleted_at).await?;
        }
        let background = DeleteOptions { propagation_policy: Some("Background"), ..DeleteOptions::default() };
        if served.can("deletecollection") {
            self.client.delete_collection(resource, namespace, &background).await?;
        } else {
            self.delete_each(served, namespace, &background).await?;
        }
        if !served.can("list") {
            return Ok(left);
        }
        for object in self.list(resource, namespace).await? {
            left.remaining += 1;
            for finalizer in object.metadata.finalizers {
                *left.finalizers.entry(finalizer).or_default() += 1;
            }
        }
        Ok(left)
    }

    async fn delete_each(
        &self,
        served: &Served,
        namespace: &str,
        options: &DeleteOptions,
    ) -> Result<(), kube::Error> {
        if !served.can("list") {
            return Ok(());
        }
        for object in self.list(&served.resource, namespace).await? {
            let answer =
                self.client.delete(&served.resource, namespace, &object.metadata.name, options).await;
            match answer {
                Err(error) if failure::is_not_found(&error) || failure::is_method_not_allowed(&error) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    async fn list(&self, resource: &Resource, namespace: &str) -> Result<Vec<PartialObject>, kube::Error> {
        Ok(self.client.list_metadata(resource, namespace).await?.items.unwrap_or_default())
    }

    /// Seconds the slowest pod may take to stop, unless they are over.
    async fn pods_estimate(&self, namespace: &str, deleted_at: Timestamp) -> Result<i64, kube::Error> {
        let pods: List<GracefulPod> = self.client.list(&resources::PODS, namespace, &[]).await?;
        let pods = pods.items.unwrap_or_default();
        let running =
            pods.iter().filter(|pod| pod.status.phase != "Succeeded" && pod.status.phase != "Failed");
        let grace = running.filter_map(|pod| pod.spec.termination_grace_period_seconds).max().unwrap_or(0);
        let over = Timestamp::now().duration_since(deleted_at) >= SignedDuration::from_secs(grace);
        Ok(if over { 0 } else { grace })
    }
}

fn finalizers(namespace: &Value) -> Vec<String> {
    let listed = namespace["spec"]["finalizers"].as_array();
    listed.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn discovery_error(catalog: &Catalog) -> Option<String> {
    if catalog.failed.is_empty() {
        return None;
    }
    let failed: BTreeMap<&String, &String> =
        catalog.failed.iter().map(|(group, error)| (group, error)).collect();
    let list: Vec<String> = failed.iter().map(|(group, error)| format!("{group}: {error}")).collect();
    let count = list.len();
    Some(format!(
        "Discovery failed for some groups, {count} failing: unable to retrieve the complete list of server APIs: {}",
        list.join(", ")
    ))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GracefulPod {
    spec: GracefulSpec,
    status: GracefulStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GracefulSpec {
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GracefulStatus {
    phase: String,
}
