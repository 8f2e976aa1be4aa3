//! What is noted of a request while it is answered: for the audit log and for the counts. Decides nothing about the answer,
//! which passes through [`Seen::conclude`] last.

use crate::audit::{Arrival, Draft, Level, Outcome, Sources, Stage};
use crate::catalog::Kind;
use crate::context;
use crate::flow::{Flows, Granted, Watched};
use crate::metrics::Labels;
use crate::negotiate;
use crate::negotiate::Format;
use crate::query::Query;
use crate::reply::Reply;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use access::{UserInfo, rbac};
use axum::body::Body;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Uri};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use mvcc::Key;
use schema::Tree;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// The key of an object whose name the request did not tell; put into an answer's extensions.
#[derive(Clone)]
pub(crate) struct Named(pub(crate) Key);

/// What lives as long as a connection that is handed over with an answer: whoever works with it keeps one, and another is put
/// into the answer's extensions.
#[derive(Clone, Default)]
pub(crate) struct Lasting(Arc<Mutex<Option<Streaming>>>);

/// A body as it was sent, for the audit log.
struct Sent {
    bytes: Bytes,
    format: Option<Format>,
    kind: &'static Kind,
}

/// One request.
pub(crate) struct Seen {
    server: Arc<Inner>,
    audit_id: HeaderValue,
    began: Duration,
    labels: Option<Labels>,
    /// Whether it counts as in flight, and as which.
    in_flight: Option<bool>,
    is_stream: bool,
    draft: Option<Draft>,
    sent: Option<Sent>,
    granted: Option<Granted>,
    /// The schema it was admitted or refused under.
    flows: Option<Arc<Flows>>,
    /// It is counted as a watch as long as it lasts.
    watched: Option<Watched>,
}

impl Seen {
    pub(crate) fn new(server: Arc<Inner>, audit_id: HeaderValue) -> Self {
        let began = server.seams.clock.now();
        Self {
            server,
            audit_id,
            began,
            labels: None,
            in_flight: None,
            is_stream: false,
            draft: None,
            sent: None,
            granted: None,
            flows: None,
            watched: None,
        }
    }

    /// What the request is about is known.
    pub(crate) fn is_about(&mut self, info: &RequestInfo, kind: Option<&'static Kind>, query: &Query) {
        self.is_stream = info.is_long_running();
        self.labels = Some(Labels::of(info, kind, query.first("dryRun").is_some()));
        if !self.is_stream {
            let mutating = matches!(
                &*info.verb,
                "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put"
            );
            self.server.metrics.in_flight(mutating, 1);
            self.in_flight = Some(mutating);
        }
    }

    /// Who asks is known, or that nobody may be believed.
    pub(crate) fn is_from(
        &mut self,
        user: &Arc<UserInfo>,
        info: &Arc<RequestInfo>,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) {
        let Some(audit) = &self.server.config.audit else { return };
        self.draft = audit.begin(Arrival {
            audit_id: self.audit_id.clone(),
            uri: uri.clone(),
            info: info.clone(),
            user: user.clone(),
            sources: sources(headers, peer),
            user_agent: headers.get(USER_AGENT).cloned(),
            at: crate::clock::now(&self.server.seams),
        });
    }

    /// Somebody else is acted for.
    pub(crate) fn acts_for(&mut self, user: &Arc<UserInfo>) {
        if let Some(draft) = &mut self.draft {
            draft.impersonates(user.clone());
        }
    }

    /// Whether the user may, and why.
    pub(crate) fn may(&mut self, decision: rbac::Decision) {
        if let Some(draft) = &mut self.draft {
            draft.authorized(decision);
        }
    }

    /// The schema it falls under, if any.
    pub(crate) fn is_under(&mut self, flows: Option<Arc<Flows>>) {
        self.flows = flows;
    }

    /// It is a watch that writers pay for.
    pub(crate) fn watches(&mut self, watched: Option<Watched>) {
        self.watched = watched;
    }

    /// The seats it holds until it is answered.
    pub(crate) fn holds(&mut self, granted: Granted) {
        self.granted = Some(granted);
    }

    /// What was sent along.
    pub(crate) fn sends(&mut self, kind: &'static Kind, content_type: &str, bytes: &Bytes) {
        let wanted = self.draft.as_ref().is_some_and(|draft| draft.decision.level >= Level::Request);
        if wanted && !bytes.is_empty() {
            let format = negotiate::body_format(content_type).ok();
            self.sent = Some(Sent { bytes: bytes.clone(), format, kind });
        }
    }

    /// The object that was sent along, if one was.
    pub(crate) fn was_sent(&mut self, object: Option<context::Sent>) {
        if let (Some(draft), Some(object)) = (&mut self.draft, object) {
            draft.was_sent(object);
        }
    }

