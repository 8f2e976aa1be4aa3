//! The keys of another issuer (OpenID Connect): found by its discovery document, kept, and fetched again
//! when they do not know a signature. Whether a token is good is decided in the access crate.

use crate::remote::{Https, HttpsError};
use access::UserInfo;
use access::authn::configuration::JwtConfiguration;
use access::authn::jwt::{JwtAuthenticator, JwtError, KeySet};
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Between two tries to reach an issuer for the first time, as upstream.
const RETRY: Duration = Duration::from_secs(10);
/// Keys are fetched no more often, whatever tokens come in.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("{url} answers {status}")]
    Status { url: String, status: http::StatusCode },
    #[error("{url} answers no such document: {why}")]
    Document { url: String, why: String },
    #[error("oidc: issuer did not match the issuer returned by provider, expected {expected:?} got {got:?}")]
    OtherIssuer { expected: String, got: String },
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// One issuer.
pub(crate) struct Issuer {
    authenticator: JwtAuthenticator,
    https: Https,
    keys: ArcSwapOption<KeySet>,
    /// Where its keys are, and when they were last fetched. One fetch at a time.
    source: Mutex<Option<Source>>,
}

struct Source {
    url: String,
    fetched: Instant,
}

impl Issuer {
    /// By a configuration that was checked.
    pub(crate) fn new(configuration: JwtConfiguration) -> Result<Self, HttpsError> {
        let https = Https::new(&configuration.issuer.certificate_authority, None)?;
        let authenticator = JwtAuthenticator::new(configuration);
        Ok(Self { authenticator, https, keys: ArcSwapOption::empty(), source: Mutex::new(None) })
    }

    /// Tries until the issuer's keys are there.
    pub(crate) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        while let Err(error) = self.discover().await {
            let issuer = &self.authenticator.configuration().issuer.url;
            tracing::warn!(%issuer, %error, "the issuer's keys cannot be fetched; trying again");
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Whether the token says it is this issuer's.
    pub(crate) fn is_named_by(&self, token: &str) -> bool {
        self.authenticator.is_named_by(token)
    }

    /// The user of a token of this issuer.
    pub(crate) async fn user(&self, token: &str, now: Timestamp) -> Result<UserInfo, JwtError> {
        let keys = self.keys.load_full().ok_or(JwtError::NotInitialized)?;
        match self.authenticator.user(token, &keys, now) {
            Err(JwtError::Signature) => {
                let fresh = self.refetch(&keys).await.ok_or(JwtError::Signature)?;
                self.authenticator.user(token, &fresh, now)
            }
            outcome => outcome,
        }
    }

    async fn discover(&self) -> Result<(), FetchError> {
        let issuer = &self.authenticator.configuration().issuer;
        let elsewhere = issuer.discovery_url.clone().filter(|url| !url.is_empty());
        let url = elsewhere.unwrap_or_else(|| format!("{}{WELL_KNOWN}", issuer.url.trim_end_matches('/')));
        let bytes = self.read(&url).await?;
        let found: Discovery = serde_json::from_slice(&bytes)
            .map_err(|error| FetchError::Document { url, why: error.to_string() })?;
        if found.issuer != issuer.url {
            return Err(FetchError::OtherIssuer { expected: issuer.url.clone(), got: found.issuer });
        }
        let mut source = self.source.lock().await;
        self.fetch(&found.jwks_uri).await?;
        *source = Some(Source { url: found.jwks_uri, fetched: Instant::now() });
        Ok(())
    }

    /// Newer keys than `known`, if there are any to be had now.
    async fn refetch(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let mut source = self.source.lock().await;
        // Somebody else fetched them while this one waited.
        let newer = self.keys.load_full().filter(|keys| !Arc::ptr_eq(keys, known));
        let source = source.as_mut().filter(|_| newer.is_none());
        let Some(source) = source.filter(|source| source.fetched.elapsed() >= REFRESH_MIN) else {
            return newer;
        };
        source.fetched = Instant::now();
        match self.fetch(&source.url).await {
            Ok(keys) => Some(keys),
            Err(error) => {
                tracing::warn!(%error, "an issuer's keys cannot be fetched again");
                None
            }
        }
    }

    async fn fetch(&self, url: &str) -> Result<Arc<KeySet>, FetchError> {
        let bytes = self.read(url).await?;
        let keys = KeySet::parse(&bytes).map_err(|why| FetchError::Document { url: url.to_owned(), why })?;
        let keys = Arc::new(keys);
        self.keys.store(Some(keys.clone()));
        Ok(keys)
    }

    async fn read(&self, url: &str) -> Result<bytes::Bytes, FetchError> {
        let answer = self.https.get(url).await?;
        if answer.status != http::StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: answer.status });
        }
        Ok(answer.body)
    }
}
