//! What to do about a Secret that is to hold an account's token. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use runtime::{Metadata, View};
use serde::Deserialize;
use serde_json::Value;

use crate::views::Whole;

/// The type of these Secrets.
pub(super) const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Label: the day a token was last used.
pub(super) const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Label: the day from which a token is not good any more.
pub(super) const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
const TOKEN: &str = "token";

/// A Secret with the token of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Secret {
    metadata: Metadata,
    data: BTreeMap<String, String>,
}

impl View for Secret {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A service account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    metadata: Metadata,
    secrets: Vec<Reference>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Reference {
    name: String,
}

impl View for Account {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Account {
    /// Whether it lists a Secret, as accounts did whose tokens were made for them.
    pub(super) fn lists(&self, secret: &str) -> bool {
        self.secrets.iter().any(|reference| reference.name == secret)
    }
}

impl Secret {
    /// The account it names.
    pub(super) fn account(&self) -> &str {
        self.annotation(ACCOUNT_NAME)
    }

    /// Whether it is this account that it names. One whose uid is not noted yet is any of the name.
    pub(super) fn is_of(&self, account: &Account) -> bool {
        let uid = self.annotation(ACCOUNT_UID);
        account.metadata.name == self.account() && (uid.is_empty() || uid == account.metadata.uid)
    }

    fn annotation(&self, name: &str) -> &str {
        self.metadata.annotations.get(name).map_or("", String::as_str)
    }

    fn has(&self, key: &str) -> bool {
        self.data.get(key).is_some_and(|value| !value.is_empty())
    }

    fn lacks(&self, root_ca: &str) -> bool {
        !self.has_ca(root_ca) || !self.has(NAMESPACE) || !self.has(TOKEN)
    }

    fn has_ca(&self, root_ca: &str) -> bool {
        root_ca.is_empty() || self.data.get(CA).is_some_and(|value| *value == STANDARD.encode(root_ca))
    }
}

/// What to do about one Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Its account seems not to be there.
    Look,
    Fill,
}

pub(super) fn plan(secret: &Secret, account: Option<&Whole<Account>>, root_ca: &str) -> Action {
    match account {
        _ if secret.account().is_empty() => Action::Nothing,
        Some(account) if secret.is_of(account) => {
            if secret.lacks(root_ca) {
                Action::Fill
            } else {
                Action::Nothing
            }
        }
        _ => Action::Look,
    }
}

/// The Secret with all that it lacks; `None` while no token can be made.
pub(super) fn filled(
    secret: &Whole<Secret>,
    account: &Account,
    root_ca: &str,
    token: impl FnOnce() -> Option<String>,
) -> Option<Value> {
    let mut tree = secret.tree.clone();
    let mut put = |key: &str, value: &str| tree["data"][key] = STANDARD.encode(value).into();
    if !secret.has_ca(root_ca) {
        put(CA, root_ca);
    }
    if !secret.has(NAMESPACE) {
        put(NAMESPACE, &secret.metadata.namespace);
    }
    if !secret.has(TOKEN) {
        put(TOKEN, &token()?);
    }
    tree["metadata"]["annotations"][ACCOUNT_NAME] = account.metadata.name.as_str().into();
    tree["metadata"]["annotations"][ACCOUNT_UID] = account.metadata.uid.as_str().into();
    Some(tree)
}

/// What becomes of a token that nobody may need any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It is marked as not good any more, from this day on.
    Invalid(String),
    Goes,
}

/// Days are compared as upstream compares them: as text.
pub(super) fn fate(
    secret: &Secret,
    account: Option<&Account>,
    mounted: bool,
    now: Timestamp,
    kept: SignedDuration,
) -> Fate {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let edge = day(now - kept);
    let label = |name: &str| secret.metadata.labels.get(name).map(String::as_str);
    let is_old = secret.metadata.creation_timestamp.is_some_and(|created| created < now - kept);
    let is_used = label(LAST_USED).is_some_and(|used| !is_day(used) || used >= edge.as_str());
    // One that its account does not list was made by somebody who may need it.
    let is_listed =
        account.is_some_and(|account| secret.is_of(account) && account.lists(&secret.metadata.name));
    if !is_old || is_used || secret.metadata.deleting() || !is_listed || mounted {
        return Fate::Stays;
    }
    match label(INVALID_SINCE).filter(|since| is_day(since)) {
        None => Fate::Invalid(day(now)),
        Some(since) if since >= edge.as_str() => Fate::Stays,
        Some(_) => Fate::Goes,
    }
}

fn is_day(text: &str) -> bool {
    Date::strptime("%Y-%m-%d", text).is_ok()
}

