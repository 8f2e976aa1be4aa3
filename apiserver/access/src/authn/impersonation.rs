//! Acting as somebody else.
//!
//! The `Impersonate-…` headers name a user; the requester needs the right to be that user.
//! The narrow modes (`impersonate:user-info`, `impersonate:serviceaccount`,
//! `impersonate:arbitrary-node`, `impersonate:associated-node`) also ask for the right to do this
//! very request in that mode; the old verb `impersonate` allows everything. The first mode that
//! allows wins. When none does, the answer is that of the mode that last worked for the
//! requester, else of the first that applied.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use crate::chain::Authorizer;
use crate::go;
use crate::rbac::{Attributes, Forbidden, forbidden};
use crate::user::{self, UserInfo, groups, users};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const NODE_NAME_KEY: &str = "authentication.kubernetes.io/node-name";

/// Requesters whose last mode is remembered at most; forgetting costs a few more checks.
const REMEMBERED_MAX: usize = 1024;

/// From this many groups or extra values on, a narrow mode first asks for all at once.
const MANY: usize = 4;

/// The headers name groups, a uid or extra facts, but no user: 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requested {requested} without impersonating a user name")]
pub struct MissingUser {
    requested: String,
}

/// The user the headers ask for, as they say it. An empty name counts as none.
pub fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, MissingUser> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let one = |name: &str| headers.get(name).map(text).unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            extra.entry(unescape(key)).or_default().push(text(value));
        }
    }
    let groups = headers.get_all(GROUP).iter().map(text).collect();
    let wanted = UserInfo { name: one(USER), uid: one(UID), groups, extra };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == UserInfo::default() { Ok(None) } else { Err(MissingUser { requested: go_literal(&wanted) }) }
}

/// Removes the headers: nothing behind this may act differently because of them.
pub fn strip(headers: &mut HeaderMap) {
    let names: Vec<http::HeaderName> =
        headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_ours(name: &str) -> bool {
    matches!(name, USER | GROUP | UID) || name.starts_with(EXTRA_PREFIX)
}

/// Percent-decodes a header's key; one that is not encoded well is taken as it is.
fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(Ok(decoded)) = digits.map(|digits| u8::from_str_radix(digits, 16)) else {
            return key.to_owned();
        };
        bytes.push(decoded);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

/// The user as Go prints it with `%#v`.
fn go_literal(user: &UserInfo) -> String {
    let extra: Vec<String> = user
        .extra
        .iter()
        .map(|(key, values)| format!("{}:{}", go::quote(key), go::literal_list(values)))
        .collect();
    let extra = match extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => format!("map[string][]string{{{}}}", extra.join(", ")),
    };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{}, Extra:{extra}}}",
        go::quote(&user.name),
        go::quote(&user.uid),
        go::literal_list(&user.groups),
    )
}

/// Ways to act as somebody, most narrow first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

const MODES: [Mode; 5] =
    [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

/// Decides about impersonation and remembers which mode worked for whom.
#[derive(Default)]
pub struct Impersonation {
    last: Mutex<HashMap<String, Mode>>,
}

impl Impersonation {
    /// The user `requester` acts as for `request`, or why not.
    pub fn impersonate(
        &self,
        authorizer: &Authorizer<'_>,
        requester: &UserInfo,
        wanted: &UserInfo,
        request: &Attributes,
    ) -> Result<UserInfo, Forbidden> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&requester.name).copied();
        let others = MODES.into_iter().filter(|mode| Some(*mode) != last);
        let mut refusal = None;
        for mode in last.into_iter().chain(others) {
            let attempt = Attempt { authorizer, requester, wanted, mode };
            match attempt.run(request) {
                None => {}
                Some(Ok(user)) => {
                    self.remember(requester, mode);
                    return Ok(user);
                }
                Some(Err(forbidden)) => refusal = refusal.or(Some(forbidden)),
            }
        }
        Err(refusal.expect("the old mode applies to everybody"))
    }

    fn remember(&self, requester: &UserInfo, mode: Mode) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REMEMBERED_MAX && !last.contains_key(&requester.name) {
            last.clear();
        }
        last.insert(requester.name.clone(), mode);
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "",
        }
    }

    /// Only the user-info and the old mode take more than a name.
    fn applies(self, requester: &UserInfo, wanted: &UserInfo) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_of(&wanted.name);
        let is_account = wanted.as_service_account().is_some();
        match self {
            Mode::AssociatedNode => only_name && node.is_some() && associated_node(requester) == node,
            Mode::ArbitraryNode => only_name && node.is_some(),
            Mode::ServiceAccount => only_name && is_account,
            Mode::UserInfo => node.is_none() && !is_account,
            Mode::Legacy => true,
        }
    }
}

fn node_of(username: &str) -> Option<&str> {
    user::node_name(username).filter(|name| user::is_dns_subdomain(name))
}

/// The node a service account's token is bound to.
fn associated_node(requester: &UserInfo) -> Option<&str> {
    requester.as_service_account()?;
    match requester.extra.get(NODE_NAME_KEY).map(Vec::as_slice) {
        Some([node]) => Some(node),
        _ => None,
    }
}

