//! Tokens that are kept in Secrets of type `kubernetes.io/service-account-token`. They never end: one is good while its Secret
//! holds it and its service account is there.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::claims::Reference;
use super::verifier::VerifyError;
use crate::Tree;
use crate::user::{UserInfo, service_account_username, split_service_account};

/// Who issues them.
pub const ISSUER: &str = "kubernetes/serviceaccount";
/// Label of a Secret: the day its token was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Label of a Secret: the day from which its token is not good any more.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// Said to who uses a token that was once made for every account.
pub const AUTO_GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";

/// What such a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
    /// None in tokens of ours; whoever signs others may name some.
    #[serde(skip_serializing)]
    aud: Option<Tree>,
}

impl Default for SecretClaims {
    fn default() -> SecretClaims {
        SecretClaims::new("", &Reference::default(), "")
    }
}

/// A Secret whose token was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether the account lists it, as all did that had theirs made for them.
    pub auto_generated: bool,
    /// The day it was last used, if that is known.
    pub last_used: String,
}

impl Kept {
    /// The day to note, unless it is: `YYYY-MM-DD`. Tomorrow counts as well, for clocks may differ.
    pub fn day_to_note(&self, now: Timestamp) -> Option<String> {
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        let (today, tomorrow) = (day(now), day(now + SignedDuration::from_hours(24)));
        (self.last_used != today && self.last_used != tomorrow).then_some(today)
    }
}

/// A pinned view of the objects such tokens are about, whole.
pub trait SecretObjects {
    /// A Secret.
    fn whole_secret(&self, namespace: &str, name: &str) -> Option<Tree>;
    /// A service account.
    fn whole_account(&self, namespace: &str, name: &str) -> Option<Tree>;
}

impl SecretClaims {
    /// The claims of an account's token in a Secret.
    pub fn new(namespace: &str, account: &Reference, secret: &str) -> SecretClaims {
        SecretClaims {
            iss: ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.name.clone(),
            uid: account.uid.clone(),
            sub: service_account_username(namespace, &account.name),
            aud: None,
        }
    }

    /// The user who shows this token.
    pub fn user(&self) -> UserInfo {
        UserInfo::service_account(&self.namespace, &self.account, &self.uid)
    }

    /// The token's payload.
    pub fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("claims are plain strings")
    }

    /// Reads a payload whose signature has been checked.
    pub(crate) fn from_payload(payload: &[u8]) -> Option<SecretClaims> {
        serde_json::from_slice(payload).ok()
    }

    /// Audiences it names; most name none, and are for the API server's own.
    pub(crate) fn audiences(&self) -> Option<Vec<String>> {
        let texts = |list: &[Tree]| list.iter().filter_map(Tree::as_str).map(str::to_owned).collect();
        let named: Vec<String> = match self.aud.as_ref()? {
            Tree::String(one) => vec![one.clone()],
            Tree::Array(many) => texts(many),
            _ => Vec::new(),
        };
        Some(named).filter(|named| !named.is_empty())
    }

    /// Whether the Secret still holds this token and the account is still the one it names.
    pub(crate) fn check(&self, token: &str, objects: &dyn SecretObjects) -> Result<Kept, VerifyError> {
        self.check_claims()?;
        let secret = objects.whole_secret(&self.namespace, &self.secret).filter(|secret| !is_deleted(secret));
        let secret = secret.ok_or(VerifyError::SecretGone)?;
        if !holds(&secret, token) {
            return Err(VerifyError::SecretDiffers);
        }
        let account = objects.whole_account(&self.namespace, &self.account);
        let account = account.ok_or_else(|| VerifyError::AccountNotFound { name: self.account.clone() })?;
        if is_deleted(&account) {
            let (namespace, name) = (self.namespace.clone(), self.account.clone());
            return Err(VerifyError::AccountBeingDeleted { namespace, name });
        }
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        if uid != self.uid {
            return Err(VerifyError::AccountReplaced { stored: uid.to_owned(), claimed: self.uid.clone() });
        }
        let label = |name: &str| secret["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
        let listed = account["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let kept = Kept {
            namespace: self.namespace.clone(),
            name: self.secret.clone(),
            auto_generated: listed.iter().any(|reference| reference["name"] == self.secret.as_str()),
            last_used: label(LAST_USED),
        };
        if label(INVALID_SINCE).is_empty() {
            return Ok(kept);
        }
        Err(VerifyError::MarkedInvalid { kept: Box::new(kept), account: self.account.clone() })
    }

    fn check_claims(&self) -> Result<(), VerifyError> {
        let missing = [
            (&self.sub, "sub"),
            (&self.namespace, "namespace"),
            (&self.secret, "secretName"),
            (&self.account, "serviceAccountName"),
            (&self.uid, "serviceAccountUID"),
        ];
        if let Some((_, claim)) = missing.iter().find(|(value, _)| value.is_empty()) {
            return Err(VerifyError::MissingClaim { claim });
        }
        match split_service_account(&self.sub) {
            Some((namespace, name)) if namespace == self.namespace && name == self.account => Ok(()),
            _ => Err(VerifyError::WrongSubject),
        }
    }
}

fn is_deleted(object: &Tree) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn holds(secret: &Tree, token: &str) -> bool {
    use aws_lc_rs::constant_time::verify_slices_are_equal;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let stored = STANDARD.decode(secret["data"]["token"].as_str().unwrap_or_default()).unwrap_or_default();
    verify_slices_are_equal(&stored, token.as_bytes()).is_ok()
}
