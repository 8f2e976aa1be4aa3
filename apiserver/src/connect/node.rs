//! Placeholder body is written below.
use crate::context::Context;
use crate::registry::route::Stream;
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use http::Request;

pub(super) async fn serve(_context: &Context, _stream: Stream, _request: Request<Body>) -> ApiResult<Reply> {
    Err(ApiError::Unavailable("node agents cannot be reached".into()))
}
