//! Deletes bootstrap tokens whose time is over.

use std::sync::Arc;

use jiff::Timestamp;
use runtime::{Cache, Client, DeleteOptions, Key, Next, Queue, Reconcile, View as _, failure};

use super::secret::{Expiry, NAMESPACE, TokenSecret};
use crate::{House, resources};

struct Cleaner {
    client: Client,
    secrets: Cache<TokenSecret>,
}

pub(super) fn start(house: &mut House<'_>, secrets: &Cache<TokenSecret>) {
    let queue = Queue::<Key>::new();
    let changed = queue.clone();
    secrets.on_change(move |change| {
        if let Some(secret) = change.new.filter(|secret| secret.metadata.namespace == NAMESPACE) {
            changed.add(secret.metadata().key());
        }
    });
    let controller = Arc::new(Cleaner { client: house.client("token-cleaner"), secrets: secrets.clone() });
    let secrets = secrets.clone();
    house.work(controller, queue, 1, async move { secrets.synced().await });
}

impl Reconcile for Cleaner {
    type Key = Key;

    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(secret) = self.secrets.get(key) else { return Ok(Next::Change) };
        match secret.expiry(Timestamp::now()) {
            Expiry::Never => Ok(Next::Change),
            Expiry::In(left) => Ok(Next::After(left)),
            Expiry::Past => {
                let options = DeleteOptions::of(&secret.metadata.uid);
                let deleted =
                    self.client.delete(&resources::SECRETS, &key.namespace, &key.name, &options).await;
                match deleted {
                    Err(error) if !failure::is_overtaken(&error) && !failure::is_not_found(&error) => {
                        Err(error)
                    }
                    _ => Ok(Next::Change),
                }
            }
        }
    }
}
