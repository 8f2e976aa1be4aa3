//! Streams through to node agents: exec, attach, port-forward, logs and the
//! proxies. Decides where a stream goes and whether it may; what flows through
//! it is between the client and the agent.

mod location;
mod log;
mod transport;

pub(crate) use transport::Agents;

use crate::context::Context;
use crate::registry::route::Stream;
use crate::reply::Reply;
use crate::status::ApiResult;
use axum::body::Body;
use http::Request;
use location::Location;

/// Serves a stream.
pub(crate) async fn serve(context: &Context, stream: Stream, request: Request<Body>) -> ApiResult<Reply> {
    match stream {
        Stream::Exec => forward(context, location::exec(context, "exec").await?, request).await,
        Stream::Attach => forward(context, location::exec(context, "attach").await?, request).await,
        Stream::PortForward => forward(context, location::port_forward(context).await?, request).await,
        Stream::Log => Box::pin(log::serve(context, request)).await,
        Stream::NodeProxy => forward(context, location::node_proxy(context).await?, request).await,
        Stream::PodProxy => forward(context, location::pod_proxy(context).await?, request).await,
    }
}

async fn forward(context: &Context, location: Location, request: Request<Body>) -> ApiResult<Reply> {
    Box::pin(context.server.agents.forward(&location, request)).await
}