/// The moment tracking has surely begun: the end of the day it was begun on.
pub(super) fn tracked_since(day: &str) -> Option<Timestamp> {
    let next = Date::strptime("%Y-%m-%d", day).ok()?.tomorrow().ok()?;
    next.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Whether a pod's spec names a Secret, wherever. Whatever looks like it counts: a token is rather kept than lost.
pub(super) fn names_secret(spec: &Value, secret: &str) -> bool {
    match spec {
        Value::Array(items) => items.iter().any(|item| names_secret(item, secret)),
        Value::Object(fields) => fields.iter().any(|(key, value)| match key.as_str() {
            "secretName" => value == secret,
            "secretRef" | "secretKeyRef" | "secret" | "nodePublishSecretRef" => {
                value["name"] == secret || value["secretName"] == secret
            }
            "imagePullSecrets" => {
                value.as_array().is_some_and(|list| list.iter().any(|reference| reference["name"] == secret))
            }
            _ => names_secret(value, secret),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(annotations: Value, data: Value) -> Whole<Secret> {
        let metadata = json!({"name": "s", "namespace": "ns", "uid": "u", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).expect("a Secret")
    }

    fn account(uid: &str) -> Whole<Account> {
        let metadata = json!({"name": "a", "namespace": "ns", "uid": uid});
        serde_json::from_value(json!({"metadata": metadata, "secrets": [{"name": "s"}]})).expect("an account")
    }

    #[test]
    fn a_secret_is_filled_once_and_goes_with_its_account() {
        let bare = secret(json!({ACCOUNT_NAME: "a"}), json!({}));
        assert_eq!(plan(&bare, Some(&account("1")), "CA"), Action::Fill);
        assert_eq!(plan(&bare, None, "CA"), Action::Look);
        assert_eq!(plan(&secret(json!({}), json!({})), None, "CA"), Action::Nothing);
        let filled = filled(&bare, &account("1"), "CA", || Some("T".to_owned())).expect("a token");
        assert_eq!(filled["data"], json!({"ca.crt": "Q0E=", "namespace": "bnM=", "token": "VA=="}));
        let done: Whole<Secret> = serde_json::from_value(filled).expect("a Secret");
        assert_eq!(plan(&done, Some(&account("1")), "CA"), Action::Nothing);
        assert_eq!(plan(&done, Some(&account("1")), "other"), Action::Fill);
        assert_eq!(plan(&done, Some(&account("2")), "CA"), Action::Look, "another of the name");
        assert_eq!(super::filled(&done, &account("1"), "CA", || None).as_ref(), Some(&done.tree));
        assert_eq!(super::filled(&bare, &account("1"), "CA", || None), None);
    }

    #[test]
    fn a_token_that_nobody_uses_is_marked_and_then_goes() {
        let now: Timestamp = "2026-06-15T12:00:00Z".parse().expect("a time");
        let year = SignedDuration::from_hours(365 * 24);
        let check = |labels: Value, created: &str, listed: bool, mounted: bool, want: Fate| {
            let metadata = json!({
                "name": "s", "namespace": "ns", "labels": labels, "creationTimestamp": created,
                "annotations": {ACCOUNT_NAME: "a"},
            });
            let secret: Secret = serde_json::from_value(json!({"metadata": metadata})).expect("a Secret");
            let account = account("1");
            let account = listed.then_some(&*account);
            assert_eq!(fate(&secret, account, mounted, now, year), want, "{labels} {created}");
        };
        let (old, new) = ("2024-01-01T00:00:00Z", "2025-07-01T00:00:00Z");
        let marked = Fate::Invalid("2026-06-15".to_owned());
        check(json!({}), old, true, false, marked.clone());
        check(json!({}), new, true, false, Fate::Stays);
        check(json!({}), old, false, false, Fate::Stays);
        check(json!({}), old, true, true, Fate::Stays);
        check(json!({LAST_USED: "2025-06-15"}), old, true, false, Fate::Stays);
        check(json!({LAST_USED: "2025-06-14"}), old, true, false, marked.clone());
        check(json!({LAST_USED: "lately"}), old, true, false, Fate::Stays);
        check(json!({INVALID_SINCE: "whenever"}), old, true, false, marked);
        check(json!({INVALID_SINCE: "2025-06-15"}), old, true, false, Fate::Stays);
        check(json!({INVALID_SINCE: "2025-06-14"}), old, true, false, Fate::Goes);
    }

    #[test]
    fn a_pod_names_secrets_in_many_places() {
        for spec in [
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
            json!({"volumes": [{"azureFile": {"secretName": "s"}}]}),
            json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}),
            json!({"imagePullSecrets": [{"name": "s"}]}),
        ] {
            assert!(names_secret(&spec, "s"), "{spec}");
            assert!(!names_secret(&spec, "v"), "{spec}");
        }
    }

    #[test]
    fn tracking_counts_from_the_next_day() {
        assert_eq!(
            tracked_since("2026-01-31").map(|at| at.to_string()).as_deref(),
            Some("2026-02-01T00:00:00Z")
        );
        assert_eq!(tracked_since("January"), None);
    }
}
