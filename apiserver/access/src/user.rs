//! The identity a request acts under.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Groups with a fixed meaning.
pub mod groups {
    /// Members may do everything; no rule is asked.
    pub const MASTERS: &str = "system:masters";
    /// Everybody who presented a valid credential.
    pub const AUTHENTICATED: &str = "system:authenticated";
    /// Everybody else.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    /// The node agents.
    pub const NODES: &str = "system:nodes";
    /// All service accounts.
    pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
    /// Administrators of an installed server, bound to cluster-admin.
    pub const CLUSTER_ADMINS: &str = "kontiki:cluster-admins";
}

/// User names with a fixed meaning.
pub mod users {
    /// A request without a credential.
    pub const ANONYMOUS: &str = "system:anonymous";
    /// The person who administers the cluster.
    pub const ADMIN: &str = "kubernetes-admin";
    /// The controllers.
    pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
    /// The scheduler.
    pub const SCHEDULER: &str = "system:kube-scheduler";
    /// The service proxy.
    pub const PROXY: &str = "system:kube-proxy";
    /// The API server as a client of node agents.
    pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";
    /// The API server as its own client.
    pub const APISERVER: &str = "system:apiserver";
}

const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const NODE_PREFIX: &str = "system:node:";

/// Name, groups and further facts of whoever sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserInfo {
    /// Unique name among all active users.
    #[serde(rename = "username", default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Tells users of one name over time apart; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Group names, in the order the authenticator gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What else the authenticator knows, e.g. the pod a token is bound to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user of these groups, without `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> UserInfo {
        UserInfo {
            name: name.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        }
    }

    /// A user of these groups who counts as authenticated: an in-process client.
    pub fn authenticated(name: impl Into<String>, groups: &[&str]) -> UserInfo {
        let mut user = UserInfo::new(name, groups);
        user.mark_authenticated();
        user
    }

    /// The user of requests that carry no credential.
    pub fn anonymous() -> UserInfo {
        UserInfo::new(users::ANONYMOUS, &[groups::UNAUTHENTICATED])
    }

    /// The agent of node `name`.
    pub fn node(name: &str) -> UserInfo {
        UserInfo::authenticated(format!("{NODE_PREFIX}{name}"), &[groups::NODES])
    }

    /// The service account `name` in `namespace`, authenticated.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> UserInfo {
        UserInfo {
            name: service_account_username(namespace, name),
            uid: uid.to_owned(),
            groups: service_account_groups(namespace)
                .into_iter()
                .chain([groups::AUTHENTICATED.to_owned()])
                .collect(),
            extra: BTreeMap::new(),
        }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|have| have == group)
    }

    /// Whether the user may do everything without being asked.
    pub fn is_privileged(&self) -> bool {
        self.in_group(groups::MASTERS)
    }

    /// Adds `system:authenticated`, once.
    pub fn mark_authenticated(&mut self) {
        if !self.in_group(groups::AUTHENTICATED) {
            self.groups.push(groups::AUTHENTICATED.to_owned());
        }
    }

    /// The namespace and name of the service account this user is, if it is one.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        split_service_account(&self.name)
    }

    /// The `userInfo` of a review answer.
    pub fn to_tree(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({}))
    }
}

/// `system:serviceaccount:NAMESPACE:NAME`.
pub(crate) fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// Whether a user name is that of a service account.
pub(crate) fn is_service_account(username: &str, namespace: &str, name: &str) -> bool {
    let rest = username.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.strip_prefix(namespace));
    rest.and_then(|rest| rest.strip_prefix(':')) == Some(name)
}

/// The groups every service account of `namespace` is in.
pub(crate) fn service_account_groups(namespace: &str) -> [String; 2] {
    [groups::SERVICE_ACCOUNTS.to_owned(), format!("{}:{namespace}", groups::SERVICE_ACCOUNTS)]
}

/// Namespace and name out of a service account's user name; both must be valid names.
pub(crate) fn split_service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let valid = is_dns_label(namespace) && is_dns_subdomain(name);
    valid.then_some((namespace, name))
}

/// The node name in `system:node:NAME`; empty when the name after the prefix is.
pub(crate) fn node_name(username: &str) -> Option<&str> {
    username.strip_prefix(NODE_PREFIX)
}

/// RFC 1123 label: at most 63 of `[a-z0-9-]`, no hyphen at an end.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=63).contains(&text.len()) && inner && !text.starts_with('-') && !text.ends_with('-')
}

/// RFC 1123 subdomain: labels of any length joined by dots, at most 253 bytes.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let inner =
            part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        !part.is_empty() && inner && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_names_are_split_only_when_both_parts_are_names() {
        let check =
            |name: &str, want: Option<(&str, &str)>| assert_eq!(split_service_account(name), want, "{name}");
        check("system:serviceaccount:default:builder", Some(("default", "builder")));
        check("system:serviceaccount:default:a.b", Some(("default", "a.b")));
        check("system:serviceaccount:x", None);
        check("system:serviceaccount:x:", None);
        check("system:serviceaccount:A:b", None);
        check("system:serviceaccount:a:b:c", None);
        check("alice", None);
    }

    #[test]
    fn a_tree_omits_what_is_empty() {
        assert_eq!(
            UserInfo::authenticated("u1", &["g1"]).to_tree(),
            json!({"username": "u1", "groups": ["g1", "system:authenticated"]}),
        );
        assert_eq!(UserInfo::default().to_tree(), json!({}));
    }
}
