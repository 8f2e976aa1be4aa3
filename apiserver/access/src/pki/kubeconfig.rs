//! The file kubectl reads: where the cluster is and who you are, certificates inline.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Issued;

/// What a kubeconfig says.
#[derive(Clone, Copy, Debug)]
pub struct Kubeconfig<'a> {
    /// Name of cluster and context, e.g. `kontiki`.
    pub cluster: &'a str,
    /// Name of the user entry.
    pub user: &'a str,
    /// `https://HOST:PORT`.
    pub server: &'a str,
    /// Certificate of the authority, PEM.
    pub authority_pem: &'a str,
    /// The client's certificate and key.
    pub client: &'a Issued,
}

/// The file's text. Names are quoted, so that they may hold any character.
pub fn kubeconfig(config: &Kubeconfig<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let Kubeconfig { cluster, user, server, authority_pem, client } = config;
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: {cluster}\n\
         \x20 cluster:\n\
         \x20   certificate-authority-data: {authority}\n\
         \x20   server: {server}\n\
         contexts:\n\
         - name: {cluster}\n\
         \x20 context:\n\
         \x20   cluster: {cluster}\n\
         \x20   user: {user}\n\
         current-context: {cluster}\n\
         preferences: {{}}\n\
         users:\n\
         - name: {user}\n\
         \x20 user:\n\
         \x20   client-certificate-data: {certificate}\n\
         \x20   client-key-data: {key}\n",
        cluster = quoted(cluster),
        user = quoted(user),
        server = quoted(server),
        authority = STANDARD.encode(authority_pem),
        certificate = STANDARD.encode(client.certificate_pem()),
        key = STANDARD.encode(client.key_pem()),
    )
}
