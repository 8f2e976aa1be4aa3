//! Keeps the status of disruption budgets, from which evictions are granted.

mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{
    Cache, Client, Key, Next, OwnerReference, Queue, Reconcile, Resource, Source, View as _, failure,
};
use serde::Deserialize;
use serde_json::json;

use self::plan::{Budget, View};
use crate::views::{Pod, Whole};
use crate::{House, resources};

const WORKERS: usize = 2;

struct Disruption {
    client: Client,
    budgets: Cache<Whole<Budget>>,
    pods: Cache<Pod>,
}

pub(crate) fn start(house: &mut House<'_>, pods: &Cache<Pod>) {
    let budgets = Cache::<Whole<Budget>>::new();
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    budgets.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, near) = (queue.clone(), budgets.clone());
    pods.on_change(move |change| {
        for pod in [change.old, change.new].into_iter().flatten() {
            let budgets = near.in_namespace(&pod.metadata.namespace);
            for budget in budgets.iter().filter(|budget| budget.selects(pod)) {
                touched.add(budget.metadata().key());
            }
        }
    });
    let client = house.client("disruption-controller");
    let controller = Arc::new(Disruption { client, budgets: budgets.clone(), pods: pods.clone() });
    let (ready, pods) = (budgets.clone(), pods.clone());
    house.work(controller, queue, WORKERS, async move {
        ready.synced().await;
        pods.synced().await;
    });
    house.follow(&budgets, Source::all(&resources::BUDGETS));
}

impl Reconcile for Disruption {
    type Key = Key;

    fn name(&self) -> &'static str {
        "disruption"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let now = Timestamp::now();
        let Some(budget) = self.budgets.get(key) else { return Ok(Next::Change) };
        let pods = self.pods.in_namespace(&key.namespace);
        let pods: Vec<&Pod> = pods.iter().map(Arc::as_ref).filter(|pod| budget.selects(pod)).collect();
        let scale = if budget.asks_for_scale() { self.scale(key, &pods).await? } else { 0 };
        let (status, wake_at) = plan::plan(&View { budget: &budget, pods, scale, now });
        if status != budget.status {
            // Only at the revision that was looked at: an eviction may just have been granted.
            let path = (key.namespace.as_str(), key.name.as_str(), "status");
            let mut tree = budget.tree.clone();
            tree["status"] = json!(status);
            match self.client.update(&resources::BUDGETS, path, &tree).await {
                Err(error) if failure::is_not_found(&error) => return Ok(Next::Change),
                Err(error) if failure::is_conflict(&error) => return Ok(Next::Retry),
                answer => answer.map(|_| ())?,
            }
        }
        Ok(match wake_at {
            Some(at) => Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Next::Change,
        })
    }
}

/// Of a controller only its replicas and its own controller.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scaled {
    metadata: runtime::Metadata,
    spec: ScaledSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaledSpec {
    replicas: i32,
}

impl Disruption {
    /// The replicas that the controllers of the pods want together, each counted once; a Deployment stands for its sets.
    async fn scale(&self, key: &Key, pods: &[&Pod]) -> Result<i32, kube::Error> {
        let mut owners: BTreeSet<OwnerReference> =
            pods.iter().filter_map(|pod| pod.metadata.controller().cloned()).collect();
        let (mut seen, mut total) = (BTreeSet::new(), 0_i32);
        while let Some(owner) = owners.pop_first() {
            let Some(resource) = scalable(&owner) else { continue };
            if !seen.insert(owner.uid.clone()) {
                continue;
            }
            let scaled: Scaled = match self.client.get(resource, &key.namespace, &owner.name).await {
                Ok(scaled) => scaled,
                Err(error) if failure::is_not_found(&error) => continue,
                Err(error) => return Err(error),
            };
            match scaled.metadata.controller().filter(|above| scalable(above).is_some()) {
                Some(above) => drop(owners.insert(above.clone())),
                None => total = total.saturating_add(scaled.spec.replicas),
            }
        }
        Ok(total)
    }
}

fn scalable(owner: &OwnerReference) -> Option<&'static Resource> {
    let known = [
        &resources::REPLICA_SETS,
        &resources::REPLICATION_CONTROLLERS,
        &resources::DEPLOYMENTS,
        &resources::STATEFUL_SETS,
    ];
    known
        .into_iter()
        .find(|resource| resource.kind == owner.kind && resource.api_version() == owner.api_version)
}
