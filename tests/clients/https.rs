//! How kube-rs reaches the cluster here: over rustls with the crypto this workspace has, a connection a request, so that a
//! server that is gone and back is noticed by nothing but a failed request.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine as _;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use kube::config::Kubeconfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where requests go, and as whom.
struct Access {
    address: String,
    tls: TlsConnector,
    bearer: Option<HeaderValue>,
}

/// A client as whom a kubeconfig says.
pub(crate) fn client(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let cluster = serde_json::to_value(&read.clusters.first().context("a cluster")?.cluster)?;
    let user = serde_json::to_value(&read.auth_infos.first().context("a user")?.auth_info)?;
    let server = cluster["server"].as_str().context("a server")?;
    let address = server.strip_prefix("https://").context("an https server")?.to_owned();
    let token = user["token"].as_str().map(|token| HeaderValue::try_from(format!("Bearer {token}")));
    let access = Arc::new(Access { address, tls: connector(&cluster, &user)?, bearer: token.transpose()? });
    let service = tower::service_fn(move |request: Request<Body>| {
        let access = access.clone();
        async move { access.send(request).await.map_err(tower::BoxError::from) }
    });
    Ok(Client::new(service, "default"))
}

fn connector(cluster: &Value, user: &Value) -> Result<TlsConnector> {
    let pem = |of: &Value, name: &str| -> Result<Option<Vec<u8>>> {
        let text = of[name].as_str();
        Ok(text.map(|text| base64::engine::general_purpose::STANDARD.decode(text)).transpose()?)
    };
    let mut roots = rustls::RootCertStore::empty();
    let authority = pem(cluster, "certificate-authority-data")?.context("an authority")?;
    for certificate in CertificateDer::pem_slice_iter(&authority) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mine = pem(user, "client-certificate-data")?.zip(pem(user, "client-key-data")?);
    let config = match mine {
        Some((chain, key)) => builder.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&chain)?],
            PrivateKeyDer::from_pem_slice(&key)?,
        )?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Access {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>> {
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let tls = self.tls.connect(name, tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        // It ends with the answer's body, or with the server.
        tokio::spawn(connection);
        let path = request.uri().path_and_query().context("a path")?.as_str().parse()?;
        *request.uri_mut() = path;
        request.headers_mut().insert(header::HOST, HeaderValue::try_from(&self.address)?);
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        Ok(sender.send_request(request).await?)
    }
}
