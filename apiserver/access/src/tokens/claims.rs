//! What a token says.

use serde::{Deserialize, Serialize};

use crate::user::{UserInfo, service_account_username};

/// A name with the uid it had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Object name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Object uid; empty for a node that did not exist when the token was issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What else must exist for the token to be good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum BoundTo {
    /// Only the service account.
    #[default]
    Account,
    /// A pod; the node it runs on is told, not checked.
    Pod {
        /// The pod.
        pod: Reference,
        /// Its node.
        node: Option<Reference>,
    },
    /// A secret.
    Secret(Reference),
    /// A node.
    Node(Reference),
}

/// The claims of one token. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claims {
    /// Who may accept the token.
    pub audiences: Vec<String>,
    /// Last second it is good.
    pub expires: i64,
    /// When it was issued.
    pub issued: i64,
    /// Who issued it.
    pub issuer: String,
    /// Unique id of the token.
    pub id: String,
    /// First second it is good.
    pub not_before: i64,
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub account: Reference,
    /// What else it is bound to.
    pub bound: BoundTo,
    /// From when on its use is reported: the client should have asked for a new one.
    pub warn_after: Option<i64>,
}

impl Claims {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub fn subject(&self) -> String {
        service_account_username(&self.namespace, &self.account.name)
    }

    /// The user who shows this token.
    pub fn user(&self) -> UserInfo {
        let mut user = UserInfo::service_account(&self.namespace, &self.account.name, &self.account.uid);
        let mut extra = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        if !self.id.is_empty() {
            extra("credential-id", &format!("JTI={}", self.id));
        }
        let node = match &self.bound {
            BoundTo::Pod { pod, node } => {
                extra("pod-name", &pod.name);
                extra("pod-uid", &pod.uid);
                node.as_ref()
            }
            BoundTo::Node(node) => Some(node),
            BoundTo::Account | BoundTo::Secret(_) => None,
        };
        if let Some(node) = node {
            extra("node-name", &node.name);
            extra("node-uid", &node.uid);
        }
        user
    }

    /// The token's payload.
    pub fn payload(&self) -> Vec<u8> {
        let (pod, secret, node) = match &self.bound {
            BoundTo::Account => (None, None, None),
            BoundTo::Pod { pod, node } => (Some(pod.clone()), None, node.clone()),
            BoundTo::Secret(secret) => (None, Some(secret.clone()), None),
            BoundTo::Node(node) => (None, None, Some(node.clone())),
        };
        let payload = Payload {
            aud: Audiences::Many(self.audiences.clone()),
            exp: Some(self.expires),
            iat: Some(self.issued),
            iss: self.issuer.clone(),
            jti: self.id.clone(),
            kubernetes: Kubernetes {
                namespace: self.namespace.clone(),
                node,
                pod,
                secret,
                serviceaccount: self.account.clone(),
                warnafter: self.warn_after,
            },
            nbf: Some(self.not_before),
            sub: self.subject(),
        };
        serde_json::to_vec(&payload).expect("claims are plain strings and numbers")
    }

    /// Reads a payload whose signature has been checked; `None` when it is not of a service account.
    pub fn from_payload(payload: &[u8]) -> Option<Claims> {
        let payload: Payload = serde_json::from_slice(payload).ok()?;
        let Kubernetes { namespace, node, pod, secret, serviceaccount, warnafter } = payload.kubernetes;
        let bound = match (pod, secret, node) {
            (Some(pod), _, node) => BoundTo::Pod { pod, node },
            (None, Some(secret), _) => BoundTo::Secret(secret),
            (None, None, Some(node)) => BoundTo::Node(node),
            (None, None, None) => BoundTo::Account,
        };
        let claims = Claims {
            audiences: payload.aud.into_list(),
            expires: payload.exp?,
            issued: payload.iat.unwrap_or_default(),
            issuer: payload.iss,
            id: payload.jti,
            not_before: payload.nbf.unwrap_or_default(),
            namespace,
            account: serviceaccount,
            bound,
            warn_after: warnafter.filter(|at| *at != 0),
        };
        (payload.sub == claims.subject()).then_some(claims)
    }
}

/// The issuer a payload names, unchecked.
pub(crate) fn peek_issuer(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        #[serde(default)]
        iss: String,
    }
    serde_json::from_slice::<Issuer>(payload).ok().map(|payload| payload.iss)
}

/// The payload on the wire, fields in alphabetical order.
#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(default)]
    aud: Audiences,
    exp: Option<i64>,
    iat: Option<i64>,
    iss: String,
    #[serde(default)]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
    nbf: Option<i64>,
    sub: String,
}

#[derive(Serialize, Deserialize)]
struct Kubernetes {
    #[serde(default)]
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Reference>,
    #[serde(default)]
    serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warnafter: Option<i64>,
}

/// One audience may be written without a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Audiences {
        Audiences::Many(Vec::new())
    }
}

impl Audiences {
    fn into_list(self) -> Vec<String> {
        match self {
            Audiences::One(audience) => vec![audience],
            Audiences::Many(audiences) => audiences,
        }
    }
}
