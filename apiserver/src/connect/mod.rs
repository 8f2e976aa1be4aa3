//! Streams through to node agents: exec, attach, port-forward, log and the
//! nodes' proxy.
mod node;

use crate::context::Context;
use crate::registry::route::Stream;
use crate::reply::Reply;
use crate::status::ApiResult;
use axum::body::Body;
use http::Request;

/// Serves a stream.
pub(crate) async fn serve(context: &Context, stream: Stream, request: Request<Body>) -> ApiResult<Reply> {
    node::serve(context, stream, request).await
}
