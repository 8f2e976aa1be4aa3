//! The servers that are asked: ours in memory, and upstream over its own connections.

use access::tokens::Signer;
use access::{UserInfo, groups};
use anyhow::Result;
use apiserver::{ApiServer, Config, Local};
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use raft_store::{Options, Seams, Store};
use tests::api::{Access, Api};
use tests::upstream::Upstream;
use tower::ServiceExt as _;

use crate::answer::Answer;
use crate::case::Ask;

/// A server and who asks it.
pub enum Peer {
    /// Ours, without controllers.
    Ours {
        /// The API.
        api: ApiServer,
        /// Its store.
        store: Store,
    },
    /// Upstream's, without controllers.
    Upstream {
        /// The processes.
        processes: Upstream,
        /// Where it is.
        access: Access,
    },
}

/// One way to a server, which carries one request at a time.
pub enum Line {
    /// In memory.
    Local(Local),
    /// A connection, and where another is made.
    Connection(Box<Api>, Access),
}

impl Peer {
    /// Our own server in memory.
    ///
    /// # Errors
    /// The store does not open.
    pub async fn ours() -> Result<Self> {
        let store = Store::open(Options::in_memory(), Seams::system()).await?;
        let api = ApiServer::new(Config::new(Signer::generate()), store.clone());
        api.bootstrap().await;
        Ok(Self::Ours { api, store })
    }

    /// Upstream's etcd and API server from a folder of binaries.
    ///
    /// # Errors
    /// They do not start.
    pub fn upstream(binaries: &std::path::Path) -> Result<Self> {
        let processes = Upstream::serve(binaries)?;
        let access = Access::read(&processes.kubeconfig)?;
        Ok(Self::Upstream { processes, access })
    }

    /// A way to it, as its administrator.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn line(&self) -> Result<Line> {
        Ok(match self {
            Self::Ours { api, .. } => {
                let mut user = UserInfo::authenticated("kubernetes-admin", &[groups::MASTERS]);
                "admin".clone_into(&mut user.uid);
                Line::Local(api.local(user, "fields"))
            }
            Self::Upstream { access, .. } => {
                Line::Connection(Box::new(access.connect().await?), access.clone())
            }
        })
    }

    /// Ends it.
    pub async fn stop(self) {
        match self {
            Self::Ours { api, store } => {
                api.stop();
                store.shutdown().await;
            }
            Self::Upstream { processes, .. } => drop(processes),
        }
    }
}

impl Line {
    /// Asks and reads the answer. Upstream closes the connection when it panics; that is an answer too.
    ///
    /// # Errors
    /// No new connection can be made.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        let (parts, body) = match self.fetch(ask).await {
            Ok(answer) => answer.into_parts(),
            Err(broken) => {
                let Self::Connection(api, access) = self else { return Err(broken) };
                **api = access.connect().await?;
                return Ok(Answer { message: "the connection is closed".to_owned(), ..Answer::default() });
            }
        };
        let warnings = parts.headers.get_all(header::WARNING).iter();
        let warnings = warnings.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
        Ok(Answer::new(parts.status.as_u16(), warnings, &body))
    }

    /// The bytes of an answer.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn fetch(&mut self, ask: &Ask) -> Result<Response<Bytes>> {
        let bytes = Bytes::from(ask.body.to_string());
        let request = Request::builder()
            .method(Method::from_bytes(ask.method.as_bytes())?)
            .uri(&ask.path)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "fields")
            .header(header::CONTENT_TYPE, ask.media);
        match self {
            Self::Local(local) => {
                let answer = local.clone().oneshot(request.body(Body::from(bytes))?).await;
                let (parts, body) = answer.unwrap_or_else(|never| match never {}).into_parts();
                Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
            }
            Self::Connection(api, _) => api.exchange(request.body(Full::new(bytes))?).await,
        }
    }
}
