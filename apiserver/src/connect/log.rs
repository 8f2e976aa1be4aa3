//! `pods/NAME/log`: options checked here, text from the agent.

use super::location::{self, escape};
use crate::context::Context;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use kinds::field::{self, Path};

/// Bytes of an agent's complaint that are passed on.
const COMPLAINT_MAX: usize = 50 * 1024;

/// Serves a log.
pub(super) async fn serve(context: &Context, request: Request<Body>) -> ApiResult<Reply> {
    let query = options(context)?;
    let Some(location) = location::log(context, &query).await? else {
        return Ok(reply::empty(204));
    };
    let reply = context.server.agents.forward(&location, request).await?;
    let code = reply.status().as_u16();
    if (200..=206).contains(&code) || code == 101 {
        return Ok(reply);
    }
    Err(complaint(context, reply).await)
}

/// An agent's plain-text refusal as a Status.
async fn complaint(context: &Context, reply: Reply) -> ApiError {
    let code = reply.status().as_u16();
    let bytes =
        reply.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(COMPLAINT_MAX)]).trim_end().to_owned();
    match code {
        400 => ApiError::BadRequest(text),
        404 => ApiError::BadRequest(format!(
            "the server could not find the requested resource (get pods {}): {text}",
            context.info.path_name
        )),
        _ => ApiError::Internal(text),
    }
}

/// The options the agent gets, as a query.
fn options(context: &Context) -> ApiResult<String> {
    let query = &context.query;
    let mut pairs: Vec<String> = ["follow", "previous", "timestamps"]
        .into_iter()
        .filter(|key| query.flag(key))
        .map(|key| format!("{key}=true"))
        .collect();
    let mut errors = Vec::new();
    for (key, least, text) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let Some(number) = query.integer(key)? else { continue };
        if number < least {
            errors.push(field::invalid(&Path::new(key), number, text));
        }
        pairs.push(format!("{key}={number}"));
    }
    let since = query.text("sinceTime");
    if !since.is_empty() {
        if query.first("sinceSeconds").is_some() {
            errors.retain(|error| error.field != "sinceSeconds");
            errors.push(field::forbidden(
                &Path::new("[]"),
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        pairs.push(format!("sinceTime={}", escape(since)));
    }
    let stream = query.text("stream");
    if !stream.is_empty() {
        if !matches!(stream, "All" | "Stdout" | "Stderr") {
            errors.push(field::not_supported(&Path::new("stream"), stream, &["All", "Stderr", "Stdout"]));
        }
        pairs.push(format!("stream={}", escape(stream)));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", &context.info.path_name, &errors));
    }
    Ok(if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) })
}