struct Attempt<'a> {
    authorizer: &'a Authorizer<'a>,
    requester: &'a UserInfo,
    wanted: &'a UserInfo,
    mode: Mode,
}

impl Attempt<'_> {
    /// `None` when the mode does not apply.
    fn run(&self, request: &Attributes) -> Option<Result<UserInfo, Forbidden>> {
        self.mode.applies(self.requester, self.wanted).then(|| self.check(request))
    }

    fn is_narrow(&self) -> bool {
        self.mode != Mode::Legacy
    }

    fn check(&self, request: &Attributes) -> Result<UserInfo, Forbidden> {
        if self.is_narrow() {
            let verb = format!("impersonate-on:{}:{}", self.mode.name(), request.verb);
            self.ask(&Attributes { verb, ..request.clone() })?;
        }
        let mut user = self.wanted.clone();
        self.check_name(&mut user)?;
        if !self.wanted.uid.is_empty() {
            self.ask(&self.right(AUTHENTICATION, "uids").named(&self.wanted.uid))?;
        }
        self.check_groups()?;
        self.check_extra()?;
        if user.name == users::ANONYMOUS {
            if !user.in_group(groups::UNAUTHENTICATED) {
                user.groups.push(groups::UNAUTHENTICATED.to_owned());
            }
        } else if !user.in_group(groups::UNAUTHENTICATED) {
            user.mark_authenticated();
        }
        Ok(user)
    }

    /// Service accounts, and nodes in a narrow mode, have fixed groups.
    fn check_name(&self, user: &mut UserInfo) -> Result<(), Forbidden> {
        let group = self.user_group();
        if let Some((namespace, name)) = self.wanted.as_service_account() {
            if self.wanted.groups.is_empty() {
                user.groups = user::service_account_groups(namespace).into();
            }
            return self.ask(&self.right(group, "serviceaccounts").in_namespace(namespace).named(name));
        }
        match node_of(&self.wanted.name).filter(|_| self.is_narrow()) {
            Some(node) => {
                user.groups = vec![groups::NODES.to_owned()];
                // The right to be one's own node is held for all nodes at once.
                let name = if self.mode == Mode::AssociatedNode { "*" } else { node };
                self.ask(&self.right(group, "nodes").named(name))
            }
            None => self.ask(&self.right(group, "users").named(&self.wanted.name)),
        }
    }

    fn check_groups(&self) -> Result<(), Forbidden> {
        let wanted = &self.wanted.groups;
        let right = self.right(self.user_group(), "groups");
        if self.is_narrow() && wanted.iter().any(String::is_empty) {
            return Err(self.refuse(&right, "impersonating the empty string group is not allowed"));
        }
        if self.is_narrow() && self.wanted.is_privileged() {
            let right = right.named(groups::MASTERS);
            return Err(self.refuse(&right, "impersonating the system:masters group is not allowed"));
        }
        if self.is_narrow() && wanted.len() >= MANY && self.ask(&right.clone().named("*")).is_ok() {
            return Ok(());
        }
        wanted.iter().try_for_each(|group| self.ask(&right.clone().named(group)))
    }

    fn check_extra(&self) -> Result<(), Forbidden> {
        let wanted = &self.wanted.extra;
        let right = self.right(AUTHENTICATION, "userextras");
        if self.is_narrow() {
            if let Some(why) = wanted.iter().find_map(|(key, values)| extra_fault(key, values)) {
                return Err(self.refuse(&right, &why));
            }
            let count: usize = wanted.values().map(Vec::len).sum();
            if count >= MANY && self.ask(&right.clone().subresource("*").named("*")).is_ok() {
                return Ok(());
            }
        }
        let values = wanted.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        values.into_iter().try_for_each(|(key, value)| self.ask(&right.clone().subresource(key).named(value)))
    }

    /// Users, groups, nodes and accounts are of the core group for the old verb.
    fn user_group(&self) -> &'static str {
        if self.is_narrow() { AUTHENTICATION } else { "" }
    }

    fn right(&self, group: &str, resource: &str) -> Attributes {
        let verb = match self.mode {
            Mode::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        };
        Attributes::resource(&verb, group, resource)
    }

    fn ask(&self, right: &Attributes) -> Result<(), Forbidden> {
        self.authorizer.check(self.requester, right)
    }

    fn refuse(&self, right: &Attributes, why: &str) -> Forbidden {
        forbidden(self.requester, right, why)
    }
}

/// What is wrong with an extra entry for a narrow mode. Keys are `domain/name`.
fn extra_fault(key: &str, values: &[String]) -> Option<String> {
    let is_prefixed =
        key.split_once('/').is_some_and(|(domain, path)| user::is_dns_subdomain(domain) && !path.is_empty());
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    if !is_prefixed {
        let value = go::quote(key);
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {value}: \
             must be a domain-prefixed path (such as \"acme.io/foo\")"
        ));
    }
    let has_empty = values.iter().any(String::is_empty);
    has_empty.then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}
