//! Whether a token is good: signature, issuer, audience, time, and what it is bound to.

use jiff::{SignedDuration, Timestamp};

use super::claims::{self, BoundTo, Claims, Reference};
use super::jws::Compact;
use super::kept::{self, Kept, SecretClaims};
use super::signer::Signer;
use crate::go;

/// Clocks may differ by this; an object deleted longer ago than this is gone.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// Why a token is not good. The texts are seen in a TokenReview.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No token of ours; another authenticator may know it.
    #[error("invalid bearer token")]
    NotOurs,
    /// No key of this id.
    #[error("invalid signature, no keys found")]
    NoKey,
    /// The signature is not that of the key.
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Signature,
    /// For somebody else.
    #[error("token audiences {} is invalid for the target audiences {}", go::quote_list(.token), go::quote_list(.wanted))]
    Audience {
        /// Whom it is for.
        token: Vec<String>,
        /// Who asks.
        wanted: Vec<String>,
    },
    /// Too late.
    #[error("service account token has expired")]
    Expired,
    /// Too early.
    #[error("service account token is not valid yet")]
    NotYetValid,
    /// From the future.
    #[error("service account token is issued in the future")]
    IssuedInFuture,
    /// The service account is not there.
    #[error("serviceaccounts {} not found", go::quote(.name))]
    AccountNotFound {
        /// Its name.
        name: String,
    },
    /// The service account is being deleted.
    #[error("service account {namespace}/{name} has been deleted")]
    AccountDeleted {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Another object has the name now.
    #[error("{kind} UID ({stored}) does not match {claim} ({claimed})")]
    OtherUid {
        /// `service account`, `pod`, `secret` or `node`.
        kind: &'static str,
        /// How the text calls the claim.
        claim: &'static str,
        /// The uid of the object.
        stored: String,
        /// The uid in the token.
        claimed: String,
    },
    /// What it is bound to is gone.
    #[error("service account token has been invalidated")]
    Invalidated,
    /// The Secret it was kept in is gone.
    #[error("Token has been invalidated")]
    SecretGone,
    /// Its Secret holds another.
    #[error("Token does not match server's copy")]
    SecretDiffers,
    /// The service account of a kept token is to go.
    #[error("ServiceAccount {namespace}/{name} has been deleted")]
    AccountBeingDeleted {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Another service account has the name now.
    #[error("ServiceAccount UID ({stored}) does not match claim ({claimed})")]
    AccountReplaced {
        /// The uid of the account.
        stored: String,
        /// The uid in the token.
        claimed: String,
    },
    /// A kept token that nobody used for long.
    #[error("the token in secret {}/{} for service account {}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{}' label from the secret to temporarily allow use of this token", kept.namespace, kept.name, kept.namespace, kept::INVALID_SINCE)]
    MarkedInvalid {
        /// Where it is kept.
        kept: Box<Kept>,
        /// Its account.
        account: String,
    },
    /// A kept token must say more.
    #[error("{claim} claim is missing")]
    MissingClaim {
        /// What.
        claim: &'static str,
    },
    /// A kept token speaks of two accounts.
    #[error("sub claim is invalid")]
    WrongSubject,
}

/// What a token of ours says, once its signature was checked.
#[derive(Clone, Debug)]
pub(crate) enum Signed {
    /// One that ends.
    Bound(Claims),
    /// One that is kept in a Secret.
    Kept(SecretClaims),
}

/// What the store says about an object a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its uid.
    pub uid: String,
    /// Its `deletionTimestamp`.
    pub deleted: Option<Timestamp>,
}

impl Stored {
    fn is_gone(&self, now: Timestamp) -> bool {
        self.deleted.is_some_and(|deleted| deleted < now - LEEWAY)
    }
}

/// A pinned view of the objects tokens are bound to.
pub trait BoundObjects {
    /// A service account.
    fn service_account(&self, namespace: &str, name: &str) -> Option<Stored>;
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<Stored>;
    /// A secret.
    fn secret(&self, namespace: &str, name: &str) -> Option<Stored>;
    /// A node.
    fn node(&self, name: &str) -> Option<Stored>;
}

/// A good token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// The audiences both sides name.
    pub audiences: Vec<String>,
}

/// Reads tokens of one issuer.
#[derive(Clone)]
pub struct Verifier {
    signer: Signer,
    issuer: String,
    audiences: Vec<String>,
}

impl Verifier {
    /// For tokens `signer` signs in the name of `issuer`; the server itself is one of `audiences`.
    pub fn new(signer: Signer, issuer: &str, audiences: &[String]) -> Verifier {
        Verifier { signer, issuer: issuer.to_owned(), audiences: audiences.to_vec() }
    }

