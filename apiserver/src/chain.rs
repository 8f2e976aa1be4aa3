//! What every request goes through, in order: request info, authentication,
//! impersonation, seats of a priority level, authorization, dispatch. Whatever fails becomes a Status;
//! whatever panics becomes a 500 one.

use crate::catalog::{self, Kind};
use crate::config::OWN_PAGES;
use crate::connect;
use crate::context::{self, Context, Fence, Warnings};
use crate::discovery;
use crate::empties::SentEmpty;
use crate::flow::{self, Beginning, TooMany};
use crate::identity::{self, Caller};
use crate::query::{self, Query};
use crate::registry;
use crate::registry::route::Route;
use crate::reply::{self, Reply};
use crate::request_info::{self, RequestInfo};
use crate::reviews;
use crate::seen::Seen;
use crate::server::Inner;
use crate::status::{ApiError, ApiResult};
use access::UserInfo;
use access::rbac::{self, Attributes, Decision};
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request};
use hyper::upgrade::OnUpgrade;
use raft_store::Term;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Instrument as _;
use uuid::Uuid;

/// How long a request may take that is no watch and no stream.
const SECONDS_MAX: u64 = 60;

/// How long a watch may wait for its seats: a quarter of what another request may take.
const WATCH_WAIT_MAX: Duration = Duration::from_secs(SECONDS_MAX / 4);
/// How long any request may wait for its seats.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a body that nobody wants may take to arrive.
const DRAIN_SECONDS_MAX: u64 = 1;

static AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Longest audit id a client may choose.
const AUDIT_ID_MAX: usize = 64;

/// Where a request comes from, as its transport knows.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) caller: Caller,
    /// The other end of the connection; none inside this process.
    pub(crate) peer: Option<IpAddr>,
}

/// Answers one request. Never fails: whatever goes wrong is an answer.
pub(crate) async fn answer(server: Arc<Inner>, origin: Origin, request: Request<Body>) -> Reply {
    let mut audit_id = audit_id(&server, request.headers());
    let accept = context::accept(request.headers());
    let warnings = Warnings::default();
    let (parts, body) = request.into_parts();
    if let Some(page) = own_page(&server, &parts) {
        let (status, text) = page.await;
        return reply::text(status, text);
    }
    let mut body = Some(body);
    let mut seen = Seen::new(server.clone(), audit_id.clone());
    // What is logged while a request is answered says for which one; it costs nothing unless such logs are wanted.
    let span =
        tracing::debug_span!("request", method = %parts.method, uri = %parts.uri, audit_id = ?audit_id);
    let checked =
        checked(server, origin, parts, &mut body, &mut seen, warnings.clone()).instrument(span.clone());
    let inside = AssertUnwindSafe(checked).catch_unwind().await;
    drain(body).await;
    let panicked = inside.is_err();
    let inside = inside.unwrap_or_else(|_| {
        Err(ApiError::Internal("this request panicked; the server's log has more".into()))
    });
    let (mut reply, failure) = match inside {
        Ok(reply) => (reply, None),
        Err(error) => (reply::failure(&error, accept.to_str().unwrap_or_default()), Some(error.status())),
    };
    let headers = reply.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    // Another in every answer: kept out of the tables that let the other headers be short.
    audit_id.set_sensitive(true);
    headers.insert(AUDIT_ID.clone(), audit_id);
    for warning in warnings.headers() {
        if let Ok(value) = HeaderValue::from_str(&warning) {
            headers.append(http::header::WARNING, value);
        }
    }
    span.in_scope(|| tracing::debug!(code = reply.status().as_u16(), "answered"));
    seen.conclude(reply, failure, panicked).await
}

/// A page of the program around this server.
fn own_page(server: &Inner, parts: &Parts) -> Option<BoxFuture<'static, (u16, String)>> {
    let pages = server.config.own_pages.as_ref().filter(|_| parts.uri.path().starts_with(OWN_PAGES))?;
    pages(parts)
}

/// Reads what nobody wanted, so that the connection can carry the next request.
async fn drain(body: Option<Body>) {
    if let Some(body) = body.filter(|body| !http_body::Body::is_end_stream(body)) {
        let reading = registry::read_body(body);
        let _ = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), reading).await;
    }
}

fn audit_id(server: &Inner, headers: &HeaderMap) -> HeaderValue {
    let own = || {
        let mut text = Uuid::encode_buffer();
        HeaderValue::from_str(crate::clock::uuid(&server.seams).hyphenated().encode_lower(&mut text))
            .expect("uids are ASCII")
    };
    headers
        .get(&AUDIT_ID)
        .filter(|value| !value.is_empty() && value.len() <= AUDIT_ID_MAX)
        .cloned()
        .unwrap_or_else(own)
}

