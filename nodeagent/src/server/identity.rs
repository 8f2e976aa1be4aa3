//! Who a client is, by its certificate.

use x509_parser::prelude::{FromDer, X509Certificate};

/// The group that may do everything.
const MASTERS: &str = "system:masters";
/// The name under which the API server comes to nodes.
const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// A name and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub groups: Vec<String>,
}

impl Identity {
    /// Reads a certificate that was verified before.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        // Of several the last counts, as for the API server: one certificate must not be two people.
        let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
        Some(Identity { name, groups: groups.collect() })
    }

    /// The API server, or somebody as powerful.
    pub fn may_do_everything(&self) -> bool {
        self.name == API_SERVER || self.groups.iter().any(|group| group == MASTERS)
    }
}
