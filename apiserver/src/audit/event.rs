//! An audit event as a line of JSON, `audit.k8s.io/v1`. What is known when a request comes is written once; each stage adds
//! the rest.

use super::policy::{Decision, Level, Stage};
use crate::request_info::RequestInfo;
use access::UserInfo;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use mvcc::Key;
use schema::Tree;
use serde::Serialize;
use serde_json::json;
use std::net::IpAddr;

/// Times of events have microseconds.
static TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
/// Bytes of an ordinary event of level Metadata.
const EVENT_BYTES: usize = 1024;
/// Longest user agent that is recorded.
const USER_AGENT_MAX: usize = 1024;

/// What is known of a request when it comes.
pub(crate) struct Arrival<'a> {
    pub(crate) audit_id: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) info: &'a RequestInfo,
    pub(crate) user: &'a UserInfo,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) user_agent: &'a str,
    pub(crate) at: Timestamp,
}

/// What became of a request.
#[derive(Default)]
pub(crate) struct Outcome<'a> {
    pub(crate) code: u16,
    /// The Status of a failure.
    pub(crate) status: Option<&'a Tree>,
    pub(crate) request: Option<&'a Tree>,
    pub(crate) response: Option<&'a Tree>,
}

/// A request that is recorded.
pub(crate) struct Draft {
    pub(crate) decision: Decision,
    /// The event's fields from `requestURI` to `userAgent`, without the impersonated user.
    arrival: Vec<u8>,
    audit_id: String,
    impersonated: Option<Vec<u8>>,
    object: Object,
    received: Timestamp,
    /// `allow` or `forbid`, with the reason.
    authorization: Option<(&'static str, String)>,
}

/// `objectRef`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl Draft {
    pub(crate) fn new(arrival: &Arrival<'_>, decision: Decision) -> Self {
        let mut out = Vec::with_capacity(EVENT_BYTES);
        member("requestURI", &arrival.uri, &mut out);
        member("verb", &arrival.info.verb, &mut out);
        member("user", arrival.user, &mut out);
        if !arrival.sources.is_empty() {
            member("sourceIPs", &arrival.sources, &mut out);
        }
        if !arrival.user_agent.is_empty() {
            let mut end = arrival.user_agent.len().min(USER_AGENT_MAX);
            while !arrival.user_agent.is_char_boundary(end) {
                end -= 1;
            }
            member("userAgent", &arrival.user_agent[..end], &mut out);
        }
        Self {
            decision,
            arrival: out,
            audit_id: arrival.audit_id.to_owned(),
            impersonated: None,
            object: Object::of(arrival.info),
            received: arrival.at,
            authorization: None,
        }
    }

    /// Somebody else is acted for.
    pub(crate) fn impersonates(&mut self, user: &UserInfo) {
        let mut out = Vec::new();
        member("impersonatedUser", user, &mut out);
        self.impersonated = Some(out);
    }

    /// Whether the request may, and why.
    pub(crate) fn authorized(&mut self, decision: &'static str, reason: String) {
        self.authorization = Some((decision, reason));
    }

    /// The name that a created object got.
    pub(crate) fn names(&mut self, key: &Key) {
        if self.object.name.is_empty() {
            key.name.as_ref().clone_into(&mut self.object.name);
        }
    }

    /// The line of a stage.
    pub(crate) fn line(&self, stage: Stage, outcome: Option<&Outcome<'_>>, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.arrival.len() + EVENT_BYTES);
        out.extend_from_slice(b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"");
        member("level", self.decision.level.name(), &mut out);
        member("auditID", &self.audit_id, &mut out);
        member("stage", stage.name(), &mut out);
        out.extend_from_slice(&self.arrival);
        out.extend_from_slice(self.impersonated.as_deref().unwrap_or_default());
        if !self.object.resource.is_empty() {
            member("objectRef", &self.object, &mut out);
        }
        if let Some(outcome) = outcome {
            self.write_outcome(outcome, &mut out);
        }
        member("requestReceivedTimestamp", &TIME.timestamp_to_string(&self.received), &mut out);
        member("stageTimestamp", &TIME.timestamp_to_string(&now), &mut out);
        if let Some((decision, reason)) = &self.authorization {
            let annotations =
                json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason});
            member("annotations", &annotations, &mut out);
        }
        out.extend_from_slice(b"}\n");
        out
    }

    fn write_outcome(&self, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        match outcome.status {
            Some(status) => {
                let mut status = status.clone();
                if let Some(status) = status.as_object_mut() {
                    status.retain(|key, _| key != "kind" && key != "apiVersion");
                }
                member("responseStatus", &status, out);
            }
            None => {
                out.extend_from_slice(b",\"responseStatus\":{\"metadata\":{},\"code\":");
                out.extend_from_slice(outcome.code.to_string().as_bytes());
                out.push(b'}');
            }
        }
        let bodies = [
            ("requestObject", Level::Request, outcome.request),
            ("responseObject", Level::RequestResponse, outcome.response),
        ];
        for (name, level, body) in bodies {
            if let Some(body) = body.filter(|_| self.decision.level >= level) {
                if self.decision.omit_managed_fields {
                    member(name, &without_managed_fields(body), out);
                } else {
                    member(name, body, out);
                }
            }
        }
    }
}

