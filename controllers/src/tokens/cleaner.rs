//! Once a day: tokens that were made for accounts without being asked for, and that nobody has used for a year, are marked,
//! and a year later deleted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runtime::client::{List, PatchKind};
use runtime::{Client, DeleteOptions, Key, View as _, failure};
use serde_json::{Value, json};

use super::Kept;
use super::plan::{self, Fate};
use crate::views::ConfigMap;
use crate::{House, resources};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How long a token may be unused.
const UNUSED_MAX: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The ConfigMap that tells since when uses are noted.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

struct Cleaner {
    client: Client,
    /// May read everything.
    reader: Client,
    kept: Kept,
}

pub(super) fn start(house: &mut House<'_>, kept: &Kept) {
    let client = house.client("legacy-service-account-token-cleaner");
    let cleaner = Cleaner { client, reader: house.reader.clone(), kept: kept.clone() };
    let cancel = house.cancel.clone();
    house.tasks.spawn(async move {
        cancel.run_until_cancelled(cleaner.run()).await;
    });
}

impl Cleaner {
    async fn run(self) {
        self.kept.synced().await;
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look(Timestamp::now()).await {
                tracing::warn!(%error, "unused tokens of service accounts cannot be looked for");
            }
        }
    }

    async fn look(&self, now: Timestamp) -> Result<(), kube::Error> {
        let tracking: ConfigMap = self.client.get(&resources::CONFIG_MAPS, "kube-system", TRACKING).await?;
        let since = tracking.data.get("since").and_then(|day| plan::tracked_since(day));
        // Before a year is over nobody knows what is unused.
        if since.is_none_or(|since| now < since + UNUSED_MAX) {
            return Ok(());
        }
        for secret in self.kept.secrets.all() {
            let metadata = secret.metadata();
            let account = self.kept.accounts.get(&Key::new(metadata.namespace.clone(), secret.account()));
            let account = account.as_ref().map(|account| &***account);
            // Pods are looked through only for those that would go otherwise.
            let mut fate = plan::fate(&secret, account, false, now, UNUSED_MAX);
            if fate != Fate::Stays && self.is_mounted(&metadata.namespace, &metadata.name).await? {
                fate = Fate::Stays;
            }
            match fate {
                Fate::Stays => {}
                Fate::Invalid(day) => {
                    let label =
                        json!({"metadata": {"uid": metadata.uid, "labels": {plan::INVALID_SINCE: day}}});
                    let place = (metadata.namespace.as_str(), metadata.name.as_str(), "");
                    settle(self.client.patch(&resources::SECRETS, place, PatchKind::Merge, &label).await)?;
                }
                Fate::Goes => {
                    let mut options = DeleteOptions::of(&metadata.uid);
                    if let Some(preconditions) = &mut options.preconditions {
                        preconditions.resource_version = Some(metadata.resource_version.clone());
                    }
                    let (namespace, name) = (&metadata.namespace, &metadata.name);
                    settle(self.client.delete(&resources::SECRETS, namespace, name, &options).await)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a pod of the namespace uses the Secret.
    async fn is_mounted(&self, namespace: &str, secret: &str) -> Result<bool, kube::Error> {
        let pods: List<Value> = self.reader.list(&resources::PODS, namespace, &[]).await?;
        let pods = pods.items.unwrap_or_default();
        Ok(pods.iter().any(|pod| plan::names_secret(&pod["spec"], secret)))
    }
}

/// Whoever changed or deleted it meanwhile knows better.
fn settle<T>(answer: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(error) if !failure::is_conflict(&error) && !failure::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
