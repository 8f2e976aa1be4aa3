//! Who a request comes from.
//!
//! A verified client certificate comes first, then a bearer token, then nobody
//! (`system:anonymous`, who may do what the roles of `system:unauthenticated` say: ask for
//! health and version). A credential that is not good is refused even where nobody would pass.

mod bearer;
mod cache;
mod certificate;
pub mod impersonation;

pub use bearer::{Bearer, MalformedBearer, bearer, strip};
pub use certificate::user_of_certificate;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;

use crate::Tree;
use crate::go;
use crate::tokens::{BoundObjects, Verified, Verifier, VerifyError};
use crate::user::UserInfo;
use cache::Cache;

/// What a request shows.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The client's certificate, DER. TLS has verified it against the authority.
    pub certificate: Option<&'a [u8]>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

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
}

/// Finds out who a request comes from.
pub struct Authenticator {
    verifier: Verifier,
    cache: Cache,
}

impl Authenticator {
    /// Accepts the tokens `verifier` does.
    pub fn new(verifier: Verifier) -> Authenticator {
        Authenticator { verifier, cache: Cache::default() }
    }

    /// The user of a request; `objects` is the pinned view the tokens' bound objects are looked up in.
    pub fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: Timestamp,
        objects: &dyn BoundObjects,
    ) -> Result<UserInfo, Unauthorized> {
        if let Some(der) = credentials.certificate {
            let user = user_of_certificate(der).ok_or(Unauthorized::Certificate)?;
            if !user.name.is_empty() {
                return Ok(user);
            }
        }
        match bearer(credentials.headers)? {
            Bearer::Token(token) => Ok(self.verify(&token, &[], now, objects)?.claims.user()),
            Bearer::None => Ok(UserInfo::anonymous()),
        }
    }

    /// The status of a TokenReview of `token` for `audiences` (empty: the API server's own).
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        objects: &dyn BoundObjects,
    ) -> Tree {
        match self.verify(token, audiences, now, objects) {
            Ok(verified) => json!({
                "authenticated": true,
                "user": verified.claims.user().to_tree(),
                "audiences": verified.audiences,
            }),
            Err(error) => {
                let errors = [VerifyError::NotOurs.to_string(), error.to_string()];
                json!({"user": {}, "error": go::aggregate(&errors)})
            }
        }
    }

    /// A remembered token saves the work of its signature, nothing else: time and what it is
    /// bound to are checked every time, so a deletion counts at once.
    fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        objects: &dyn BoundObjects,
    ) -> Result<Verified, VerifyError> {
        let key = cache::key(token);
        let claims = match self.cache.get(&key, now) {
            Some(claims) => claims,
            None => {
                let claims = self.verifier.check_signature(token)?;
                self.cache.put(key, claims.clone(), now);
                claims
            }
        };
        self.verifier.check_claims(claims, audiences, now, objects)
    }
}

#[cfg(test)]
mod tests;