async fn checked(
    server: Arc<Inner>,
    origin: Origin,
    mut parts: Parts,
    body: &mut Option<Body>,
    seen: &mut Seen,
    warnings: Warnings,
) -> ApiResult<Reply> {
    let Some(path) = query::decode(parts.uri.path(), false) else {
        return Ok(reply::text(400, "400 Bad Request"));
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = Arc::new(request_info::parse(parts.method.as_str(), &path, &query));
    let kind = catalog::find(&info.group, &info.version, &info.resource);
    seen.is_about(&info, kind, &query);
    let limit = deadline(&query, info.is_long_running())?;

    warn_of_blanks(&parts.headers, &warnings);
    let user = identity::authenticate(&server, &origin.caller, &parts.headers, &path, &warnings).await;
    let claimed = user.as_ref().map_or_else(|_| Arc::default(), Arc::clone);
    seen.is_from(&claimed, &info, &parts.uri, &parts.headers, origin.peer);
    let user = user?;
    may_answer(&server, &info, &query)?;
    let fence = parts.extensions.get::<Fence>().map(|fence| Term(fence.0));
    let now = crate::clock::now(&server.seams);
    let (method, headers) = (parts.method.clone(), std::mem::take(&mut parts.headers));
    let upgrade = registry::socket::is_asked(&headers).then(|| parts.extensions.get::<OnUpgrade>().cloned());
    let upgrade = upgrade.flatten();
    let accept = context::accept(&headers);
    let (beginning, empties, sent) = (None, SentEmpty::default(), OnceLock::new());
    let mut context = Context {
        server,
        method,
        info,
        query,
        headers,
        accept,
        user,
        fence,
        upgrade,
        beginning,
        warnings,
        empties,
        sent,
        now,
    };

    if let Some(wanted) = identity::wanted(&context.headers)? {
        impersonate(&mut context, &wanted)?;
        seen.acts_for(&context.user);
    }
    if takes_seats(&context.info)
        && let Err(TooMany { flows, retry_after }) = take_seats(&mut context, kind, limit, seen).await
    {
        seen.is_under(flows);
        return Ok(reply::too_many(retry_after));
    }
    authorize(&context, seen)?;

    // Boxed, so that what a rare path needs is not part of every request's future.
    let served = dispatch(&context, kind, parts, body, seen).boxed();
    let outcome = match limit {
        None => served.await,
        Some(limit) => tokio::time::timeout(limit, served).await.unwrap_or_else(|_| {
            Err(ApiError::Timeout("request did not complete within the allotted timeout".into()))
        }),
    };
    seen.was_sent(context.sent.into_inner());
    outcome
}

/// Whether what this server knows of the cluster is right, and new enough for the request.
fn may_answer(server: &Inner, info: &RequestInfo, query: &Query) -> ApiResult<()> {
    // What a wrong state shows is not merely old.
    if info.is_resource && !server.store.is_sound() {
        return Err(ApiError::Unavailable("this server's state is wrong and is being replaced".into()));
    }
    if !may_be_old(info, query) && !server.in_contact() {
        return Err(ApiError::Unavailable("this server hears of no leader of its cluster".into()));
    }
    Ok(())
}

/// Streams to nodes last as long as somebody works with them; a watch is answered when it begins.
fn takes_seats(info: &RequestInfo) -> bool {
    !info.is_long_running() || (info.verb == "watch" && info.subresource.is_empty())
}

/// Waits for the seats of a request. Those of a watch go to whoever sends its first state, all others stay with what is noted
/// of the request.
async fn take_seats(
    context: &mut Context,
    kind: Option<&'static Kind>,
    limit: Option<Duration>,
    seen: &mut Seen,
) -> Result<(), TooMany> {
    let server = context.server.clone();
    let wait_max = limit.map_or(WATCH_WAIT_MAX, |limit| (limit / 4).min(WAIT_MAX));
    let stored = || flow::stored(&server, kind);
    let asked = server.flow.admit(&context.user, &context.info, &context.query, wait_max, stored);
    let mut granted = asked.await?;
    seen.is_under(Some(granted.flows().clone()));
    seen.watches(granted.take_watched());
    if context.info.verb == "watch" {
        context.beginning = Some(Beginning::new(granted));
    } else {
        seen.holds(granted);
    }
    Ok(())
}

/// The user becomes another, if it may.
fn impersonate(context: &mut Context, wanted: &UserInfo) -> ApiResult<()> {
    let server = context.server.clone();
    let snapshot = server.permissions.snapshot(&server.store, &server.codec);
    context.user = Arc::new(identity::impersonate(context, wanted, &snapshot, &attributes(context))?);
    Ok(())
}

/// Whether the user may, which is noted with its reason.
fn authorize(context: &Context, seen: &mut Seen) -> ApiResult<()> {
    // Whoever may do everything needs no look at roles.
    if context.user.is_privileged() {
        seen.may(Decision::Allow(None));
        return Ok(());
    }
    let server = &context.server;
    let snapshot = server.permissions.snapshot(&server.store, &server.codec);
    let attributes = attributes(context);
    let decision = snapshot.authorizer().authorize(&context.user, &attributes);
    let refusal = decision.demand(&context.user, &attributes);
    seen.may(decision);
    refusal.map_err(escaped)
}

/// A refusal may be shown by a browser, so names in it are escaped as upstream does.
fn escaped(mut refusal: rbac::Forbidden) -> ApiError {
    refusal.message = refusal.message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    ApiError::Denied(refusal)
}

/// A token after two blanks is no token; the sender should know.
fn warn_of_blanks(headers: &HeaderMap, warnings: &Warnings) {
    let value =
        headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value.trim_start().get(..8).is_some_and(|start| start.eq_ignore_ascii_case("bearer  ")) {
        warnings.add(
            "the provided Authorization header contains extra space before the bearer token, and is ignored",
        );
    }
}

/// Whether the answer may come from a server that has lost contact: its own state, and reads that ask for whatever there
/// is.
fn may_be_old(info: &RequestInfo, query: &Query) -> bool {
    !info.is_resource || (matches!(&*info.verb, "get" | "list") && query.text("resourceVersion") == "0")
}

/// How long this request may take; `None` for streams.
fn deadline(query: &Query, long_running: bool) -> ApiResult<Option<Duration>> {
    let most = Duration::from_secs(SECONDS_MAX);
    if long_running {
        return Ok(None);
    }
    match query.text("timeout") {
        "" => Ok(Some(most)),
        text => match go_duration(text) {
            Some(Duration::ZERO) => Ok(Some(most)),
            Some(asked) => Ok(Some(asked.min(most))),
            None => {
                let quoted = schema::go::quote(text);
                Err(ApiError::BadRequest(format!(
                    "invalid timeout specified in the request URL - time: invalid duration {quoted}"
                )))
            }
        },
    }
}

/// Reads `1h2m3.5s`.
pub fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) =
            [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += number * factor;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// The request as authorizers see it.
fn attributes(context: &Context) -> Attributes {
    let info = &context.info;
    if !info.is_resource {
        return Attributes::path(&info.verb, &info.path);
    }
    let selectors = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection");
    let read = |key: &str, parse: fn(&str) -> Option<Vec<rbac::Requirement>>| {
        if selectors { parse(context.query.text(key)).unwrap_or_default() } else { Vec::new() }
    };
    Attributes {
        verb: info.verb.clone(),
        is_resource: true,
        namespace: info.namespace.clone(),
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        name: info.name.clone(),
        path: info.path.clone(),
        fields: read("fieldSelector", rbac::parse_fields),
        labels: read("labelSelector", rbac::parse_labels),
    }
}

/// Hands the request to whoever serves its path.
async fn dispatch(
    context: &Context,
    kind: Option<&'static Kind>,
    mut parts: Parts,
    body: &mut Option<Body>,
    seen: &mut Seen,
) -> ApiResult<Reply> {
    let info = &context.info;
    if !info.is_resource {
        return discovery::serve(context).await;
    }
    let Some(kind) = kind else {
        return Err(if catalog::has_group(&info.group) {
            ApiError::NoSuchResource
        } else {
            ApiError::NoSuchPage
        });
    };
    let route = registry::route::find(kind, context)?;
    let body = body.take().unwrap_or_default();
    if let Route::Connect(stream) = route {
        parts.headers = context.headers.clone();
        return connect::serve(context, stream, Request::from_parts(parts, body)).boxed().await;
    }
    let bytes = registry::read_body(body).await?;
    seen.sends(kind, context.content_type(), &bytes);
    match route {
        Route::Resource(target) => registry::serve(context, kind, target, bytes).await,
        _ => reviews::serve(context, kind, bytes).boxed().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gos() {
        assert_eq!(go_duration("1m2.5s"), Some(Duration::from_millis(62_500)));
        assert_eq!(go_duration("0s"), Some(Duration::ZERO));
        assert_eq!(go_duration("abc"), None);
        assert_eq!(go_duration("5"), None);
    }
}
