//! Bootstrap tokens: `ID.SECRET`, kept in a Secret of kube-system, with which a new node
//! introduces itself.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::Tree;
use crate::user::UserInfo;

/// Where the Secrets are.
pub const NAMESPACE: &str = "kube-system";
/// The Secrets' type.
const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME_PREFIX: &str = "bootstrap-token-";
const USER_PREFIX: &str = "system:bootstrap:";
/// Everybody who shows such a token.
const GROUP: &str = "system:bootstrappers";
/// Bytes of a further group's name after the prefix, at most.
const GROUP_BYTES_MAX: usize = 256;
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 16;

/// A text that has the form of a bootstrap token.
#[derive(Clone, Copy)]
pub struct BootstrapToken<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> BootstrapToken<'a> {
    /// `None` when the text has another form.
    pub fn parse(text: &'a str) -> Option<BootstrapToken<'a>> {
        let (id, secret) = text.split_once('.')?;
        let is_part = |part: &str, bytes: usize| {
            part.len() == bytes && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        (is_part(id, ID_BYTES) && is_part(secret, SECRET_BYTES)).then_some(BootstrapToken { id, secret })
    }

    /// Name of the Secret that would hold it.
    pub fn secret_name(&self) -> String {
        format!("{NAME_PREFIX}{}", self.id)
    }

    /// The user of this token, when `stored` (the Secret of that name) says that it is good.
    pub fn user(&self, stored: &Tree, now: Timestamp) -> Option<UserInfo> {
        let is_live = stored["metadata"]["deletionTimestamp"].is_null() && stored["type"] == TYPE;
        let secret = data(stored, "token-secret");
        let is_same = verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes()).is_ok();
        let is_good = is_live
            && is_same
            && data(stored, "token-id") == self.id
            && !has_expired(&data(stored, "expiration"), now)
            && data(stored, "usage-bootstrap-authentication") == "true";
        let groups = groups(&data(stored, "auth-extra-groups")).filter(|_| is_good)?;
        let mut user = UserInfo { name: format!("{USER_PREFIX}{}", self.id), groups, ..UserInfo::default() };
        user.mark_authenticated();
        Some(user)
    }
}

/// A value of a Secret; one that is not there is empty.
fn data(secret: &Tree, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// What is no time is long past.
fn has_expired(expiration: &str, now: Timestamp) -> bool {
    !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |at| at <= now)
}

/// The groups in order, each once; `None` when one is not a bootstrapper's.
fn groups(further: &str) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    for group in further.split(',').filter(|_| !further.is_empty()) {
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = rest.bytes().all(|byte| inner(byte) || byte == b':' || byte == b'-');
        if !is_name || rest.len() > GROUP_BYTES_MAX || !rest.bytes().last().is_some_and(inner) {
            return None;
        }
        groups.push(group.to_owned());
    }
    groups.sort();
    groups.dedup();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `KEY=VALUE …` are the Secret's data, besides id and secret of the token; the answer is the user's groups.
    fn check(fields: &str, want: Option<&str>) {
        let mut secret = json!({"type": TYPE, "metadata": {"name": "bootstrap-token-abcdef"}});
        let given = "token-id=abcdef token-secret=0123456789abcdef";
        for (key, value) in
            given.split(' ').chain(fields.split_whitespace()).filter_map(|f| f.split_once('='))
        {
            match key {
                "type" => secret["type"] = value.into(),
                "deleted" => secret["metadata"]["deletionTimestamp"] = value.into(),
                _ => secret["data"][key] = STANDARD.encode(value).into(),
            }
        }
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").expect("a token");
        assert_eq!(token.secret_name(), "bootstrap-token-abcdef");
        let user = token.user(&secret, "2026-01-02T03:04:05Z".parse().expect("a time"));
        assert_eq!(user.map(|user| user.groups.join(" ")).as_deref(), want, "{fields}");
    }

    #[test]
    fn a_token_is_good_while_its_secret_says_so() {
        let plain = Some("system:bootstrappers system:authenticated");
        let used = "usage-bootstrap-authentication=true";
        check(used, plain);
        check("", None);
        check("usage-bootstrap-authentication=yes", None);
        check(&format!("{used} token-id=abcdeg"), None);
        check(&format!("{used} token-secret=0123456789abcdee"), None);
        check(&format!("{used} token-secret="), None);
        check(&format!("{used} type=Opaque"), None);
        check(&format!("{used} deleted=2026-01-01T00:00:00Z"), None);
        check(&format!("{used} expiration=2026-01-02T03:04:06Z"), plain);
        check(&format!("{used} expiration=2026-01-02T03:04:05Z"), None);
        check(&format!("{used} expiration=2026-01-02T05:04:06+02:00"), plain);
        check(&format!("{used} expiration=tomorrow"), None);
        let more = "auth-extra-groups=system:bootstrappers:b,system:bootstrappers:a:1";
        let all = "system:bootstrappers system:bootstrappers:a:1 system:bootstrappers:b system:authenticated";
        check(&format!("{used} {more}"), Some(all));
        check(&format!("{used} auth-extra-groups=system:masters"), None);
        check(&format!("{used} auth-extra-groups=system:bootstrappers:a-"), None);
        check(&format!("{used} auth-extra-groups=system:bootstrappers:a,"), None);
    }

    #[test]
    fn the_form_is_narrow() {
        for text in
            ["", "abcdef", "abcdef.0123456789abcde", "abcde.0123456789abcdef", "Abcdef.0123456789abcdef"]
        {
            assert!(BootstrapToken::parse(text).is_none(), "{text}");
        }
    }
}