    /// Counts and records the answer, and passes it on.
    pub(crate) async fn conclude(mut self, mut reply: Reply, failure: Option<Tree>, panicked: bool) -> Reply {
        let code = reply.status().as_u16();
        let granted = self.granted.take();
        if let Some(flows) = &self.flows {
            flows.tell(reply.headers_mut());
        }
        if let Some(labels) = self.labels {
            let took = self.server.seams.clock.now().saturating_sub(self.began);
            self.server.metrics.answered(labels, code, (!self.is_stream).then_some(took));
        }
        if let (Some(draft), Some(Named(key))) = (&mut self.draft, reply.extensions().get()) {
            draft.names(key);
        }
        let streams = self.is_stream && failure.is_none();
        if streams {
            self.record(Stage::ResponseStarted, code, None, None);
            if let Some(labels) = self.labels {
                self.server.metrics.streams(labels, 1);
            }
            let streaming = Streaming { seen: self, code };
            if let Some(Lasting(kept)) = reply.extensions_mut().remove() {
                *kept.lock().expect("no panic while the lock is held") = Some(streaming);
                return reply;
            }
            return reply.map(|body| Body::new(Held { body, _kept: streaming }));
        }
        let mut response = None;
        if self.draft.as_ref().is_some_and(|draft| draft.decision.level == Level::RequestResponse) {
            (reply, response) = read_back(reply).await;
        }
        let stage = if panicked { Stage::Panic } else { Stage::ResponseComplete };
        self.record(stage, code, failure.as_ref(), response.as_ref());
        // An answer in pieces is at work until the last of them is sent.
        if granted.is_some() && reply.body().size_hint().exact().is_none() {
            return reply.map(|body| Body::new(Held { body, _kept: granted }));
        }
        reply
    }

    fn record(&self, stage: Stage, code: u16, status: Option<&Tree>, response: Option<&Tree>) {
        let (Some(audit), Some(draft)) = (&self.server.config.audit, &self.draft) else { return };
        let request = self.sent.as_ref().and_then(Sent::tree);
        let outcome = Outcome { code, status, request: request.as_ref(), response };
        audit.record(draft, stage, Some(&outcome), crate::clock::now(&self.server.seams));
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if let Some(mutating) = self.in_flight {
            self.server.metrics.in_flight(mutating, -1);
        }
    }
}

impl Sent {
    fn tree(&self) -> Option<Tree> {
        match self.format {
            Some(Format::Protobuf) => crate::protobuf::decode(self.kind.schema, &self.bytes).ok(),
            Some(Format::Yaml) => schema::decode::yaml(&self.bytes).ok().map(|(tree, _)| tree),
            // Patches are JSON or YAML, and YAML reads both.
            _ => serde_json::from_slice(&self.bytes)
                .ok()
                .or_else(|| schema::decode::yaml(&self.bytes).ok().map(|(tree, _)| tree)),
        }
    }
}

/// A stream that is under way: when it is dropped, it has ended.
struct Streaming {
    seen: Seen,
    code: u16,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.seen.record(Stage::ResponseComplete, self.code, None, None);
        if let Some(labels) = self.seen.labels {
            self.seen.server.metrics.streams(labels, -1);
        }
    }
}

/// A body and what lives as long as it.
struct Held<T> {
    body: Body,
    _kept: T,
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The addresses a request came by, as proxies and the connection tell.
fn sources(headers: &HeaderMap, peer: Option<IpAddr>) -> Sources {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = said("x-forwarded-for").split(',').filter_map(|part| part.trim().parse().ok());
    // Parts of this process ask without a connection, as upstream's do over loopback.
    let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::LOCALHOST));
    Sources { told: forwarded.chain(said("x-real-ip").parse().ok()).collect(), peer }
}

/// An answer whose object is recorded: it is held back until it is whole.
async fn read_back(reply: Reply) -> (Reply, Option<Tree>) {
    let (parts, body) = reply.into_parts();
    let Ok(collected) = body.collect().await else {
        return (Reply::from_parts(parts, Body::empty()), None);
    };
    let bytes = collected.to_bytes();
    let tree = response_tree(&parts.headers, &bytes);
    (Reply::from_parts(parts, Body::from(bytes)), tree)
}

fn response_tree(headers: &HeaderMap, bytes: &Bytes) -> Option<Tree> {
    let mut plain = Vec::new();
    let bytes: &[u8] = if headers.contains_key(CONTENT_ENCODING) {
        GzDecoder::new(&**bytes).read_to_end(&mut plain).ok()?;
        &plain
    } else {
        bytes
    };
    let media = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if media.starts_with("application/vnd.kubernetes.protobuf") {
        return crate::protobuf::decode_any(bytes);
    }
    if media.starts_with("application/yaml") {
        return schema::decode::yaml(bytes).ok().map(|(tree, _)| tree);
    }
    serde_json::from_slice(bytes).ok()
}
