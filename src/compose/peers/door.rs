//! The pages a server has for those who show the cluster's token: asked here, answered in [`super::pages`].

use std::sync::Arc;
use std::time::Duration;

use access::pki::JoinToken;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::{Code, Failure};

const ATTEMPT_MAX: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What a page says of itself that may be said again.
const NOT_NOW: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A server, and the token that it is shown.
pub(super) struct Door {
    /// `HOST:PORT` of the API.
    server: String,
    token: JoinToken,
}

impl Door {
    /// Reads the URL of a server and a token.
    ///
    /// # Errors
    /// One of them is none.
    pub(super) fn new(url: &str, token: &str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let server = rest.filter(|rest| !rest.is_empty() && !rest.contains('/')).ok_or_else(|| {
            Failure::new(Code::Usage, format!("{url} is not the address of a server"))
                .fix("https://HOST:6443")
        })?;
        let server = if has_port(server) { server.to_owned() } else { format!("{server}:6443") };
        let token = JoinToken::parse(token).ok_or_else(|| {
            Failure::new(Code::Usage, "the token is not complete")
                .why("it has the form KT1.HEX.HEX")
                .fix("copy the file join-token of a server's data directory")
        })?;
        Ok(Self { server, token })
    }

    pub(super) fn token(&self) -> &JoinToken {
        &self.token
    }

    /// What a page answers. One that cannot answer now is asked again.
    ///
    /// # Errors
    /// It does not answer in time, refuses, or is of another cluster.
    pub(super) async fn ask(&self, method: &Method, path: &str, within: Duration) -> Result<Bytes, Failure> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let attempt = tokio::time::timeout(ATTEMPT_MAX.min(within), self.attempt(method, path)).await;
            let why = match attempt {
                Ok(Ok((StatusCode::OK, body))) => return Ok(body),
                Ok(Ok((StatusCode::UNAUTHORIZED, _))) => {
                    return Err(Failure::new(Code::Permission, "the cluster does not take this token")
                        .fix("copy the file join-token of a server's data directory"));
                }
                Ok(Ok((StatusCode::CONFLICT, body))) => {
                    return Err(Failure::new(Code::Conflict, String::from_utf8_lossy(&body).trim()));
                }
                Ok(Ok((NOT_NOW, body))) => String::from_utf8_lossy(&body).trim().to_owned(),
                Ok(Ok((status, body))) => format!("{status}: {}", String::from_utf8_lossy(&body).trim()),
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

    async fn attempt(&self, method: &Method, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let tcp = TcpStream::connect(&self.server).await?;
        let host = self.server.rsplit_once(':').map_or(&*self.server, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let tls = TlsConnector::from(Arc::new(self.token.client()?)).connect(name, tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.server)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_or_gets_one() {
        let token = format!("KT1.{}.{}", "ab".repeat(32), "cd".repeat(16));
        let server =
            |url: &str| Door::new(url, &token).map(|door| door.server).map_err(|error| error.to_string());
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
        assert!(Door::new("https://host", "KT1.ab.cd").is_err());
    }
}
