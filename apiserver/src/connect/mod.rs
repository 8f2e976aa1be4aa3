//! Streams through to node agents: exec, attach, port-forward, logs and the
//! proxies. Decides where a stream goes and whether it may; what flows through
//! it is between the client and the agent.

mod location;
mod log;
mod proxy;
mod transport;
mod unverified;

pub(crate) use transport::Agents;

use crate::context::Context;
use crate::registry::route::Stream;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use http::header::{HeaderValue, LOCATION};
use http::{Method, Request};
use location::Location;

/// Serves a stream.
pub(crate) async fn serve(context: &Context, stream: Stream, request: Request<Body>) -> ApiResult<Reply> {
    match stream {
        Stream::Exec => forward(context, location::exec(context, "exec").await?, request).await,
        Stream::Attach => forward(context, location::exec(context, "attach").await?, request).await,
        Stream::PortForward => forward(context, location::port_forward(context).await?, request).await,
        Stream::Log => Box::pin(log::serve(context, request)).await,
        Stream::NodeProxy => proxied(context, proxy::node(context).await?, request).await,
        Stream::PodProxy => proxied(context, proxy::pod_address(context).await?, request).await,
        Stream::ServiceProxy => proxied(context, proxy::service(context).await?, request).await,
    }
}

/// A page's own links work only below its folder, so the bare `/proxy` is sent there first.
async fn proxied(context: &Context, location: Location, request: Request<Body>) -> ApiResult<Reply> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || !context.info.rest.is_empty() {
        return forward(context, location, request).await;
    }
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    let folder = HeaderValue::try_from(format!("{}/{query}", request.uri().path()));
    let mut reply = reply::empty(301);
    reply.headers_mut().insert(LOCATION, folder.map_err(|error| ApiError::BadRequest(error.to_string()))?);
    Ok(reply)
}

async fn forward(context: &Context, location: Location, request: Request<Body>) -> ApiResult<Reply> {
    Box::pin(context.server.agents.forward(&location, request)).await
}
