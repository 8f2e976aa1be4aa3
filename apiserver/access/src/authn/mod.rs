//! Who a request comes from.
//!
//! A verified client certificate comes first, then a bearer token, then nobody
//! (`system:anonymous`, who may do what the roles of `system:unauthenticated` say: ask for
//! health and version). A credential that is not good is refused even where nobody would pass.
//! A token is a service account's or a bootstrap token; whoever fetches keys or asks others may
//! know it when neither does ([`jwt`]).

mod anonymous;
mod bearer;
mod bootstrap_token;
mod cache;
mod certificate;
pub mod configuration;
pub mod impersonation;
pub mod jwt;
mod token_file;

pub use anonymous::Anonymous;
pub use bearer::{Bearer, MalformedBearer, bearer, strip};
pub use bootstrap_token::{BootstrapToken, NAMESPACE as BOOTSTRAP_NAMESPACE};
pub use certificate::user_of_certificate;
pub use token_file::TokenFile;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;

use crate::Tree;
use crate::go;
use crate::tokens::kept::{Kept, SecretObjects};
use crate::tokens::{BoundObjects, Signed, Verifier, VerifyError};
use crate::user::UserInfo;
use cache::{Cache, Checked};
use std::sync::Arc;

/// What a request shows.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The client's certificate, DER. TLS has verified it against the authority.
    pub certificate: Option<&'a [u8]>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The request's path, for who may be anonymous.
    pub path: &'a str,
}

/// A user that a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The user.
    pub user: Arc<UserInfo>,
    /// The audiences both sides name.
    pub audiences: Vec<String>,
    /// The Secret the token is kept in, if it is such a one: its use is noted there.
    pub kept: Option<Kept>,
}

/// A pinned view of what tokens are about.
pub trait Objects: BoundObjects + SecretObjects {}

impl<T: BoundObjects + SecretObjects> Objects for T {}

/// Why a credential is refused: the request gets 401 `Unauthorized`, whatever the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// The header that should hold a token does not.
    #[error(transparent)]
    Malformed(#[from] MalformedBearer),
    /// The certificate names nobody.
    #[error("the client certificate cannot be read")]
    Certificate,
    /// There is no credential, and nobody in particular may not come here.
    #[error("anonymous requests are not allowed here")]
    Anonymous,
}

/// Finds out who a request comes from.
pub struct Authenticator {
    verifier: Verifier,
    anonymous: Anonymous,
    cache: Cache,
}

impl Authenticator {
    /// Accepts the tokens `verifier` does.
    pub fn new(verifier: Verifier, anonymous: Anonymous) -> Authenticator {
        Authenticator { verifier, anonymous, cache: Cache::default() }
    }

    /// The user of a request; `objects` is the pinned view the tokens' objects are looked up in.
    pub fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: Timestamp,
        objects: &dyn Objects,
    ) -> Result<Identified, Unauthorized> {
        let plain = |user| Identified { user: Arc::new(user), audiences: Vec::new(), kept: None };
        if let Some(der) = credentials.certificate {
            let user = user_of_certificate(der).ok_or(Unauthorized::Certificate)?;
            if !user.name.is_empty() {
                return Ok(plain(user));
            }
        }
        match bearer(credentials.headers)? {
            Bearer::Token(token) => Ok(self.identify(&token, &[], now, objects)?),
            Bearer::None if self.anonymous.allows(credentials.path) => Ok(plain(UserInfo::anonymous())),
            Bearer::None => Err(Unauthorized::Anonymous),
        }
    }

    /// Whom a token names that is good for one of `audiences` (empty: the API server's own).
    pub fn identify(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        objects: &dyn Objects,
    ) -> Result<Identified, VerifyError> {
        let error = match self.verify(token, audiences, now, objects) {
            Ok(identified) => return Ok(identified),
            Err(error) => error,
        };
        let audiences = self.agnostic(audiences);
        let bootstrapper = BootstrapToken::parse(token).filter(|_| !audiences.is_empty());
        let user = bootstrapper.and_then(|token| {
            let stored = objects.whole_secret(BOOTSTRAP_NAMESPACE, &token.secret_name())?;
            token.user(&stored, now)
        });
        user.map(|user| Identified { user: Arc::new(user), audiences, kept: None }).ok_or(error)
    }

    /// The audiences of a token that names none, which is for the API server's own: those of them
    /// that are asked for.
    pub fn agnostic(&self, wanted: &[String]) -> Vec<String> {
        let own = self.verifier.audiences();
        if wanted.is_empty() {
            return own.to_vec();
        }
        wanted.iter().filter(|audience| own.contains(audience)).cloned().collect()
    }

    /// A remembered token saves the work of its signature, nothing else: time and what it is
    /// bound to are checked every time, so a deletion counts at once.
    fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        objects: &dyn Objects,
    ) -> Result<Identified, VerifyError> {
        let key = cache::key(token);
        let checked = match self.cache.get(&key, now) {
            Some(checked) => checked,
            None => {
                let checked = Arc::new(Checked::from(self.verifier.check_signature(token)?));
                self.cache.put(key, checked.clone(), now);
                checked
            }
        };
        let user = checked.user.clone();
        match &checked.signed {
            Signed::Bound(claims) => {
                let audiences = self.verifier.check_claims(claims, audiences, now, objects)?;
                Ok(Identified { user, audiences, kept: None })
            }
            Signed::Kept(claims) => {
                let named = claims.audiences().unwrap_or_else(|| self.verifier.audiences().to_vec());
                let audiences = self.verifier.common(&named, audiences)?;
                let kept = claims.check(token, objects)?;
                Ok(Identified { user, audiences, kept: Some(kept) })
            }
        }
    }
}

/// The status of a TokenReview.
pub fn review_status(identified: Result<Identified, Vec<String>>) -> Tree {
    match identified {
        Ok(Identified { user, audiences, .. }) => {
            json!({"authenticated": true, "user": user.to_tree(), "audiences": audiences})
        }
        Err(errors) => {
            let all: Vec<String> = [VerifyError::NotOurs.to_string()].into_iter().chain(errors).collect();
            json!({"user": {}, "error": go::aggregate(&all)})
        }
    }
}

#[cfg(test)]
mod tests;