impl Object {
    fn of(info: &RequestInfo) -> Self {
        if !info.is_resource {
            return Self::default();
        }
        Self {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
        }
    }
}

/// Of an object, or of each item of a list.
fn without_managed_fields(body: &Tree) -> Tree {
    let mut body = body.clone();
    let strip = |object: &mut Tree| {
        if let Some(Tree::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    };
    strip(&mut body);
    body.get_mut("items").and_then(Tree::as_array_mut).into_iter().flatten().for_each(strip);
    body
}

fn member<T: Serialize + ?Sized>(name: &str, value: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    serde_json::to_writer(&mut *out, value).expect("plain values encode into memory");
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;

    fn draft(level: &str, more: &str) -> Draft {
        let policy =
            format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{{level: {level}{more}}}]}}");
        let info = RequestInfo {
            is_resource: true,
            verb: "create".into(),
            namespace: "default".into(),
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            ..RequestInfo::default()
        };
        let user = UserInfo::authenticated("admin", &["system:masters"]);
        let arrival = Arrival {
            audit_id: "id",
            uri: "/apis/apps/v1/namespaces/default/deployments?x=1",
            info: &info,
            user: &user,
            sources: vec![IpAddr::from([127, 0, 0, 1])],
            user_agent: "kubectl/v1",
            at: Timestamp::UNIX_EPOCH,
        };
        let policy = Policy::parse(&policy).expect("a policy");
        Draft::new(&arrival, policy.decide(&user, &info).clone())
    }

    fn read(line: &[u8]) -> Tree {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(line).expect("JSON")
    }

    #[test]
    fn an_event_tells_who_did_what_and_when() {
        let mut draft = draft("Metadata", "");
        draft.names(&Key::new("deployments.apps", "default", "web"));
        draft.authorized("allow", String::new());
        draft.impersonates(&UserInfo::new("jane", &[]));
        let outcome = Outcome { code: 201, request: Some(&json!({"a": 1})), ..Outcome::default() };
        let now = Timestamp::from_millisecond(1500).expect("a time");
        assert_eq!(
            read(&draft.line(Stage::ResponseComplete, Some(&outcome), now)),
            json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "id",
                "stage": "ResponseComplete", "requestURI": "/apis/apps/v1/namespaces/default/deployments?x=1",
                "verb": "create",
                "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
                "impersonatedUser": {"username": "jane"},
                "sourceIPs": ["127.0.0.1"], "userAgent": "kubectl/v1",
                "objectRef": {
                    "resource": "deployments", "namespace": "default", "name": "web", "apiGroup": "apps",
                    "apiVersion": "v1",
                },
                "responseStatus": {"metadata": {}, "code": 201},
                "requestReceivedTimestamp": "1970-01-01T00:00:00.000000Z",
                "stageTimestamp": "1970-01-01T00:00:01.500000Z",
                "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
            })
        );
    }

    #[test]
    fn bodies_come_with_their_levels() {
        let body = json!({"metadata": {"name": "a", "managedFields": [1]}});
        let outcome =
            Outcome { code: 200, request: Some(&body), response: Some(&body), ..Outcome::default() };
        let event = |level: &str, more: &str| {
            read(&draft(level, more).line(Stage::ResponseComplete, Some(&outcome), Timestamp::UNIX_EPOCH))
        };
        let request = event("Request", "");
        assert_eq!((&request["requestObject"], &request["responseObject"]), (&body, &Tree::Null));
        let both = event("RequestResponse", ", omitManagedFields: true");
        let stripped = json!({"metadata": {"name": "a"}});
        assert_eq!((&both["requestObject"], &both["responseObject"]), (&stripped, &stripped));
    }

    #[test]
    fn a_failure_has_its_status() {
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404});
        let outcome = Outcome { code: 404, status: Some(&status), ..Outcome::default() };
        let event = read(&draft("Metadata", "").line(Stage::Panic, Some(&outcome), Timestamp::UNIX_EPOCH));
        assert_eq!(event["responseStatus"], json!({"metadata": {}, "status": "Failure", "code": 404}));
    }
}
