//! Clients of the API inside this process: no socket, no TLS, the same chain as everybody. A fenced client's writes
//! name the term they are made in, and the store refuses them in any other.

use std::task::{Context, Poll};

use access::UserInfo;
use apiserver::{ApiServer, Fence, Local};
use kube::Client;

/// Adds a term to every request.
#[derive(Clone)]
struct Fenced {
    inner: Local,
    fence: Option<Fence>,
}

/// A client for `identity`; `term` fences its writes.
pub(super) fn local(api: &ApiServer, identity: UserInfo, user_agent: &str, term: Option<u64>) -> Client {
    let service = Fenced { inner: api.local(identity, user_agent), fence: term.map(Fence) };
    Client::new(service, "default")
}

impl tower::Service<http::Request<kube::client::Body>> for Fenced {
    type Response = <Local as tower::Service<http::Request<kube::client::Body>>>::Response;
    type Error = <Local as tower::Service<http::Request<kube::client::Body>>>::Error;
    type Future = <Local as tower::Service<http::Request<kube::client::Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tower::Service::<http::Request<kube::client::Body>>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, mut request: http::Request<kube::client::Body>) -> Self::Future {
        if let Some(fence) = self.fence {
            request.extensions_mut().insert(fence);
        }
        self.inner.call(request)
    }
}
