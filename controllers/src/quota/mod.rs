//! Counts what quotas limit, so that what was given back can be used again.
//!
//! Admission adds to a quota's usage in each write's own transaction; here everything is counted anew: when a quota is new or
//! changed, when something it limits has gone, and from time to time. The quota is read first and its new status written
//! only over that version: a write that is charged meanwhile makes the count void, and one charged before is in the lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kinds::quota::{self, Counted};
use runtime::client::{List, PartialObject};
use runtime::{Cache, Client, Key, Next, Queue, Reconcile, Resource, Source, View as _, failure};
use serde::Deserialize;
use serde_json::Value;

use crate::views::{Named, Pod, Whole};
use crate::{House, resources};

/// Quotas are counted at least this often.
const RESYNC: Duration = Duration::from_secs(300);
/// Pause between the going of an object and the count, so that many make one count.
const SETTLE: Duration = Duration::from_millis(100);
const WORKERS: usize = 5;

type Quota = Whole<Named>;

/// Tells the controller what was given back.
#[derive(Clone, Default)]
pub(crate) struct Freed {
    queue: Queue<Key>,
    quotas: Cache<Quota>,
}

impl Freed {
    /// An object of this kind has gone, or uses less.
    pub(crate) fn less(&self, group: &str, plural: &str, namespace: &str) {
        if namespace.is_empty() {
            return;
        }
        for quota in self.quotas.in_namespace(namespace) {
            let hard = quota.tree["spec"]["hard"].as_object().into_iter().flatten();
            if hard.into_iter().any(|(name, _)| quota::tracks(group, plural, name)) {
                self.queue.add_after(quota.metadata().key(), SETTLE);
            }
        }
    }
}

struct Quotas {
    client: Client,
}

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>) -> Freed {
    let freed = Freed::default();
    let changed = freed.queue.clone();
    freed.quotas.on_change(move |change| {
        let Some(quota) = change.new else { return };
        // What differs only in usage was charged by admission or counted here.
        if change.old.is_none() || quota.tree["spec"]["hard"] != quota.tree["status"]["hard"] {
            changed.add(quota.metadata().key());
        }
    });
    let ended = freed.clone();
    pods.on_change(move |change| {
        let (Some(old), Some(new)) = (change.old, change.new) else { return };
        let changed = old.metadata.generation != new.metadata.generation;
        if changed || (new.terminal() && !old.terminal()) {
            ended.less("", "pods", &new.metadata.namespace);
        }
    });
    house.follow(&freed.quotas, Source::all(&resources::RESOURCE_QUOTAS));
    let controller = Arc::new(Quotas { client: house.client("resourcequota-controller") });
    let quotas = freed.quotas.clone();
    house.work(controller, freed.queue.clone(), WORKERS, async move { quotas.synced().await });
    freed
}

impl Reconcile for Quotas {
    type Key = Key;

    fn name(&self) -> &'static str {
        "resourcequota"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(mut quota) = self.read(key).await? else { return Ok(Next::Change) };
        let found = self.look(key, &quota).await?;
        let status = quota::recount(&quota, &found, Timestamp::now());
        if status != quota["status"] {
            quota["status"] = status;
            let place = (key.namespace.as_str(), key.name.as_str(), "status");
            match self.client.update(&resources::RESOURCE_QUOTAS, place, &quota).await {
                Err(error) if failure::is_conflict(&error) => return Ok(Next::Retry),
                Err(error) if failure::is_not_found(&error) => return Ok(Next::Change),
                answer => answer.map(drop)?,
            }
        }
        Ok(Next::After(RESYNC))
    }
}

impl Quotas {
    /// The quota as it is now. The controller may list quotas and not get them.
    async fn read(&self, key: &Key) -> Result<Option<Value>, kube::Error> {
        let selector = format!("metadata.name={}", key.name);
        let query = [("fieldSelector", selector.as_str())];
        let list: List<Value> = self.client.list(&resources::RESOURCE_QUOTAS, &key.namespace, &query).await?;
        Ok(list.items.into_iter().flatten().next())
    }

    /// Everything the quota limits, read after the quota.
    async fn look(&self, key: &Key, quota: &Value) -> Result<Found, kube::Error> {
        let mut found = Found::default();
        let names: Vec<&String> =
            quota["spec"]["hard"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        for (group, plural) in quota::measured() {
            if names.iter().any(|name| quota::tracks(group, plural, name)) {
                let resource = Resource::namespaced(group, "v1", plural, "");
                let list: List<Value> = self.client.list(&resource, &key.namespace, &[]).await?;
                found.objects.insert((group.to_owned(), plural.to_owned()), list.items.unwrap_or_default());
            }
        }
        for (group, plural) in names.iter().filter_map(|name| quota::is_counted_alone(name)) {
            let count = self.count(key, &group, &plural).await?;
            found.counts.insert((group, plural), count);
        }
        Ok(found)
    }

    /// How many objects there are: a page of one tells how many remain.
    async fn count(&self, key: &Key, group: &str, plural: &str) -> Result<Option<u64>, kube::Error> {
        let Some(version) = self.version(group).await? else { return Ok(None) };
        let resource = Resource {
            group: group.to_owned().into(),
            version: version.into(),
            plural: plural.to_owned().into(),
            kind: "".into(),
            namespaced: true,
        };
        let list: Result<List<PartialObject>, kube::Error> =
            self.client.list(&resource, &key.namespace, &[("limit", "1")]).await;
        match list {
            Err(error) if failure::is_not_found(&error) || failure::is_method_not_allowed(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(list) => {
                let shown = list.items.map_or(0, |items| items.len() as u64);
                Ok(Some(shown + list.metadata.remaining_item_count))
            }
        }
    }

    /// The preferred version of a group; `None` when nobody serves it.
    async fn version(&self, group: &str) -> Result<Option<String>, kube::Error> {
        if group.is_empty() {
            return Ok(Some("v1".to_owned()));
        }
        match self.client.get_path::<Group>(&format!("/apis/{group}")).await {
            Ok(group) => Ok(Some(group.preferred_version.version)),
            Err(error) if failure::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    preferred_version: Version,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    version: String,
}

/// What was found in a namespace.
#[derive(Debug, Default)]
struct Found {
    objects: BTreeMap<(String, String), Vec<Value>>,
    counts: BTreeMap<(String, String), Option<u64>>,
}

impl Counted for Found {
    fn objects(&self, group: &str, plural: &str) -> Vec<&Value> {
        self.objects.get(&(group.to_owned(), plural.to_owned())).into_iter().flatten().collect()
    }

    fn count(&self, group: &str, plural: &str) -> Option<u64> {
        self.counts.get(&(group.to_owned(), plural.to_owned())).copied().flatten()
    }
}
