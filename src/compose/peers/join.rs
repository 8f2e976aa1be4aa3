//! Asking a cluster for what its members share, and giving it to those who show the token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::pki::{Authority, Issued, JoinToken};
use apiserver::OwnPages;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use raft_store::Store;
use raft_store::peers::Member;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::{Code, Failure, Step};

const PATH: &str = "/kontiki/v1/join";
/// What all members have, under a server's folder. Whoever has these is the cluster.
const SHARED: [&str; 7] = [
    "pki/ca.crt",
    "pki/ca.key",
    "pki/peer-ca.crt",
    "pki/peer-ca.key",
    "pki/service-account.key",
    "encryption.key",
    "join-token",
];
/// How long a cluster may take to answer; it may be starting.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
const BUNDLE_BYTES_MAX: usize = 1 << 20;

/// The cluster to join.
pub struct Join {
    /// `HOST:PORT` of any server's API.
    server: String,
    token: JoinToken,
}

/// What a joining server is given.
#[derive(Serialize, Deserialize)]
struct Bundle {
    /// Files under the server's folder, base64.
    files: BTreeMap<String, String>,
    members: Vec<Known>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    id: u64,
    address: String,
}

impl Join {
    /// Reads the URL of a server and a token.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(url: &str, token: &str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let server = rest.filter(|rest| !rest.is_empty() && !rest.contains('/')).ok_or_else(|| {
            Failure::new(Code::Usage, format!("{url} is not the address of a server"))
                .fix("--join https://HOST:6443")
        })?;
        let server = if has_port(server) { server.to_owned() } else { format!("{server}:6443") };
        let token = JoinToken::parse(token).ok_or_else(|| {
            Failure::new(Code::Usage, "the token is not complete")
                .why("it has the form KT1.HEX.HEX")
                .fix("copy the file join-token of a server's data directory")
        })?;
        Ok(Self { server, token })
    }

    /// Puts what members share into an empty folder. One that has it already must be of this cluster.
    pub(super) async fn prepare(&self, dir: &Path) -> Result<(), Failure> {
        if dir.join("pki/ca.crt").exists() {
            return self.check_belongs(dir);
        }
        let bundle = self.fetch().await?;
        for name in SHARED {
            let content = bundle.files.get(name).and_then(|text| STANDARD.decode(text).ok());
            let text = content.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| {
                Failure::new(Code::Other, "the cluster's answer is not complete")
                    .why(format!("{name} is missing"))
            })?;
            // The authority's certificate comes last: what it stands beside is complete.
            if name != SHARED[0] {
                crate::compose::write_private(&dir.join(name), &text)?;
            }
        }
        let authority =
            bundle.files.get(SHARED[0]).and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        crate::compose::write_private(&dir.join(SHARED[0]), &String::from_utf8_lossy(&authority))
    }

    /// The members, as a server of the cluster knows them.
    pub(super) async fn members(&self) -> Result<Vec<Member>, Failure> {
        let members = self.fetch().await?.members;
        Ok(members.into_iter().map(|known| Member { id: known.id, address: known.address }).collect())
    }

    fn check_belongs(&self, dir: &Path) -> Result<(), Failure> {
        let read = |name: &str| std::fs::read(dir.join(name)).step("cannot read the cluster's authority");
        let issued = Issued::from_pem(&read(SHARED[0])?, &read(SHARED[1])?);
        let authority = issued.and_then(|issued| Authority::from_issued(issued).ok());
        let ours = authority.is_some_and(|authority| self.token.is_for(&authority));
        if ours {
            return Ok(());
        }
        Err(Failure::new(Code::Conflict, format!("{} belongs to another cluster", dir.display()))
            .why("its authority is not the one the token names")
            .fix("choose another --data-dir, or remove this one if nothing in it is needed"))
    }

    async fn fetch(&self) -> Result<Bundle, Failure> {
        let deadline = tokio::time::Instant::now() + ANSWER_MAX;
        loop {
            let attempt = tokio::time::timeout(ATTEMPT_MAX, self.attempt()).await;
            let why = match attempt {
                Ok(Ok((StatusCode::OK, body))) => {
                    return serde_json::from_slice(&body).step("cannot read the cluster's answer");
                }
                Ok(Ok((StatusCode::UNAUTHORIZED, _))) => {
                    return Err(Failure::new(Code::Permission, "the cluster does not take this token")
                        .fix("copy the file join-token of a server's data directory"));
                }
                Ok(Ok((status, body))) => format!("{status}: {}", String::from_utf8_lossy(&body)),
                Ok(Err(error)) if is_stranger(&error) => {
                    return Err(Failure::new(
                        Code::Permission,
                        format!("{} is not the cluster of this token", self.server),
                    )
                    .why("its certificate comes from another authority than the token names")
                    .fix("check the address, or copy the token again"));
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {ATTEMPT_MAX:?}"),
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(Failure::new(Code::TimedOut, format!("{} does not answer", self.server)).why(why));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&self) -> anyhow::Result<(StatusCode, Bytes)> {
        let tcp = TcpStream::connect(&self.server).await?;
        let host = self.server.rsplit_once(':').map_or(&*self.server, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let tls = TlsConnector::from(Arc::new(self.token.client()?)).connect(name, tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(header::HOST, &self.server)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BUNDLE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok((status, body.to_bytes()))
    }
}

/// Whether the far end showed a certificate, and not one of the pinned authority.
fn is_stranger(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = io.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
    })
}

fn has_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    })
}

/// Answers those who show the token with what members share.
pub(super) fn page(token: JoinToken, dir: PathBuf, store: Store) -> OwnPages {
    Arc::new(move |parts| {
        if parts.uri.path() != PATH || parts.method != Method::POST {
            return None;
        }
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !token.is(shown) {
            return Some((401, "the token is not this cluster's\n".into()));
        }
        Some(match bundle(&dir, &store) {
            Ok(bundle) => (200, serde_json::to_string(&bundle).expect("texts and numbers")),
            // The tokens' key is made while the server starts.
            Err(error) => (503, format!("not ready yet: {error}\n")),
        })
    })
}

fn bundle(dir: &Path, store: &Store) -> std::io::Result<Bundle> {
    let mut files = BTreeMap::new();
    for name in SHARED {
        files.insert(name.to_owned(), STANDARD.encode(std::fs::read(dir.join(name))?));
    }
    let members = store.members().into_iter().filter(|member| member.is_voter && !member.address.is_empty());
    let mut members: Vec<Known> =
        members.map(|member| Known { id: member.id.0, address: member.address }).collect();
    if members.is_empty() {
        // A founder that was alone so far has told its address to nobody.
        members.extend(store.own_member().map(|member| Known { id: member.id.0, address: member.address }));
    }
    Ok(Bundle { files, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_or_gets_one() {
        let token = format!("KT1.{}.{}", "ab".repeat(32), "cd".repeat(16));
        let server =
            |url: &str| Join::new(url, &token).map(|join| join.server).map_err(|error| error.to_string());
        for (url, expected) in [
            ("https://10.0.0.11:7443", "10.0.0.11:7443"),
            ("https://10.0.0.11", "10.0.0.11:6443"),
            ("https://[fd00::1]", "[fd00::1]:6443"),
            ("https://[fd00::1]:7443/", "[fd00::1]:7443"),
            ("https://host.example", "host.example:6443"),
        ] {
            assert_eq!(server(url), Ok(expected.to_owned()));
        }
        for wrong in ["http://10.0.0.11", "10.0.0.11:6443", "https://", "https://host/path"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
        assert!(Join::new("https://host", "KT1.ab.cd").is_err());
    }
}