    /// The audiences the API server accepts tokens for.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Whether the token is one of ours that is good for one of `wanted` (empty: the API server's own).
    pub fn verify(
        &self,
        token: &str,
        wanted: &[String],
        now: Timestamp,
        objects: &dyn BoundObjects,
    ) -> Result<Verified, VerifyError> {
        match self.check_signature(token)? {
            Signed::Bound(claims) => {
                let audiences = self.check_claims(&claims, wanted, now, objects)?;
                Ok(Verified { claims, audiences })
            }
            Signed::Kept(_) => Err(VerifyError::NotOurs),
        }
    }

    /// The part of [`Verifier::verify`] that depends on time and state; the audiences both sides name.
    pub(crate) fn check_claims(
        &self,
        claims: &Claims,
        wanted: &[String],
        now: Timestamp,
        objects: &dyn BoundObjects,
    ) -> Result<Vec<String>, VerifyError> {
        let audiences = self.common(&claims.audiences, wanted)?;
        check_time(claims, now)?;
        check_bound(claims, now, objects)?;
        Ok(audiences)
    }

    /// The audiences both sides name. A kept token that names none is for the API server's own.
    pub(crate) fn common(&self, named: &[String], wanted: &[String]) -> Result<Vec<String>, VerifyError> {
        let wanted = if wanted.is_empty() { &self.audiences } else { wanted };
        let common: Vec<String> =
            named.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if common.is_empty() {
            return Err(VerifyError::Audience { token: named.to_vec(), wanted: wanted.to_vec() });
        }
        Ok(common)
    }

    /// The part of [`Verifier::verify`] that depends only on the token and the key.
    pub(crate) fn check_signature(&self, token: &str) -> Result<Signed, VerifyError> {
        let token = Compact::parse(token).ok_or(VerifyError::NotOurs)?;
        let issuer = claims::peek_issuer(&token.payload).unwrap_or_default();
        let is_kept = issuer == kept::ISSUER;
        if (issuer != self.issuer && !is_kept) || token.header.alg != "RS256" || !token.header.crit.is_empty()
        {
            return Err(VerifyError::NotOurs);
        }
        let key = self.signer.key().filter(|key| token.header.kid.is_empty() || key.id() == token.header.kid);
        let key = key.ok_or(VerifyError::NoKey)?;
        if !key.verify(token.signed, &token.signature) {
            return Err(VerifyError::Signature);
        }
        let signed = if is_kept {
            SecretClaims::from_payload(&token.payload).map(Signed::Kept)
        } else {
            Claims::from_payload(&token.payload).map(Signed::Bound)
        };
        signed.ok_or(VerifyError::NotOurs)
    }
}

fn check_time(claims: &Claims, now: Timestamp) -> Result<(), VerifyError> {
    let (early, late) = ((now - LEEWAY).as_second(), (now + LEEWAY).as_second());
    if late < claims.not_before {
        return Err(VerifyError::NotYetValid);
    }
    if early > claims.expires {
        return Err(VerifyError::Expired);
    }
    if late < claims.issued {
        return Err(VerifyError::IssuedInFuture);
    }
    Ok(())
}

fn check_bound(claims: &Claims, now: Timestamp, objects: &dyn BoundObjects) -> Result<(), VerifyError> {
    let Claims { namespace, account, .. } = claims;
    let stored = objects.service_account(namespace, &account.name);
    let stored = stored.ok_or_else(|| VerifyError::AccountNotFound { name: account.name.clone() })?;
    same_uid("service account", "claim", &stored, account)?;
    if stored.is_gone(now) {
        return Err(VerifyError::AccountDeleted { namespace: namespace.clone(), name: account.name.clone() });
    }

    let check = |kind, claim, stored: Option<Stored>, reference: &Reference| {
        let stored = stored.ok_or(VerifyError::Invalidated)?;
        same_uid(kind, claim, &stored, reference)?;
        if stored.is_gone(now) { Err(VerifyError::Invalidated) } else { Ok(()) }
    };
    match &claims.bound {
        BoundTo::Account => Ok(()),
        BoundTo::Secret(secret) => {
            let stored = objects.secret(namespace, &secret.name);
            check("secret", "service account secret ref claim", stored, secret)
        }
        BoundTo::Pod { pod, .. } => {
            check("pod", "service account pod ref claim", objects.pod(namespace, &pod.name), pod)
        }
        BoundTo::Node(node) => {
            check("node", "service account node ref claim", objects.node(&node.name), node)
        }
    }
}

fn same_uid(
    kind: &'static str,
    claim: &'static str,
    stored: &Stored,
    reference: &Reference,
) -> Result<(), VerifyError> {
    if stored.uid == reference.uid {
        return Ok(());
    }
    Err(VerifyError::OtherUid { kind, claim, stored: stored.uid.clone(), claimed: reference.uid.clone() })
}
