//! An audit event as a line of JSON, `audit.k8s.io/v1`. What is known when a request comes is held on to by reference and
//! written with each stage's line, so that a request costs one pass over its event and no copy.

use super::policy::{Decision, Level, Stage};
use crate::context::Sent;
use crate::request_info::RequestInfo;
use access::{UserInfo, rbac};
use http::{HeaderValue, Uri};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use mvcc::Key;
use schema::Tree;
use serde::{Serialize, Serializer};
use std::net::IpAddr;
use std::sync::Arc;

/// Times of events have microseconds.
static TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
/// Longest user agent that is recorded.
const USER_AGENT_MAX: usize = 1024;

/// What is known of a request when it comes.
pub(crate) struct Arrival {
    pub(crate) audit_id: HeaderValue,
    pub(crate) uri: Uri,
    pub(crate) info: Arc<RequestInfo>,
    pub(crate) user: Arc<UserInfo>,
    pub(crate) sources: Sources,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) at: Timestamp,
}

/// The addresses a request came by.
pub(crate) struct Sources {
    /// As proxies tell.
    pub(crate) told: Vec<IpAddr>,
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
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
    arrival: Arrival,
    impersonated: Option<Arc<UserInfo>>,
    /// The object in the body.
    sent: Sent,
    /// The name that a created object got.
    name: Option<Arc<str>>,
    authorization: Option<rbac::Decision>,
}

/// `objectRef`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    resource_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

/// `annotations`.
#[derive(Serialize)]
struct Annotations<'a> {
    #[serde(rename = "authorization.k8s.io/decision")]
    decision: &'static str,
    #[serde(rename = "authorization.k8s.io/reason")]
    reason: &'a str,
}

impl Draft {
    pub(crate) fn new(arrival: Arrival, decision: Decision) -> Self {
        Self { decision, arrival, impersonated: None, sent: Sent::default(), name: None, authorization: None }
    }

    /// When the request came.
    pub(crate) fn received(&self) -> Timestamp {
        self.arrival.at
    }

    /// Somebody else is acted for.
    pub(crate) fn impersonates(&mut self, user: Arc<UserInfo>) {
        self.impersonated = Some(user);
    }

    /// Whether the request may, and why.
    pub(crate) fn authorized(&mut self, decision: rbac::Decision) {
        self.authorization = Some(decision);
    }

    /// The object that was sent along.
    pub(crate) fn was_sent(&mut self, object: Sent) {
        self.sent = object;
    }

    /// The name that a created object got.
    pub(crate) fn names(&mut self, key: &Key) {
        self.name = Some(key.name.clone());
    }

    /// Writes the line of a stage.
    pub(crate) fn write(
        &self,
        stage: Stage,
        outcome: Option<&Outcome<'_>>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"");
        member("level", self.decision.level.name(), out);
        member("auditID", text(&self.arrival.audit_id), out);
        member("stage", stage.name(), out);
        self.write_arrival(out);
        if let Some(outcome) = outcome {
            self.write_outcome(outcome, out);
        }
        write_time("requestReceivedTimestamp", self.arrival.at, out);
        write_time("stageTimestamp", now, out);
        if let Some(authorization) = &self.authorization {
            let decision = if authorization.is_allowed() { "allow" } else { "forbid" };
            member("annotations", &Annotations { decision, reason: authorization.reason() }, out);
        }
        out.extend_from_slice(b"}\n");
    }

    /// The fields from `requestURI` to `objectRef`.
    fn write_arrival(&self, out: &mut Vec<u8>) {
        let Arrival { uri, info, user, sources, user_agent, .. } = &self.arrival;
        member("requestURI", uri.path_and_query().map_or("/", |both| both.as_str()), out);
        member("verb", &info.verb, out);
        member("user", &**user, out);
        if let Some(user) = &self.impersonated {
            member("impersonatedUser", &**user, out);
        }
        member("sourceIPs", sources, out);
        match user_agent.as_ref().map_or("", text) {
            "" => {}
            agent => member("userAgent", &agent[..agent.len().min(USER_AGENT_MAX)], out),
        }
        if info.is_resource && !info.resource.is_empty() {
            member("objectRef", &self.object(), out);
        }
    }

