//! The API in memory: a tower service that goes through the same chain as the
//! network, with the caller's identity fixed at creation.

use crate::chain::{self, Origin};
use crate::identity::Caller;
use crate::server::Inner;
use access::UserInfo;
use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A client's end of the API inside this process. A request may carry a
/// [`crate::Fence`] in its extensions.
#[derive(Clone)]
pub struct Local {
    server: Arc<Inner>,
    identity: Arc<UserInfo>,
    user_agent: HeaderValue,
}

impl Local {
    pub(crate) fn new(server: Arc<Inner>, identity: UserInfo, user_agent: &str) -> Self {
        let user_agent = HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("unknown"));
        Self { server, identity: Arc::new(identity), user_agent }
    }
}

impl<B> tower::Service<Request<B>> for Local
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let server = self.server.clone();
        let origin = Origin { caller: Caller::Known(self.identity.clone()), peer: None };
        Box::pin(async move { Ok(chain::answer(server, origin, request).await) })
    }
}
