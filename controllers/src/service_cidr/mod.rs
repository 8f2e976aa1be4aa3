//! Keeps ranges of service addresses ready, and lets them go when no address needs them.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{Cache, Client, Key, Next, PatchKind, Queue, Reconcile, Source, View, failure};
use serde_json::json;

use crate::views::Named;
use crate::{House, resources};
use plan::{Action, FINALIZER, ServiceCidr, plan};

/// Label and value of addresses that Services have.
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";

impl View for ServiceCidr {
    fn metadata(&self) -> &runtime::Metadata {
        &self.metadata
    }
}

struct Controller {
    client: Client,
    ranges: Cache<ServiceCidr>,
    addresses: Cache<Named>,
}

pub(crate) fn start(house: &mut House<'_>) {
    let queue = Queue::<Key>::new();
    let (ranges, addresses) = (Cache::<ServiceCidr>::new(), Cache::<Named>::new());
    // A range may be what another waits for.
    let (changed, all) = (queue.clone(), ranges.clone());
    ranges.on_change(move |change| {
        changed.add(change.latest().metadata.key());
        add_going(&changed, &all);
    });
    let (freed, all) = (queue.clone(), ranges.clone());
    addresses.on_change(move |change| {
        if change.new.is_none() {
            add_going(&freed, &all);
        }
    });
    house.follow(&ranges, Source::all(&resources::SERVICE_CIDRS));
    house.follow(&addresses, Source::metadata(&resources::IP_ADDRESSES));
    let controller = Arc::new(Controller {
        client: house.client("service-cidrs-controller"),
        ranges: ranges.clone(),
        addresses: addresses.clone(),
    });
    house.work(controller, queue, 1, async move {
        ranges.synced().await;
        addresses.synced().await;
    });
}

fn add_going(queue: &Queue<Key>, ranges: &Cache<ServiceCidr>) {
    for range in ranges.all().iter().filter(|range| range.metadata.deleting()) {
        queue.add(range.metadata.key());
    }
}

impl Reconcile for Controller {
    type Key = Key;

    fn name(&self) -> &'static str {
        "service-cidrs"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(range) = self.ranges.get(key) else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let all = self.ranges.all();
        let others: Vec<&ServiceCidr> =
            all.iter().map(Arc::as_ref).filter(|other| other.metadata.name != key.name).collect();
        // Nobody looks at the addresses of a range that stays.
        let addresses = if range.metadata.deleting() { self.addresses.all() } else { Vec::new() };
        let given = addresses
            .iter()
            .filter(|address| address.metadata.labels.get(MANAGED_BY).is_some_and(|by| by == ALLOCATOR))
            .map(|address| address.metadata.name.clone());
        for action in plan(&range, &others, given, now) {
            if let Action::WaitUntil(until) = action {
                let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Ok(Next::After(left));
            }
            match self.execute(&range, &action).await {
                Err(error) if !failure::is_overtaken(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Next::Change)
    }
}

impl Controller {
    async fn execute(&self, range: &ServiceCidr, action: &Action) -> Result<(), kube::Error> {
        let (name, uid) = (range.metadata.name.as_str(), range.metadata.uid.as_str());
        let (part, kind, patch) = match action {
            Action::WaitUntil(_) => return Ok(()),
            Action::AddFinalizer => {
                let patch = json!({ "metadata": { "uid": uid, "finalizers": [FINALIZER] } });
                ("", PatchKind::Strategic, patch)
            }
            Action::RemoveFinalizer => {
                let patch =
                    json!({ "metadata": { "uid": uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
                ("", PatchKind::Strategic, patch)
            }
            Action::Conditions(conditions) => {
                let patch = json!({ "metadata": { "uid": uid }, "status": { "conditions": conditions } });
                ("status", PatchKind::Merge, patch)
            }
        };
        self.client.patch(&resources::SERVICE_CIDRS, ("", name, part), kind, &patch).await.map(drop)
    }
}