    fn object(&self) -> Object<'_> {
        let (info, sent) = (&self.arrival.info, &self.sent);
        let names = [info.name.as_str(), self.name.as_deref().unwrap_or_default(), &sent.name];
        Object {
            resource: &info.resource,
            namespace: &info.namespace,
            name: names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(),
            uid: &sent.uid,
            api_group: &info.group,
            api_version: &info.version,
            resource_version: &sent.resource_version,
            subresource: &info.subresource,
        }
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
                out.extend_from_slice(b",\"responseStatus\":{\"metadata\":{}");
                member("code", &outcome.code, out);
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

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = Some(&self.peer).filter(|peer| !self.told.contains(peer));
        serializer.collect_seq(self.told.iter().chain(own))
    }
}

/// A header's text; nothing when it is none, which makes it ASCII.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
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

fn write_time(name: &str, time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    TIME.print_timestamp(&time, &mut *out).expect("vectors take every write");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;
    use serde_json::json;

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
        let arrival = Arrival {
            audit_id: HeaderValue::from_static("id"),
            uri: Uri::from_static("/apis/apps/v1/namespaces/default/deployments?x=1"),
            info: Arc::new(info),
            user: Arc::new(UserInfo::authenticated("admin", &["system:masters"])),
            sources: Sources { told: Vec::new(), peer: IpAddr::from([127, 0, 0, 1]) },
            user_agent: Some(HeaderValue::from_static("kubectl/v1")),
            at: Timestamp::UNIX_EPOCH,
        };
        let policy = Policy::parse(&policy).expect("a policy");
        let decision = *policy.decide(&arrival.user, &arrival.info);
        Draft::new(arrival, decision)
    }

    fn line(draft: &Draft, stage: Stage, outcome: &Outcome<'_>, now: Timestamp) -> Tree {
        let mut out = Vec::new();
        draft.write(stage, Some(outcome), now, &mut out);
        read(&out)
    }

    fn read(line: &[u8]) -> Tree {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(line).expect("JSON")
    }

    #[test]
    fn an_event_tells_who_did_what_and_when() {
        let mut draft = draft("Metadata", "");
        draft.names(&Key::new("deployments.apps", "default", "web"));
        draft.authorized(rbac::Decision::Allow(None));
        draft.impersonates(Arc::new(UserInfo::new("jane", &[])));
        let outcome = Outcome { code: 201, request: Some(&json!({"a": 1})), ..Outcome::default() };
        let now = Timestamp::from_millisecond(1500).expect("a time");
        assert_eq!(
            line(&draft, Stage::ResponseComplete, &outcome, now),
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
            line(&draft(level, more), Stage::ResponseComplete, &outcome, Timestamp::UNIX_EPOCH)
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
        let event = line(&draft("Metadata", ""), Stage::Panic, &outcome, Timestamp::UNIX_EPOCH);
        assert_eq!(event["responseStatus"], json!({"metadata": {}, "status": "Failure", "code": 404}));
    }

    #[test]
    fn addresses_are_named_once_and_a_refusal_says_why() {
        let mut draft = draft("Metadata", "");
        let peer = IpAddr::from([10, 0, 0, 1]);
        let client = IpAddr::from([192, 0, 2, 7]);
        draft.arrival.sources = Sources { told: vec![client, peer], peer };
        draft.authorized(rbac::Decision::NoOpinion("RBAC: no".into()));
        let event = line(&draft, Stage::ResponseComplete, &Outcome::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(event["sourceIPs"], json!(["192.0.2.7", "10.0.0.1"]));
        let why =
            json!({"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": "RBAC: no"});
        assert_eq!(event["annotations"], why);
    }
}
