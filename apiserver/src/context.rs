//! What every part of one request shares: who asks, what for, under which
//! options. Decides nothing.

use crate::empties::SentEmpty;
use crate::flow::Beginning;
use crate::negotiate::{self, Accepted, Offer};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use crate::status::{ApiError, ApiResult};
use access::UserInfo;
use access::tokens::Key;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use kinds::tree;
use raft_store::Term;
use schema::Tree;
use std::sync::{Arc, Mutex, OnceLock};

/// The term an in-process writer leads in; put into a request's extensions,
/// it makes the store refuse the write in any other term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence(pub u64);

/// Warnings collected while a request is answered.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

/// Bytes of warnings after which each is cut short, as clients' header limits ask for.
const WARNING_BYTES_MAX: usize = 4096;
/// Length of a warning that is cut short.
const WARNING_SHORT: usize = 256;

impl Warnings {
    /// Adds one unless it is there.
    pub(crate) fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut list = self.0.lock().expect("no panic while the lock is held");
        if !text.is_empty() && !list.contains(&text) {
            list.push(text);
        }
    }

    /// Takes them as header values.
    pub(crate) fn headers(&self) -> Vec<String> {
        let list = std::mem::take(&mut *self.0.lock().expect("no panic while the lock is held"));
        let long = list.iter().map(String::len).sum::<usize>() > WARNING_BYTES_MAX;
        list.iter()
            .map(|text| if long { text.chars().take(WARNING_SHORT).collect() } else { text.clone() })
            .map(|text| format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect()
    }
}

/// Which object a writer's body says it is.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
}

impl Sent {
    fn read(object: &Tree) -> Self {
        let text = |path| tree::str_at(object, path).to_owned();
        Self {
            name: text("metadata.name"),
            uid: text("metadata.uid"),
            resource_version: text("metadata.resourceVersion"),
        }
    }
}

/// One request.
#[derive(Clone)]
pub(crate) struct Context {
    /// The server.
    pub(crate) server: Arc<Inner>,
    /// HTTP method.
    pub(crate) method: http::Method,
    /// What it is about.
    pub(crate) info: Arc<RequestInfo>,
    /// Query parameters.
    pub(crate) query: Query,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// All `Accept` clauses.
    pub(crate) accept: HeaderValue,
    /// Who asks.
    pub(crate) user: Arc<UserInfo>,
    /// Term of an in-process writer.
    pub(crate) fence: Option<Term>,
    /// The connection behind the request, when it asks for a WebSocket.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// The seats of a watch that begins.
    pub(crate) beginning: Option<Beginning>,
    /// Warnings so far.
    pub(crate) warnings: Warnings,
    /// What the writer sent empty.
    pub(crate) empties: SentEmpty,
    /// The object it was sent with, once that is read.
    pub(crate) sent: OnceLock<Sent>,
    /// When it came.
    pub(crate) now: Timestamp,
}

/// All `Accept` clauses in one value, which is not copied when they come in one.
pub(crate) fn accept(headers: &HeaderMap) -> HeaderValue {
    let mut values = headers.get_all(ACCEPT).iter().filter(|value| value.to_str().is_ok());
    let (Some(first), others) = (values.next(), values) else { return HeaderValue::from_static("") };
    let mut others = others.peekable();
    if others.peek().is_none() {
        return first.clone();
    }
    let mut joined = first.as_bytes().to_vec();
    for other in others {
        joined.push(b',');
        joined.extend_from_slice(other.as_bytes());
    }
    HeaderValue::from_maybe_shared(joined).expect("parts of a text and commas are one")
}

impl Context {
    fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// All `Accept` clauses in one text.
    pub(crate) fn accept(&self) -> &str {
        self.accept.to_str().unwrap_or_default()
    }

    /// The key of service account tokens. It is made while the server starts, and waited for.
    pub(crate) async fn signing_key(&self) -> ApiResult<Arc<Key>> {
        self.server.config.signer.wait().await.map_err(|error| ApiError::Unavailable(error.to_string()))
    }

    /// The body is an object; the audit log tells which.
    pub(crate) fn was_sent(&self, object: &Tree) {
        if self.server.config.audit.is_some() {
            self.sent.get_or_init(|| Sent::read(object));
        }
    }

    /// The body's media type.
    pub(crate) fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE)
    }

    /// Who is recorded in managedFields when the client names nobody.
    pub(crate) fn user_agent_manager(&self) -> String {
        let raw = self
            .headers
            .get(USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default();
        let name: String =
            raw.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(128).collect();
        if name.is_empty() { "unknown".to_owned() } else { name }
    }

    /// Whether the answer may be compressed.
    pub(crate) fn accepts_gzip(&self) -> bool {
        self.header(ACCEPT_ENCODING)
            .split(',')
            .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
    }

    /// The representation of the answer.
    pub(crate) fn negotiate(&self, offer: Offer) -> ApiResult<Accepted> {
        let mut accepted = negotiate::negotiate(self.accept(), offer)?;
        accepted.pretty |= self.wants_pretty();
        Ok(accepted)
    }

    /// Whether a person seems to read the JSON.
    pub(crate) fn wants_pretty(&self) -> bool {
        if self.query.first("pretty").is_some() {
            return self.query.flag("pretty");
        }
        let agent = self.header(USER_AGENT);
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
    }
}
