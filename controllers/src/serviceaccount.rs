//! Keeps a service account `default` in every active namespace.

use std::sync::Arc;

use runtime::{Cache, Client, Key, Next, Queue, Reconcile, Source, View as _, failure};
use serde_json::json;

use crate::views::{Named, Namespace};
use crate::{House, resources};

const NAME: &str = "default";

struct ServiceAccounts {
    client: Client,
    namespaces: Cache<Namespace>,
    accounts: Cache<Named>,
}

pub(crate) fn start(house: &mut House<'_>, namespaces: &Cache<Namespace>) {
    let queue = Queue::<Key>::new();
    let accounts = Cache::<Named>::new();
    let added = queue.clone();
    namespaces.on_change(move |change| {
        if let Some(namespace) = change.new {
            added.add(namespace.metadata().key());
        }
    });
    let lost = queue.clone();
    accounts.on_change(move |change| {
        if change.new.is_none() {
            lost.add(Key::new("", change.latest().metadata.namespace.clone()));
        }
    });
    house.follow(&accounts, Source::selected(&resources::SERVICE_ACCOUNTS, "metadata.name=default"));
    let controller = Arc::new(ServiceAccounts {
        client: house.client("service-account-controller"),
        namespaces: namespaces.clone(),
        accounts: accounts.clone(),
    });
    let namespaces = namespaces.clone();
    house.work(controller, queue, 1, async move {
        namespaces.synced().await;
        accounts.synced().await;
    });
}

impl Reconcile for ServiceAccounts {
    type Key = Key;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let active = self.namespaces.get(key).is_some_and(|namespace| namespace.active());
        let there = self.accounts.get(&Key::new(key.name.clone(), NAME)).is_some();
        if !active || there {
            return Ok(Next::Change);
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        match self.client.create(&resources::SERVICE_ACCOUNTS, (&key.name, "", ""), &account).await {
            Err(error) if !failure::is_overtaken(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }
}
