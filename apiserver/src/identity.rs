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
    /// Over TLS, with the client's certificate (DER) if it sent a valid one.
    Remote(Option<Arc<[u8]>>),
    /// In memory.
    Local(Arc<UserInfo>),
}

/// Turns credentials into users.
pub(crate) struct Identities {
    authenticator: authn::Authenticator,
    impersonation: impersonation::Impersonation,
}

impl Identities {
    pub(crate) fn new(signer: Signer) -> Self {
        let verifier = Verifier::new(signer, DEFAULT_ISSUER, &[DEFAULT_ISSUER.to_owned()]);
        Self { authenticator: authn::Authenticator::new(verifier), impersonation: impersonation::Impersonation::default() }
    }

    /// The authenticator, for reviews of tokens.
    pub(crate) fn authenticator(&self) -> &authn::Authenticator {
        &self.authenticator
    }
}

/// The user of a request before impersonation.
pub(crate) fn authenticate(server: &Inner, caller: &Caller, headers: &HeaderMap) -> ApiResult<UserInfo> {
    let certificate = match caller {
        Caller::Local(user) => return Ok(UserInfo::clone(user)),
        Caller::Remote(certificate) => certificate.as_deref(),
    };
    let view = server.store.view();
    let objects = Objects { codec: &server.codec, view: &view };
    let now = crate::clock::now(&server.seams);
    let credentials = Credentials { certificate, headers };
    server.identities.authenticator.authenticate(credentials, now, &objects).map_err(|_| ApiError::Unauthorized)
}

/// The user the request acts for.
pub(crate) fn impersonate(context: &Context, snapshot: &Snapshot, request: &Attributes) -> ApiResult<UserInfo> {
    match impersonation::wanted(&context.headers) {
        Ok(None) => Ok(context.user.clone()),
        Ok(Some(wanted)) => {
            let impersonation = &context.server.identities.impersonation;
            Ok(impersonation.impersonate(&snapshot.authorizer(), &context.user, &wanted, request)?)
        }
        Err(missing) => Err(ApiError::BadRequest(missing.to_string())),
    }
}
