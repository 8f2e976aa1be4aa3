//! The signers every cluster has, and what a request must be for each of them to sign it.

use std::collections::BTreeSet;

use super::request::Request;

/// Certificates by which clients show themselves to the API server; a person approves each.
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// The same for node agents, approved by rule.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates that node agents serve with.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Anything, promised to nobody. It cannot be asked for any more, but what is stored may still be signed.
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

const NODE_PREFIX: &str = "system:node:";
const NODES: &str = "system:nodes";

/// Why a signer does not sign a request; `None` when it does. Names of other signers are nobody's here.
pub fn refusal(signer: &str, request: &Request, usages: &[&str]) -> Option<String> {
    match signer {
        CLIENT => client(usages),
        KUBELET_CLIENT => kubelet_client(request, usages),
        KUBELET_SERVING => kubelet_serving(request, usages),
        LEGACY => None,
        other => Some(format!("unrecognized signer name: \"{other}\"")),
    }
}

/// Whether this is a node agent asking for its own client certificate.
pub fn is_kubelet_client(request: &Request, usages: &[&str]) -> bool {
    kubelet_client(request, usages).is_none()
}

fn client(usages: &[&str]) -> Option<String> {
    const REQUIRED: &str = "client auth";
    const ALLOWED: &[&str] = &[REQUIRED, "digital signature", "key encipherment"];
    if let Some(other) = usages.iter().find(|usage| !ALLOWED.contains(usage)) {
        return Some(format!("invalid usage for client certificate: {other}"));
    }
    let is_missing = !usages.contains(&REQUIRED);
    is_missing.then(|| format!("missing required usage for client certificate: {REQUIRED}"))
}

fn kubelet_client(request: &Request, usages: &[&str]) -> Option<String> {
    if request.organizations != [NODES] {
        return Some("subject organization is not system:nodes".to_owned());
    }
    let names = [
        (request.dns_names.is_empty(), "DNS"),
        (request.emails.is_empty(), "Email"),
        (request.addresses.is_empty(), "IP"),
        (request.uris.is_empty(), "URI"),
    ];
    if let Some((_, what)) = names.iter().find(|(is_empty, _)| !is_empty) {
        return Some(format!("{what} subjectAltNames are not allowed"));
    }
    if !request.common_name.starts_with(NODE_PREFIX) {
        return Some("subject common name does not begin with system:node:".to_owned());
    }
    usages_problem(usages, "client auth")
}

fn kubelet_serving(request: &Request, usages: &[&str]) -> Option<String> {
    if request.organizations != [NODES] {
        return Some("subject organization is not system:nodes".to_owned());
    }
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Some("DNS or IP subjectAltName is required".to_owned());
    }
    if !request.emails.is_empty() {
        return Some("Email subjectAltNames are not allowed".to_owned());
    }
    if !request.uris.is_empty() {
        return Some("URI subjectAltNames are not allowed".to_owned());
    }
    usages_problem(usages, "server auth").or_else(|| {
        (!request.common_name.starts_with(NODE_PREFIX))
            .then(|| "subject common name does not begin with system:node:".to_owned())
    })
}

/// Keys other than RSA need no key encipherment.
fn usages_problem(usages: &[&str], purpose: &str) -> Option<String> {
    let have: BTreeSet<&str> = usages.iter().copied().collect();
    let few = BTreeSet::from(["digital signature", purpose]);
    let all = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let listed: Vec<&str> = all.iter().copied().collect();
    (have != few && have != all).then(|| format!("usages did not match [{}]", listed.join(" ")))
}
