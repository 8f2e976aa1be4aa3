//! Reads what is needed from a kubeconfig with one cluster and one user, as kontiki and upstream's tools write it.

use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where a server is and who to be there.
#[derive(Debug)]
pub struct Access {
    /// `https://HOST:PORT`.
    pub server: String,
    /// Certificates to trust, PEM.
    pub authority: Vec<u8>,
    /// Client certificate and key, PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// Bearer token.
    pub token: Option<String>,
}

/// Reads a kubeconfig.
pub fn read(path: &Path) -> anyhow::Result<Access> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Access> {
    let certificate = decoded(text, "client-certificate-data")?;
    let key = decoded(text, "client-key-data")?;
    Ok(Access {
        server: value(text, "server").context("no server")?.to_owned(),
        authority: decoded(text, "certificate-authority-data")?.context("no certificate-authority-data")?,
        client: certificate.zip(key),
        token: value(text, "token").map(str::to_owned),
    })
}

fn decoded(text: &str, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    value(text, key)
        .map(|value| STANDARD.decode(value).with_context(|| format!("{key} is not base64")))
        .transpose()
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.trim_start_matches([' ', '-']).strip_prefix(key)?.strip_prefix(':')?;
        Some(rest.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_credentials() {
        let access = parse("clusters:\n- name: a\n  cluster:\n    certificate-authority-data: QQ==\n    server: \"https://127.0.0.1:1\"\nusers:\n- user:\n    token: abc\n")
            .expect("a kubeconfig");
        assert_eq!(access.server, "https://127.0.0.1:1");
        assert_eq!(access.authority, b"A");
        assert_eq!(access.token.as_deref(), Some("abc"));
        assert!(access.client.is_none());
    }
}
