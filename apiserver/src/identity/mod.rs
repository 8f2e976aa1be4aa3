//! Who a request comes from and whom it acts for. Decides identity only; the
//! rules are in the access crate. What others must be asked for, keys of
//! issuers and reviews of tokens, is fetched here.

mod issuer;
mod kept;
mod remotes;
mod webhook;

pub(crate) use kept::note_use;
pub use remotes::{Remotes, RemotesError, TokenWebhook};

use crate::context::{Context, Warnings};
use crate::objects::Objects;
use crate::permissions::Snapshot;
use crate::server::Inner;
use crate::status::{ApiError, ApiResult};
use access::UserInfo;
use access::authn::{self, Anonymous, Bearer, Credentials, Identified, Unauthorized, impersonation};
use access::rbac::Attributes;
use access::tokens::{DEFAULT_ISSUER, Signer, Verifier, VerifyError};
use http::HeaderMap;
use jiff::Timestamp;
use remotes::Question;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Who is known to ask before a header is read.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Over TLS without a certificate that names somebody: the headers tell.
    Unknown,
    /// Over TLS with a certificate that cannot be read.
    Unreadable,
    /// By certificate, or in memory.
    Known(Arc<UserInfo>),
}

impl Caller {
    /// Who a verified certificate (DER) names.
    pub(crate) fn of_certificate(der: Option<&[u8]>) -> Self {
        match der.map(authn::user_of_certificate) {
            None => Self::Unknown,
            Some(None) => Self::Unreadable,
            Some(Some(user)) if user.name.is_empty() => Self::Unknown,
            Some(Some(user)) => Self::Known(Arc::new(user)),
        }
    }
}

/// Turns credentials into users.
pub(crate) struct Identities {
    authenticator: authn::Authenticator,
    impersonation: impersonation::Impersonation,
    remotes: Remotes,
}

impl Identities {
    pub(crate) fn new(signer: Signer, anonymous: Anonymous, remotes: Remotes) -> Self {
        let verifier = Verifier::new(signer, DEFAULT_ISSUER, &[DEFAULT_ISSUER.to_owned()]);
        Self {
            authenticator: authn::Authenticator::new(verifier, anonymous),
            impersonation: impersonation::Impersonation::default(),
            remotes,
        }
    }

    /// Begins to fetch the keys of other issuers.
    pub(crate) fn start(&self, stopping: &CancellationToken) {
        self.remotes.start(stopping);
    }

    /// Whom a token names, or what everybody who was asked says against it.
    pub(crate) async fn identify(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        objects: &Objects<'_>,
    ) -> Result<Identified, Vec<String>> {
        match self.authenticator.identify(token, audiences, now, objects) {
            Ok(identified) => Ok(identified),
            Err(error) => {
                let others = self.ask_remotes(token, audiences, now).await;
                others.map_err(|errors| [error.to_string()].into_iter().chain(errors).collect())
            }
        }
    }

    /// For a token that is none of ours.
    async fn ask_remotes(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Identified, Vec<String>> {
        let question = Question {
            token,
            wanted: audiences,
            own: &self.authenticator.agnostic(&[]),
            common: &self.authenticator.agnostic(audiences),
        };
        self.remotes.identify(question, now).await
    }
}

/// The user of a request before impersonation.
pub(crate) async fn authenticate(
    server: &Arc<Inner>,
    caller: &Caller,
    headers: &HeaderMap,
    path: &str,
    warnings: &Warnings,
) -> ApiResult<Arc<UserInfo>> {
    match caller {
        Caller::Known(user) => return Ok(user.clone()),
        Caller::Unreadable => return Err(ApiError::Unauthorized),
        Caller::Unknown => {}
    }
    let now = crate::clock::now(&server.seams);
    let identities = &server.identities;
    let identified = {
        let view = server.store.view();
        let objects = Objects { codec: &server.codec, view: &view };
        let credentials = Credentials { certificate: None, headers, path };
        identities.authenticator.authenticate(credentials, now, &objects)
    };
    let refused = match identified {
        Ok(identified) => {
            if let Some(used) = &identified.kept {
                // Boxed, so that what few need is not part of every request's future.
                Box::pin(kept::note_use(server, used, warnings)).await;
            }
            return Ok(identified.user);
        }
        Err(refused) => refused,
    };
    if let Unauthorized::Token(VerifyError::MarkedInvalid { kept: used, .. }) = &refused {
        Box::pin(kept::note_day(server, used)).await;
        return Err(ApiError::Unauthorized);
    }
    match (refused, authn::bearer(headers)) {
        (Unauthorized::Token(_), Ok(Bearer::Token(token))) if !identities.remotes.is_empty() => {
            // Boxed, so that what a rare path needs is not part of every request's future.
            let identified = Box::pin(identities.ask_remotes(&token, &[], now)).await;
            identified.map(|identified| identified.user).map_err(|_| ApiError::Unauthorized)
        }
        _ => Err(ApiError::Unauthorized),
    }
}

/// The user the request acts for.
pub(crate) fn impersonate(
    context: &Context,
    wanted: &UserInfo,
    snapshot: &Snapshot,
    request: &Attributes,
) -> ApiResult<UserInfo> {
    let impersonation = &context.server.identities.impersonation;
    Ok(impersonation.impersonate(&snapshot.authorizer(), &context.user, wanted, request)?)
}

/// Whom the headers ask to act for.
pub(crate) fn wanted(headers: &HeaderMap) -> ApiResult<Option<UserInfo>> {
    impersonation::wanted(headers).map_err(|missing| ApiError::BadRequest(missing.to_string()))
}
