//! What is read of a bootstrap token's Secret.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use runtime::{Metadata, View};
use serde::Deserialize;

/// The type of these Secrets.
pub(crate) const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Where they count.
pub(crate) const NAMESPACE: &str = "kube-system";
const NAME_PREFIX: &str = "bootstrap-token-";
const ID_BYTES: usize = 6;

/// The Secret.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenSecret {
    pub(crate) metadata: Metadata,
    data: BTreeMap<String, String>,
}

impl View for TokenSecret {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// How long a token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// No end.
    Never,
    /// It ends.
    In(Duration),
    /// It has ended, or says something that is no time.
    Past,
}

impl TokenSecret {
    /// A value; one that is not there is empty.
    fn value(&self, key: &str) -> String {
        let decoded = self.data.get(key).and_then(|encoded| STANDARD.decode(encoded).ok());
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    pub(crate) fn expiry(&self, now: Timestamp) -> Expiry {
        match self.value("expiration").as_str() {
            "" => Expiry::Never,
            text => match text.parse::<Timestamp>().map(|at| Duration::try_from(at.duration_since(now))) {
                Ok(Ok(left)) if !left.is_zero() => Expiry::In(left),
                _ => Expiry::Past,
            },
        }
    }

    /// Id and secret, when the token may sign.
    pub(crate) fn signing(&self, now: Timestamp) -> Option<(String, String)> {
        let named = self.metadata.name.strip_prefix(NAME_PREFIX)?;
        let is_id = named.len() == ID_BYTES
            && named.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let (id, secret) = (self.value("token-id"), self.value("token-secret"));
        let may = self.value("usage-bootstrap-signing") == "true" && self.expiry(now) != Expiry::Past;
        (is_id && id == named && !secret.is_empty() && may).then_some((id, secret))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// The Secret `NAME KEY=VALUE …`.
    pub(crate) fn secret(text: &str) -> TokenSecret {
        let (name, fields) = text.split_once(' ').unwrap_or((text, ""));
        let data: BTreeMap<&str, String> = fields
            .split_whitespace()
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key, STANDARD.encode(value)))
            .collect();
        let tree = json!({"metadata": {"name": name, "namespace": NAMESPACE, "uid": "u"}, "data": data});
        serde_json::from_value(tree).expect("a Secret")
    }

    pub(crate) fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().expect("a time")
    }

    #[test]
    fn a_token_ends_when_it_says() {
        let check = |value: &str, want: Expiry| {
            assert_eq!(secret(&format!("x expiration={value}")).expiry(now()), want, "{value}");
        };
        check("", Expiry::Never);
        check("2026-01-02T03:04:15Z", Expiry::In(Duration::from_secs(10)));
        check("2026-01-02T03:04:05Z", Expiry::Past);
        check("2025-01-02T03:04:05Z", Expiry::Past);
        check("soon", Expiry::Past);
    }

    #[test]
    fn a_token_signs_when_it_is_whole_and_meant_for_it() {
        let whole = "token-id=abcdef token-secret=s usage-bootstrap-signing=true";
        let check =
            |text: String, want: bool| assert_eq!(secret(&text).signing(now()).is_some(), want, "{text}");
        check(format!("bootstrap-token-abcdef {whole}"), true);
        check(format!("bootstrap-token-abcdeg {whole}"), false);
        check(format!("token-abcdef {whole}"), false);
        check(format!("bootstrap-token-abcdef {whole} expiration=2020-01-01T00:00:00Z"), false);
        check(format!("bootstrap-token-abcdef {whole} usage-bootstrap-signing=no"), false);
        check("bootstrap-token-abcdef token-id=abcdef usage-bootstrap-signing=true".to_owned(), false);
    }
}
