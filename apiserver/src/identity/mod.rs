//! Who a request comes from and whom it acts for. Decides identity only; the
//! rules are in the access crate.

use crate::context::Context;
use crate::objects::Objects;
use crate::permissions::Snapshot;
use crate::server::Inner;
use crate::status::{ApiError, ApiResult};
use access::UserInfo;
use access::authn::{self, Credentials, impersonation};
use access::rbac::Attributes;
use access::tokens::{DEFAULT_ISSUER, Signer, Verifier};
use http::HeaderMap;
use std::sync::Arc;

/// Where a request came in; put into its extensions by the transport.
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
}

impl Identities {
    pub(crate) fn new(signer: Signer) -> Self {
        let verifier = Verifier::new(signer, DEFAULT_ISSUER, &[DEFAULT_ISSUER.to_owned()]);
        Self {
            authenticator: authn::Authenticator::new(verifier),
            impersonation: impersonation::Impersonation::default(),
        }
    }

    /// The authenticator, for reviews of tokens.
    pub(crate) fn authenticator(&self) -> &authn::Authenticator {
        &self.authenticator
    }
}

/// The user of a request before impersonation.
pub(crate) fn authenticate(server: &Inner, caller: &Caller, headers: &HeaderMap) -> ApiResult<UserInfo> {
    match caller {
        Caller::Known(user) => return Ok(UserInfo::clone(user)),
        Caller::Unreadable => return Err(ApiError::Unauthorized),
        Caller::Unknown => {}
    }
    let view = server.store.view();
    let objects = Objects { codec: &server.codec, view: &view };
    let now = crate::clock::now(&server.seams);
    let credentials = Credentials { certificate: None, headers };
    server
        .identities
        .authenticator
        .authenticate(credentials, now, &objects)
        .map_err(|_| ApiError::Unauthorized)
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
