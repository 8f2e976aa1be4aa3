//! Controllers and scheduler run on the member that leads, and only in the term it leads in.

use std::sync::Arc;

use access::UserInfo;
use access::pki::Authority;
use apiserver::ApiServer;
use raft_store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::certificates::{Signer, TokenSigner};
use super::client;

/// What they sign with.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) authority: Arc<Authority>,
    pub(super) tokens: access::tokens::Signer,
}

/// Starts and stops them as leadership comes and goes, until `stop`.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    api: &ApiServer,
    store: &Store,
    keys: &Keys,
    stop: &CancellationToken,
) {
    let (api, store, stop, keys) = (api.clone(), store.clone(), stop.clone(), keys.clone());
    tasks.spawn(async move {
        let mut leadership = store.leadership();
        loop {
            let term = *leadership.borrow_and_update();
            let until = stop.child_token();
            let running =
                term.map(|term| tokio::spawn(lead(api.clone(), term.0, keys.clone(), until.clone())));
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                changed = leadership.changed() => changed.is_err(),
            };
            until.cancel();
            if let Some(running) = running {
                // A panic in a controller was logged where it happened; the next term starts afresh.
                let _ = running.await;
            }
            if stopped {
                return;
            }
        }
    });
}

async fn lead(api: ApiServer, term: u64, keys: Keys, until: CancellationToken) {
    let manager = {
        let api = api.clone();
        move |name: &str| client::local(&api, identity(name), "kube-controller-manager", Some(term))
    };
    let scheduler = {
        let api = api.clone();
        move |name: &str| client::local(&api, identity(name), "kube-scheduler", Some(term))
    };
    let mut options = controllers::Options::new(keys.authority.certificate_pem());
    options.certificates = Some(Arc::new(Signer(keys.authority)));
    options.tokens = Some(Arc::new(TokenSigner(keys.tokens)));
    let controllers = controllers::run(manager, options, until.clone());
    let scheduling = controllers::scheduler::run(scheduler, term, until);
    tokio::join!(controllers, scheduling);
}

/// The identity of a component or of one of upstream's controller service accounts.
fn identity(name: &str) -> UserInfo {
    match name.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => UserInfo::service_account(namespace, name, ""),
        None => UserInfo::authenticated(name, &[]),
    }
}
