//! TokenRequest: what a client may ask for, and the claims it gets.
//!
//! The API server calls [`prepare`], then admission, then [`grant`]. Both read only what they
//! are given.

use jiff::{SignedDuration, Timestamp};

use super::claims::{BoundTo, Claims, Reference};
use crate::Tree;
use crate::go;

/// Seconds the agent asks for in the name of pods. Old clients never read the token again, so
/// such a token lives a year and is only reported after this.
const POD_TOKEN_SECONDS: i64 = 3607;
/// A year.
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;
/// When the request says nothing.
const DEFAULT_SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// Why a token is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// 422 of kind TokenRequest; `name` is that of the Status.
    #[error("{field}: Invalid value: {value}: {detail}")]
    Invalid {
        /// Name in the Status: the account for metadata, else empty.
        name: String,
        /// Field path.
        field: &'static str,
        /// The value, as JSON.
        value: Tree,
        /// What is wrong.
        detail: &'static str,
    },
    /// 409; the kind takes the place of the resource.
    #[error("Operation cannot be fulfilled on {resource} {}: {detail}", go::quote(.name))]
    Conflict {
        /// `Pod`, `Secret`, `Node` or `TokenRequest.authentication.k8s.io`.
        resource: String,
        /// Group of the details.
        group: &'static str,
        /// Kind in the details.
        kind: &'static str,
        /// Object name.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// 404.
    #[error("{resource} {} not found", go::quote(.name))]
    NotFound {
        /// Plural.
        resource: &'static str,
        /// Object name.
        name: String,
    },
    /// 400.
    #[error("{0}")]
    BadRequest(String),
}

/// The stored objects a token may be bound to.
pub trait Bindable {
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<Tree>;
    /// A secret.
    fn secret(&self, namespace: &str, name: &str) -> Option<Tree>;
    /// A node.
    fn node(&self, name: &str) -> Option<Tree>;
}

/// What the server adds to a request.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Who issues.
    pub issuer: &'a str,
    /// The server's own audiences.
    pub audiences: &'a [String],
    /// Now.
    pub now: Timestamp,
    /// A new unique id.
    pub id: &'a str,
}

/// A token to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it says.
    pub claims: Claims,
    /// `status.expirationTimestamp`: what was asked for, even when the token lives longer.
    pub expiration: Timestamp,
}

