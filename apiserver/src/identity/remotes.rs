//! Those who know tokens that are none of ours: a file, issuers by their keys, a webhook by being asked.

use super::issuer::Issuer;
use super::webhook::Webhook;
use crate::files::FileError;
use crate::remote::{self, HttpsError};
use access::authn::configuration::JwtConfiguration;
use access::authn::{Identified, TokenFile};
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// They cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum RemotesError {
    /// The webhook's file.
    #[error(transparent)]
    Webhook(#[from] FileError),
    /// An issuer's authorities.
    #[error("jwt[{at}].issuer.certificateAuthority: Invalid value: \"<omitted>\": {why}")]
    Authority {
        /// Which issuer, from 0.
        at: usize,
        /// Why.
        why: String,
    },
}

/// A webhook that reviews tokens.
#[derive(Clone, Debug)]
pub struct TokenWebhook {
    /// The kubeconfig that tells where it is.
    pub kubeconfig: PathBuf,
    /// Version of `authentication.k8s.io` it is asked in.
    pub version: String,
    /// How long its answers hold.
    pub cache_ttl: Duration,
}

/// All of them, in the order in which they are asked. None by default.
#[derive(Default)]
pub struct Remotes {
    file: TokenFile,
    issuers: Vec<Arc<Issuer>>,
    webhook: Option<Webhook>,
}

/// A token, and the audiences it should be for.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) token: &'a str,
    /// Those asked for; empty for the API server's own.
    pub(super) wanted: &'a [String],
    /// The API server's own.
    pub(super) own: &'a [String],
    /// Its own among those asked for: what a token is for that names none.
    pub(super) common: &'a [String],
}

impl Remotes {
    /// By configurations that were checked.
    pub fn new(issuers: &[JwtConfiguration], webhook: Option<&TokenWebhook>) -> Result<Self, RemotesError> {
        let authority = |at, error: HttpsError| RemotesError::Authority { at, why: error.to_string() };
        let issuers = issuers
            .iter()
            .enumerate()
            .map(|(at, jwt)| Issuer::new(jwt.clone()).map(Arc::new).map_err(|error| authority(at, error)));
        let webhook = webhook.map(|webhook| {
            let remote = remote::read(&webhook.kubeconfig)?;
            Ok::<_, RemotesError>(Webhook::new(remote, &webhook.version, webhook.cache_ttl))
        });
        Ok(Self {
            file: TokenFile::default(),
            issuers: issuers.collect::<Result<_, _>>()?,
            webhook: webhook.transpose()?,
        })
    }

    /// The same, and a file of tokens that is looked into first.
    #[must_use]
    pub fn with_file(self, file: TokenFile) -> Self {
        Self { file, ..self }
    }

    pub(super) fn start(&self, stopping: &CancellationToken) {
        for issuer in &self.issuers {
            tokio::spawn(issuer.clone().run(stopping.clone()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.file.is_empty() && self.issuers.is_empty() && self.webhook.is_none()
    }

    /// Whom a token names, or what those who were asked say against it.
    pub(super) async fn identify(
        &self,
        question: Question<'_>,
        now: Timestamp,
    ) -> Result<Identified, Vec<String>> {
        let Question { token, wanted, own, common } = question;
        if let Some(user) = self.file.user(token).filter(|_| !common.is_empty()) {
            return Ok(Identified { user: Arc::new(user.clone()), audiences: common.to_vec(), kept: None });
        }
        let mut errors = Vec::new();
        let named = self.issuers.iter().filter(|issuer| !common.is_empty() && issuer.is_named_by(token));
        for issuer in named {
            match issuer.user(token, now).await {
                Ok(user) => {
                    return Ok(Identified { user: Arc::new(user), audiences: common.to_vec(), kept: None });
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if let Some(webhook) = &self.webhook {
            let wanted = if wanted.is_empty() { own } else { wanted };
            match webhook.identify(token, wanted, own).await {
                Ok(identified) => return Ok(identified),
                Err(why) => errors.extend(why),
            }
        }
        Err(errors)
    }
}
