//! What happens next to a request for a certificate. Knows no keys: what is inside the request comes in as facts.

use jiff::{SignedDuration, Timestamp};
use runtime::Metadata;
use serde::Deserialize;

/// The signers of this cluster; requests for others are somebody else's.
const SIGNERS: [&str; 4] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];

/// How long a request stays that was decided, and that is not.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const UNDECIDED: SignedDuration = SignedDuration::from_hours(24);

/// A CertificateSigningRequest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SigningRequest {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) signer_name: String,
    pub(crate) username: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) certificate: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    pub(crate) r#type: String,
    pub(crate) last_update_time: Option<Timestamp>,
}

/// What is inside a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Common name of its subject.
    pub common_name: String,
    /// Whether a node agent asks for its client certificate, in the form that is approved by rule.
    pub is_kubelet_client: bool,
    /// Why its signer does not take it, if it does not.
    pub refusal: Option<String>,
}

/// A right with which a request is approved by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The subresource of requests that the requester may create.
    pub(crate) subresource: &'static str,
    /// What the approval says.
    pub(crate) message: &'static str,
}

const OWN: Rule = Rule {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const ANY: Rule = Rule {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Until this moment nothing happens by itself.
    Wait(Option<Timestamp>),
    /// It has been here long enough.
    Delete,
    /// Approve if the requester has one of these rights.
    Approve(Vec<Rule>),
    /// The signer does not take it.
    Fail(String),
    Sign,
}

impl SigningRequest {
    fn condition(&self, name: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.r#type == name)
    }

    fn has(&self, name: &str) -> bool {
        self.condition(name).is_some()
    }

    fn issued(&self) -> bool {
        !self.status.certificate.is_empty()
    }

    /// Whether anybody has to look inside.
    pub(crate) fn is_open(&self) -> bool {
        let undecided = !self.has("Approved") && !self.has("Denied");
        !self.issued() && (undecided || (self.has("Approved") && !self.has("Failed")))
    }
}

/// The next step of a request. `facts` are absent when it cannot be read.
pub(crate) fn plan(csr: &SigningRequest, facts: Option<&RequestFacts>, now: Timestamp) -> Action {
    let end = end(csr);
    if end.is_some_and(|end| now > end) {
        return Action::Delete;
    }
    let wait = Action::Wait(end);
    let (true, Some(facts)) = (csr.is_open(), facts) else { return wait };
    if csr.has("Approved") {
        return match &facts.refusal {
            _ if !SIGNERS.contains(&csr.spec.signer_name.as_str()) => wait,
            Some(text) => Action::Fail(text.clone()),
            None => Action::Sign,
        };
    }
    if !facts.is_kubelet_client {
        return wait;
    }
    let is_own = csr.spec.username == facts.common_name;
    Action::Approve(if is_own { vec![OWN, ANY] } else { vec![ANY] })
}

/// When a request goes: an hour after it was decided for good, a day after that nobody cares for.
fn end(csr: &SigningRequest) -> Option<Timestamp> {
    let since = |name: &str, stay: SignedDuration| Some(csr.condition(name)?.last_update_time? + stay);
    let approved = if csr.issued() { DECIDED } else { UNDECIDED };
    let unhandled = csr.status.conditions.is_empty();
    let created = csr.metadata.creation_timestamp.filter(|_| unhandled).map(|at| at + UNDECIDED);
    [since("Denied", DECIDED), since("Failed", DECIDED), since("Approved", approved), created]
        .into_iter()
        .flatten()
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-02T00:00:00Z";

    /// `SIGNER CONDITIONS [cert]` with each condition as `Type@MINUTES`, minutes ago; `-` for none.
    fn check(text: &str, facts: Option<RequestFacts>, expected: Action) {
        let words: Vec<&str> = text.split(' ').collect();
        let now: Timestamp = NOW.parse().expect("a time");
        let conditions: Vec<Value> = words[1]
            .split(',')
            .filter_map(|word| word.split_once('@'))
            .map(|(name, minutes)| {
                let ago = SignedDuration::from_mins(minutes.parse().expect("minutes"));
                json!({ "type": name, "status": "True", "lastUpdateTime": (now - ago).to_string() })
            })
            .collect();
        let certificate = if words.contains(&"cert") { "Zm9v" } else { "" };
        let csr: SigningRequest = serde_json::from_value(json!({
            "metadata": { "name": "c", "creationTimestamp": "2026-01-01T12:00:00Z" },
            "spec": { "signerName": format!("kubernetes.io/{}", words[0]), "username": "system:node:a" },
            "status": { "conditions": conditions, "certificate": certificate },
        }))
        .expect("a request");
        assert_eq!(plan(&csr, facts.as_ref(), now), expected, "{text}");
    }

    fn node(name: &str) -> Option<RequestFacts> {
        Some(RequestFacts { common_name: name.to_owned(), is_kubelet_client: true, refusal: None })
    }

    fn other() -> Option<RequestFacts> {
        Some(RequestFacts::default())
    }

    fn after(hours: i64, minutes: i64) -> Action {
        let now: Timestamp = NOW.parse().expect("a time");
        Action::Wait(Some(now + SignedDuration::from_mins(hours * 60 - minutes)))
    }

    #[test]
    fn node_agents_are_approved_by_rule_and_nobody_else() {
        check("kube-apiserver-client-kubelet -", node("system:node:a"), Action::Approve(vec![OWN, ANY]));
        check("kube-apiserver-client-kubelet -", node("system:node:b"), Action::Approve(vec![ANY]));
        check("kubelet-serving -", other(), after(12, 0));
        check("kube-apiserver-client-kubelet -", None, after(12, 0));
        check("kube-apiserver-client-kubelet Denied@5", node("system:node:a"), after(1, 5));
    }

    #[test]
    fn what_is_approved_is_signed_or_fails() {
        let refused = || Some(RequestFacts { refusal: Some("no".to_owned()), ..RequestFacts::default() });
        check("kube-apiserver-client Approved@5", other(), Action::Sign);
        check("legacy-unknown Approved@5", other(), Action::Sign);
        check("kubelet-serving Approved@5", refused(), Action::Fail("no".to_owned()));
        check("kubelet-serving Approved@5,Failed@5", refused(), after(1, 5));
        check("kubelet-serving Approved@5 cert", other(), after(1, 5));
        check("somebody-else Approved@5", refused(), after(24, 5));
    }

    #[test]
    fn requests_go_when_nobody_needs_them() {
        check("kubelet-serving Approved@61 cert", other(), Action::Delete);
        check("somebody-else Approved@61", other(), after(24, 61));
        check("somebody-else Approved@1441", other(), Action::Delete);
        check("kubelet-serving Denied@61", other(), Action::Delete);
    }
}
