//! API objects that pods refer to.
//!
//! ConfigMaps and Secrets are read when they are needed; Services are watched, because every container's
//! environment names them; tokens are kept until four fifths of their life are over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use tokio_util::sync::CancellationToken;

/// A token is renewed after a day at the latest.
const TOKEN_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenKey {
    /// The namespace of pod and service account.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod that it is bound to.
    pub pod_name: String,
    /// That pod's uid.
    pub pod_uid: String,
    /// Whom it shall convince; empty for the API server.
    pub audience: String,
    /// How long it shall live.
    pub expiration_seconds: i64,
}

#[derive(Debug, Clone)]
struct Token {
    token: String,
    refresh_at: Timestamp,
    expires_at: Timestamp,
}

/// Reads what pods refer to.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    services: reflector::Store<Service>,
    tokens: Arc<Mutex<BTreeMap<TokenKey, Token>>>,
}

impl Objects {
    /// Starts to watch services until `shutdown`.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        let (services, writer) = reflector::store();
        let watch = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
        let stream = watch.default_backoff().reflect(writer);
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream.take_until(shutdown.cancelled_owned()));
            while let Some(event) = stream.next().await {
                if let Err(error) = event {
                    tracing::debug!(%error, "services cannot be watched");
                }
            }
        });
        Objects { client, services, tokens: Arc::default() }
    }

    /// The API client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All services, once the first list is in.
    pub async fn services(&self) -> Vec<Service> {
        // A store whose writer is gone means that the agent is stopping.
        let _ = self.services.wait_until_ready().await;
        self.services.state().iter().map(|service| Service::clone(service)).collect()
    }

    /// One ConfigMap, if it exists.
    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, kube::Error> {
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    /// One Secret, if it exists.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    /// A token for a pod: the one at hand, or a new one when that is old.
    pub async fn token(&self, key: TokenKey, now: Timestamp) -> Result<String, kube::Error> {
        let known = self.tokens.lock().expect("no panic while held").get(&key).cloned();
        if let Some(token) = known.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.token.clone());
        }
        match self.request(&key, now).await {
            Ok(token) => {
                let text = token.token.clone();
                self.tokens.lock().expect("no panic while held").insert(key, token);
                Ok(text)
            }
            // It still serves; the next look tries again.
            Err(error) => match known.filter(|token| now < token.expires_at) {
                Some(token) => {
                    tracing::warn!(%error, pod = key.pod_name, "token cannot be renewed yet");
                    Ok(token.token)
                }
                None => Err(error),
            },
        }
    }

    async fn request(&self, key: &TokenKey, now: Timestamp) -> Result<Token, kube::Error> {
        let audiences = Some(key.audience.clone()).filter(|audience| !audience.is_empty());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences.into_iter().collect()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(key.pod_name.clone()),
                    uid: Some(key.pod_uid.clone()),
                }),
                expiration_seconds: Some(key.expiration_seconds),
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &key.namespace);
        let answer = api.create_token_request(&key.service_account, &PostParams::default(), &request).await?;
        let status = answer.status.unwrap_or_default();
        let asked = SignedDuration::from_secs(key.expiration_seconds);
        let expires_at = status.expiration_timestamp.map_or(now + asked, |time| time.0);
        let life = expires_at.duration_since(now);
        let refresh_at = now + (life * 4 / 5).min(TOKEN_AGE_MAX);
        Ok(Token { token: status.token.unwrap_or_default(), refresh_at, expires_at })
    }

    /// When the first of a pod's tokens is due.
    pub fn token_refresh_at(&self, pod_uid: &str) -> Option<Timestamp> {
        let tokens = self.tokens.lock().expect("no panic while held");
        tokens.iter().filter(|(key, _)| key.pod_uid == pod_uid).map(|(_, token)| token.refresh_at).min()
    }

    /// Forgets a pod's tokens.
    pub fn forget(&self, pod_uid: &str) {
        self.tokens.lock().expect("no panic while held").retain(|key, _| key.pod_uid != pod_uid);
    }
}
