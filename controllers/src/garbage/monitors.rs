//! Follows the metadata of every served resource and feeds the graph.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use runtime::{Cache, Client, Resource, Source};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Known;
use super::graph::{Item, Of};
use crate::catalog::Catalog;
use crate::namespace::Emptied;
use crate::quota::Freed;
use crate::views::Ownership;

/// Kinds whose objects make the server serve other kinds.
const DEFINITIONS: [&str; 2] = ["customresourcedefinitions", "apiservices"];
/// A new definition is served a moment after it appears; many at once are one look.
const SETTLE: Duration = Duration::from_secs(1);
/// Discovery that fails is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// Collection starts after this long even if a resource cannot be listed.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// Who is told of changes.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) known: Known,
    pub(super) emptied: Emptied,
    pub(super) freed: Freed,
}

/// The followed resources.
pub(super) struct Monitors {
    reader: Client,
    discovery: Client,
    told: Told,
    catalog: RwLock<Catalog>,
    followed: Mutex<BTreeMap<Resource, (Cache<Ownership>, CancellationToken)>>,
    stale: Arc<Notify>,
    ready: watch::Sender<bool>,
    cancel: CancellationToken,
}

impl Monitors {
    pub(super) fn new(
        reader: Client,
        discovery: Client,
        told: Told,
        cancel: CancellationToken,
    ) -> Arc<Monitors> {
        Arc::new(Monitors {
            reader,
            discovery,
            told,
            catalog: RwLock::default(),
            followed: Mutex::default(),
            stale: Arc::default(),
            ready: watch::Sender::new(false),
            cancel,
        })
    }

    /// Reads discovery now and whenever it may have changed, until cancelled.
    pub(super) async fn run(self: Arc<Self>) {
        let cancel = self.cancel.clone();
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.keep_up() => {}
        }
    }

    async fn keep_up(&self) {
        loop {
            match Catalog::read(&self.discovery).await {
                Ok(catalog) => {
                    self.adopt(catalog);
                    self.ready.send_replace(true);
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read discovery");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            self.stale.notified().await;
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Waits until every followed resource was listed once.
    pub(super) async fn synced(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|ready| *ready).await;
        let caches: Vec<Cache<Ownership>> = self.lock().values().map(|(cache, _)| cache.clone()).collect();
        let all = async {
            for cache in caches {
                cache.synced().await;
            }
        };
        if tokio::time::timeout(SYNC_PATIENCE, all).await.is_err() {
            tracing::warn!("collecting garbage although some resources could not be listed");
        }
    }

    /// Asks for a look at discovery.
    pub(super) fn refresh(&self) {
        self.stale.notify_one();
    }

    /// The resource of a kind.
    pub(super) fn find(&self, api_version: &str, kind: &str) -> Option<Resource> {
        self.catalog.read().expect("no writer panics").find(api_version, kind).cloned()
    }

    /// Whether objects of this resource are in the graph.
    pub(super) fn follows(&self, resource: &Resource) -> bool {
        self.lock()
            .keys()
            .any(|followed| followed.group == resource.group && followed.plural == resource.plural)
    }

    fn adopt(&self, catalog: Catalog) {
        let wanted: Vec<Resource> = catalog
            .served
            .iter()
            .filter(|served| {
                served.preferred && ["delete", "list", "watch"].iter().all(|verb| served.can(verb))
            })
            // Events are too many, own nothing and go by themselves.
            .filter(|served| served.resource.plural != "events")
            .map(|served| served.resource.clone())
            .collect();
        let unreadable: Vec<String> =
            catalog.failed.iter().map(|(group_version, _)| group_version.clone()).collect();
        *self.catalog.write().expect("no reader panics") = catalog;
        let mut followed = self.lock();
        followed.retain(|resource, (_, cancel)| {
            // A group that does not answer may be back soon: what is known of it stays.
            let keep = wanted.contains(resource) || unreadable.contains(&resource.api_version());
            if !keep {
                cancel.cancel();
            }
            keep
        });
        for resource in wanted {
            followed.entry(resource.clone()).or_insert_with(|| self.follow(resource));
        }
    }

    fn follow(&self, resource: Resource) -> (Cache<Ownership>, CancellationToken) {
        let cache = Cache::<Ownership>::new();
        let (told, stale) = (self.told.clone(), Arc::clone(&self.stale));
        let (group, plural) = (resource.group.to_string(), resource.plural.to_string());
        // What these use can change while they stay.
        let varies = group.is_empty() && ["services", "persistentvolumeclaims"].contains(&plural.as_str());
        let of = Arc::new(Of { api_version: resource.api_version(), kind: resource.kind.to_string() });
        let defines = DEFINITIONS.contains(&&*resource.plural);
        cache.on_change(move |change| {
            // A name that changed hands between two lists was deleted in between.
            let replaced =
                change.old.filter(|old| change.new.is_none_or(|new| new.metadata.uid != old.metadata.uid));
            if let Some(old) = replaced {
                told.known.gone(&old.metadata.uid);
                told.emptied.object_gone(&old.metadata.namespace);
            }
            if let Some(old) = change.old.filter(|_| varies || replaced.is_some()) {
                told.freed.less(&group, &plural, &old.metadata.namespace);
            }
            if let Some(new) = change.new {
                told.known.observe(Item::new(&of, new));
            }
            if defines {
                stale.notify_one();
            }
        });
        let cancel = self.cancel.child_token();
        tokio::spawn(cache.clone().follow(self.reader.clone(), Source::metadata(&resource), cancel.clone()));
        (cache, cancel)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Resource, (Cache<Ownership>, CancellationToken)>> {
        self.followed.lock().expect("no holder panics")
    }
}
