//! Tokens of other issuers (OpenID Connect): whether one is good, and whom it names.
//!
//! Pure: the issuer's keys come in as a value, and whoever fetches them is told when they do not
//! know a signature ([`JwtError::Signature`]).

mod keys;
mod mappings;

pub use keys::{ALGORITHMS, KeySet};

use jiff::{SignedDuration, Timestamp};

use super::configuration::JwtConfiguration;
use crate::go;
use crate::tokens::Compact;
use crate::user::UserInfo;
use crate::{Tree, tokens};

/// What `nbf` may be ahead of our clock.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);
/// An issuer that once left the scheme out of its tokens.
const GOOGLE: (&str, &str) = ("https://accounts.google.com", "accounts.google.com");

/// Why a token of the issuer is not good. The texts are seen in a TokenReview.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The issuer's keys were not fetched yet.
    #[error("oidc: authenticator not initialized")]
    NotInitialized,
    /// It cannot be read.
    #[error("oidc: verify token: oidc: malformed jwt")]
    Malformed,
    /// Signed in a way that is not accepted.
    #[error("oidc: verify token: oidc: id token signed with unsupported algorithm, expected {} got {}", go::quote_list(&ALGORITHMS), go::quote(.0))]
    Algorithm(String),
    /// None of the keys signed it.
    #[error("oidc: verify token: failed to verify signature: failed to verify id token signature")]
    Signature,
    /// For somebody else.
    #[error("oidc: verify token: oidc: expected audience {wanted} got {}", go::quote_list(.token))]
    Audience {
        /// Whom it should be for, as the text shows it.
        wanted: String,
        /// Whom it is for.
        token: Vec<String>,
    },
    /// Too late.
    #[error("oidc: verify token: oidc: token is expired (Token Expiry: {})", go::time(*.0))]
    Expired(Timestamp),
    /// Too early.
    #[error("oidc: verify token: oidc: current time {} before the nbf (not before) time: {}", go::time(*.now), go::time(*.not_before))]
    NotYetValid {
        /// Now.
        now: Timestamp,
        /// When it begins.
        not_before: Timestamp,
    },
    /// Its claims do not make a user, or not one that may come in.
    #[error("oidc: {0}")]
    Claims(String),
}

/// Reads the tokens of one issuer.
#[derive(Clone, Debug)]
pub struct JwtAuthenticator {
    configuration: JwtConfiguration,
}

impl JwtAuthenticator {
    /// By a configuration that was checked.
    pub fn new(configuration: JwtConfiguration) -> JwtAuthenticator {
        JwtAuthenticator { configuration }
    }

    /// What it was made of.
    pub fn configuration(&self) -> &JwtConfiguration {
        &self.configuration
    }

    /// Whether the token says that it is this issuer's; nothing is checked.
    pub fn is_named_by(&self, token: &str) -> bool {
        let Some(token) = Compact::parse(token) else { return false };
        let issuer = tokens::peek_issuer(&token.payload);
        issuer.is_some_and(|issuer| self.is_issuer(&issuer))
    }

    fn is_issuer(&self, named: &str) -> bool {
        let url = self.configuration.issuer.url.as_str();
        named == url || (url, named) == GOOGLE
    }

    /// The user of a token that names this issuer.
    pub fn user(&self, token: &str, keys: &KeySet, now: Timestamp) -> Result<UserInfo, JwtError> {
        let token = Compact::parse(token).ok_or(JwtError::Malformed)?;
        let header = &token.header;
        if !header.crit.is_empty() {
            return Err(JwtError::Malformed);
        }
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(JwtError::Algorithm(header.alg.clone()));
        }
        if !keys.verify(&header.kid, &header.alg, token.signed, &token.signature) {
            return Err(JwtError::Signature);
        }
        let claims: Tree = serde_json::from_slice(&token.payload).map_err(|_| JwtError::Malformed)?;
        self.check_audience(&claims)?;
        check_time(&claims, now)?;
        mappings::user(&self.configuration, &claims).map_err(JwtError::Claims)
    }

    fn check_audience(&self, claims: &Tree) -> Result<(), JwtError> {
        let token: Vec<String> = match &claims["aud"] {
            Tree::String(one) => vec![one.clone()],
            Tree::Array(many) => many.iter().filter_map(Tree::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let mut wanted = self.configuration.issuer.audiences.clone();
        if wanted.iter().any(|audience| token.contains(audience)) {
            return Ok(());
        }
        wanted.sort();
        let wanted = match wanted.as_slice() {
            [one] => go::quote(one),
            many => format!("in {}", go::quote_list(many)),
        };
        Err(JwtError::Audience { wanted, token })
    }
}

/// A token without an end has ended.
fn check_time(claims: &Tree, now: Timestamp) -> Result<(), JwtError> {
    let at = |name: &str| {
        let seconds = claims[name].as_f64().filter(|seconds| seconds.is_finite())?;
        // A cast of a float goes no further than the type's ends, and a time out of range is none.
        Some(Timestamp::from_second(seconds as i64).unwrap_or(Timestamp::MAX))
    };
    let expires = at("exp").unwrap_or(Timestamp::UNIX_EPOCH);
    if expires < now {
        return Err(JwtError::Expired(expires));
    }
    match at("nbf").filter(|not_before| now.saturating_add(LEEWAY).is_ok_and(|latest| latest < *not_before)) {
        Some(not_before) => Err(JwtError::NotYetValid { now, not_before }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