/// Fills in how long the token lives.
pub fn default(request: &mut Tree) {
    if request["spec"]["expirationSeconds"].is_null() {
        request["spec"]["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
}

/// Completes a request for `account` (a stored ServiceAccount) and checks it: names, uid, audiences, lifetime. `name` and
/// `namespace` are those of the path. Call [`check_names`] before looking for the account.
pub fn prepare(request: &mut Tree, account: &Tree, terms: &Terms<'_>) -> Result<(), RequestError> {
    let stored = &account["metadata"];
    let uid = text(&stored["uid"]);
    let wanted = text(&request["metadata"]["uid"]);
    if !wanted.is_empty() && wanted != uid {
        return Err(RequestError::Conflict {
            resource: "TokenRequest.authentication.k8s.io".to_owned(),
            group: "authentication.k8s.io",
            kind: "TokenRequest",
            name: text(&stored["name"]).to_owned(),
            detail: format!(
                "the UID in the token request ({wanted}) does not match the UID of the service account ({uid})"
            ),
        });
    }
    for field in ["name", "namespace", "uid"] {
        request["metadata"][field] = stored[field].clone();
    }
    request["metadata"]["creationTimestamp"] = seconds(terms.now).to_string().into();
    if request["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        request["spec"]["audiences"] = terms.audiences.to_vec().into();
    }
    default(request);
    check_lifetime(&request["spec"]["expirationSeconds"])
}

/// The request may repeat name and namespace, but not contradict the path.
pub fn check_names(request: &Tree, namespace: &str, name: &str) -> Result<(), RequestError> {
    let checks = [
        ("name", "metadata.name", name, "must match the service account name if specified"),
        (
            "namespace",
            "metadata.namespace",
            namespace,
            "must match the service account namespace if specified",
        ),
    ];
    for (key, field, path, detail) in checks {
        let given = text(&request["metadata"][key]);
        if !given.is_empty() && given != path {
            return Err(RequestError::Invalid { name: name.to_owned(), field, value: given.into(), detail });
        }
    }
    Ok(())
}

fn check_lifetime(value: &Tree) -> Result<(), RequestError> {
    let seconds = value.as_i64().unwrap_or_default();
    let detail = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(RequestError::Invalid {
        name: String::new(),
        field: "spec.expirationSeconds",
        value: value.clone(),
        detail,
    })
}

/// The token of a prepared request.
pub fn grant(
    request: &Tree,
    account: &Tree,
    objects: &dyn Bindable,
    terms: &Terms<'_>,
) -> Result<Grant, RequestError> {
    let metadata = &account["metadata"];
    let namespace = text(&metadata["namespace"]);
    let bound = bind(&request["spec"]["boundObjectRef"], namespace, text(&metadata["name"]), objects)?;
    let audiences: Vec<String> = strings(&request["spec"]["audiences"]);
    let asked = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);

    let for_api = audiences.iter().all(|audience| terms.audiences.contains(audience));
    let extend = asked == POD_TOKEN_SECONDS && for_api && matches!(bound, BoundTo::Pod { .. });
    let now = terms.now.as_second();
    let claims = Claims {
        audiences,
        expires: now + if extend { EXTENDED_SECONDS } else { asked },
        issued: now,
        issuer: terms.issuer.to_owned(),
        id: terms.id.to_owned(),
        not_before: now,
        namespace: namespace.to_owned(),
        account: reference(account),
        bound,
        warn_after: extend.then_some(now + asked),
    };
    Ok(Grant { claims, expiration: seconds(terms.now) + SignedDuration::from_secs(asked) })
}

fn bind(
    wanted: &Tree,
    namespace: &str,
    account: &str,
    objects: &dyn Bindable,
) -> Result<BoundTo, RequestError> {
    if !wanted.is_object() {
        return Ok(BoundTo::Account);
    }
    let (version, kind, name) = (text(&wanted["apiVersion"]), text(&wanted["kind"]), text(&wanted["name"]));
    let missing = |resource| match name {
        "" => RequestError::BadRequest("Name parameter required.".to_owned()),
        name => RequestError::NotFound { resource, name: name.to_owned() },
    };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let (kind, object, bound) = match (group, kind) {
        ("", "Pod") => {
            let pod = objects.pod(namespace, name).ok_or_else(|| missing("pods"))?;
            if text(&pod["spec"]["serviceAccountName"]) != account {
                return Err(RequestError::BadRequest(format!(
                    "cannot bind token for serviceaccount {} to pod running with different serviceaccount name.",
                    go::quote(account)
                )));
            }
            let bound = BoundTo::Pod { pod: reference(&pod), node: node_of(&pod, objects) };
            ("Pod", pod, bound)
        }
        ("", "Node") => {
            let node = objects.node(name).ok_or_else(|| missing("nodes"))?;
            let bound = BoundTo::Node(reference(&node));
            ("Node", node, bound)
        }
        ("", "Secret") => {
            let secret = objects.secret(namespace, name).ok_or_else(|| missing("secrets"))?;
            let bound = BoundTo::Secret(reference(&secret));
            ("Secret", secret, bound)
        }
        _ => {
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(RequestError::BadRequest(why));
        }
    };
    let uid = text(&wanted["uid"]);
    if !uid.is_empty() && uid != text(&object["metadata"]["uid"]) {
        return Err(RequestError::Conflict {
            resource: kind.to_owned(),
            group: "",
            kind,
            name: name.to_owned(),
            detail: format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            ),
        });
    }
    Ok(bound)
}

/// The node a pod runs on; without uid when it does not exist.
fn node_of(pod: &Tree, objects: &dyn Bindable) -> Option<Reference> {
    let name = Some(text(&pod["spec"]["nodeName"])).filter(|name| !name.is_empty())?;
    let unknown = || Reference { name: name.to_owned(), uid: String::new() };
    Some(objects.node(name).map_or_else(unknown, |node| reference(&node)))
}

fn reference(object: &Tree) -> Reference {
    let field = |name: &str| text(&object["metadata"][name]).to_owned();
    Reference { name: field("name"), uid: field("uid") }
}

/// API times have whole seconds.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("a second of a timestamp is one")
}

fn text(tree: &Tree) -> &str {
    tree.as_str().unwrap_or_default()
}

fn strings(tree: &Tree) -> Vec<String> {
    let items = tree.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Tree::as_str).map(str::to_owned).collect()
}
