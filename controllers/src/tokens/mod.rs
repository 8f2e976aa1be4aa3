//! Tokens of service accounts that are kept in Secrets: filled in when somebody makes such a Secret, deleted with their
//! account, and given up when nobody has used them for long ([`cleaner`]).
//!
//! The key that signs is not here: [`Tokens`] is given from outside.

mod cleaner;
mod plan;

use std::fmt;
use std::sync::Arc;

use runtime::{Cache, Client, DeleteOptions, Key, Next, Queue, Reconcile, Source, View, failure};

use self::plan::{Account, Action, Secret};
use crate::views::Whole;
use crate::{House, resources};

/// Signs the tokens.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// The token of an account that is kept in a Secret; `None` while there is no key.
    fn token(&self, namespace: &str, account: (&str, &str), secret: &str) -> Option<String>;
}

const WORKERS: usize = 5;

/// What the two share.
#[derive(Clone, Default)]
struct Kept {
    secrets: Cache<Whole<Secret>>,
    accounts: Cache<Whole<Account>>,
}

impl Kept {
    async fn synced(&self) {
        self.secrets.synced().await;
        self.accounts.synced().await;
    }
}

struct Controller {
    client: Client,
    kept: Kept,
    signer: Arc<dyn Tokens>,
    root_ca: String,
}

pub(crate) fn start(house: &mut House<'_>, signer: Arc<dyn Tokens>, root_ca: String) {
    let (queue, kept) = (Queue::<Key>::new(), Kept::default());
    let changed = queue.clone();
    kept.secrets.on_change(move |change| changed.add(change.latest().metadata().key()));
    let (touched, secrets) = (queue.clone(), kept.secrets.clone());
    kept.accounts.on_change(move |change| {
        let metadata = change.latest().metadata();
        let of_account = secrets.in_namespace(&metadata.namespace).into_iter();
        let theirs = of_account.filter(|secret| secret.account() == metadata.name);
        theirs.for_each(|secret| touched.add(secret.metadata().key()));
    });
    cleaner::start(house, &kept);
    let controller =
        Arc::new(Controller { client: house.reader.clone(), kept: kept.clone(), signer, root_ca });
    let ready = kept.clone();
    house.work(controller, queue, WORKERS, async move { ready.synced().await });
    let selector = format!("type={}", plan::TYPE);
    house.follow(&kept.secrets, Source::selected(&resources::SECRETS, &selector));
    house.follow(&kept.accounts, Source::all(&resources::SERVICE_ACCOUNTS));
}

impl Reconcile for Controller {
    type Key = Key;

    fn name(&self) -> &'static str {
        "serviceaccount-token"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(secret) = self.kept.secrets.get(key) else { return Ok(Next::Change) };
        let account = self.kept.accounts.get(&Key::new(key.namespace.clone(), secret.account()));
        match plan::plan(&secret, account.as_deref(), &self.root_ca) {
            Action::Nothing => Ok(Next::Change),
            Action::Look => self.look(&secret).await,
            Action::Fill => self.fill(&secret, account.as_deref()).await,
        }
    }
}

impl Controller {
    /// The cache may be behind: a Secret goes only when the server says that its account is not there.
    async fn look(&self, secret: &Whole<Secret>) -> Result<Next, kube::Error> {
        let metadata = secret.metadata();
        let read: Result<Whole<Account>, _> =
            self.client.get(&resources::SERVICE_ACCOUNTS, &metadata.namespace, secret.account()).await;
        match read {
            Ok(account) if secret.is_of(&account) => self.fill(secret, Some(&account)).await,
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => {
                let options = DeleteOptions::of(&metadata.uid);
                let deleted = self
                    .client
                    .delete(&resources::SECRETS, &metadata.namespace, &metadata.name, &options)
                    .await;
                settled(deleted)
            }
        }
    }

    async fn fill(
        &self,
        secret: &Whole<Secret>,
        account: Option<&Whole<Account>>,
    ) -> Result<Next, kube::Error> {
        let Some(account) = account else { return Ok(Next::Change) };
        let metadata = secret.metadata();
        let named = (account.metadata().name.as_str(), account.metadata().uid.as_str());
        let token = || self.signer.token(&metadata.namespace, named, &metadata.name);
        let Some(filled) = plan::filled(secret, account, &self.root_ca, token) else {
            return Ok(Next::Retry);
        };
        let place = (metadata.namespace.as_str(), metadata.name.as_str(), "");
        settled(self.client.update(&resources::SECRETS, place, &filled).await)
    }
}

/// Somebody else was faster: his change brings us here again.
fn settled<T>(answer: Result<T, kube::Error>) -> Result<Next, kube::Error> {
    match answer {
        Err(error)
            if !failure::is_overtaken(&error)
                && !failure::is_not_found(&error)
                && !failure::is_conflict(&error) =>
        {
            Err(error)
        }
        _ => Ok(Next::Change),
    }
}
