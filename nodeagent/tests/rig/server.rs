//! The HTTPS server, asked as the API server and kubectl ask it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use nodeagent::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const ADDRESS: &str = "172.30.0.1:10250";

/// Certificates for the test: an authority, the server's, clients'.
pub struct Pki {
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = params.self_signed(&key).expect("a certificate").pem();
        Pki { authority: Issuer::new(params, key), authority_pem }
    }

    fn issue(&self, name: &str, group: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["172.30.0.1".to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        (params.signed_by(&key, &self.authority).expect("a certificate").pem(), key.serialize_pem())
    }

    pub fn server(&self) -> ServerTls {
        let (certificate_pem, key_pem) = self.issue("system:node:node-a", "system:nodes");
        ServerTls { certificate_pem, key_pem, client_ca_pem: self.authority_pem.clone() }
    }

    async fn connect(&self, who: Option<(&str, &str)>) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority_pem.as_bytes()).expect("pem"))
            .expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match who {
            None => builder.with_no_client_auth(),
            Some((name, group)) => {
                let (certificate, key) = self.issue(name, group);
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("pem");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("pem");
                builder.with_client_auth_cert(vec![certificate], key).expect("an identity")
            }
        };
        let stream = TcpStream::connect(ADDRESS).await.expect("the server listens");
        let name = ServerName::try_from("172.30.0.1").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
    }

    async fn get_as(&self, who: Option<(&str, &str)>, path: &str) -> (u16, String) {
        let stream = self.connect(who).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", "node")
            .body(Empty::<bytes::Bytes>::new())
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.get_as(Some(API_SERVER), path).await
    }

    /// Sends messages and gives all answers up to the end.
    async fn talk(&self, path: &str, protocol: &str, messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut request = format!("wss://{ADDRESS}{path}").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().expect("a value"));
        let stream = self.connect(Some(API_SERVER)).await;
        let (mut socket, response) =
            tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        for message in messages {
            socket.send(Message::Binary(message.to_vec().into())).await.expect("sent");
        }
        let mut answers = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(bytes) => answers.push(bytes.to_vec()),
                Message::Close(_) => break,
                _ => {}
            }
        }
        answers
    }
}

const API_SERVER: (&str, &str) = ("kube-apiserver-kubelet-client", "kubeadm:cluster-admins");

/// What came on one channel.
fn channel(answers: &[Vec<u8>], number: u8) -> String {
    let own = answers.iter().filter(|answer| answer.first() == Some(&number));
    String::from_utf8(own.flat_map(|answer| answer[1..].to_vec()).collect()).expect("text")
}

/// Asks everything of a pod `web` with a container `web`, whose page is `page`.
pub async fn ask(pki: &Pki) {
    assert_eq!(pki.get_as(None, "/healthz").await, (401, "Unauthorized".into()));
    let (status, text) = pki.get_as(Some(("eve", "people")), "/pods").await;
    assert_eq!(
        (status, text.as_str()),
        (403, "Forbidden (user=eve, verb=get, resource=nodes, subresource(s)=[proxy])")
    );
    assert_eq!(pki.get_as(Some(("root", "system:masters")), "/healthz").await, (200, "ok".into()));
    let (status, pods) = pki.get("/pods").await;
    assert!(status == 200 && pods.contains("\"phase\":\"Running\""), "{pods}");
    logs(pki).await;
    exec(pki).await;
    port_forward(pki).await;
}

async fn logs(pki: &Pki) {
    let path = "/containerLogs/default/web/web";
    // One line came from each stream; which is read first is up to the runtime.
    let (status, whole) = pki.get(path).await;
    let lines: BTreeSet<&str> = whole.lines().collect();
    assert_eq!((status, lines), (200, BTreeSet::from(["bad", "hello from blue"])));
    let last = whole.lines().last().map(|line| format!("{line}\n")).unwrap_or_default();
    assert_eq!(pki.get(&format!("{path}?tailLines=1")).await, (200, last));
    let (status, text) = pki.get(&format!("{path}?previous=true")).await;
    assert_eq!(
        (status, text.as_str()),
        (400, "previous terminated container \"web\" in pod \"web\" not found")
    );
    assert_eq!(pki.get("/containerLogs/default/nope/web").await.0, 404);
}

async fn exec(pki: &Pki) {
    let base = "/exec/default/web/web?output=1&error=1";
    let run = |command: &str| {
        command.split(' ').fold(base.to_owned(), |path, word| format!("{path}&command={word}"))
    };
    let answers = pki.talk(&run("cat /settings/color"), "v5.channel.k8s.io", &[]).await;
    assert_eq!(channel(&answers, 1), "blue");
    let status: serde_json::Value = serde_json::from_str(&channel(&answers, 3)).expect("a status");
    assert_eq!(status["status"], "Success");
    // Half-closing is what tells `cat` that there is no more.
    let path = format!("{}&input=1", run("cat"));
    let answers = pki.talk(&path, "v5.channel.k8s.io", &[b"\x00hello ", b"\x00world", b"\xff\x00"]).await;
    assert_eq!(channel(&answers, 1), "hello world");
    let answers = pki.talk(&run("sh -c echo%20no%20%3e%262%3bexit%207"), "v4.channel.k8s.io", &[]).await;
    assert_eq!(channel(&answers, 2), "no\n");
    let status: serde_json::Value = serde_json::from_str(&channel(&answers, 3)).expect("a status");
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
}

async fn port_forward(pki: &Pki) {
    let path = "/portForward/default/web?ports=8080";
    let get = b"\x00GET /index.html HTTP/1.0\r\n\r\n";
    let answers = pki.talk(path, "v4.channel.k8s.io", &[get]).await;
    // Every channel begins with its port, the low byte first.
    assert_eq!((&answers[0][..], &answers[1][..]), (&b"\x00\x90\x1f"[..], &b"\x01\x90\x1f"[..]));
    let data = channel(&answers[2..], 0);
    assert!(data.contains("200 OK") && data.ends_with("page\n"), "{data:?}");
}
