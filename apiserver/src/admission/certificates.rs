//! Requests for certificates: who asks is written down by the server, and only who may approve or sign for a signer
//! does. Nobody becomes `system:masters` through the signer of client certificates.

use super::{Operation, Review};
use crate::clock;
use crate::status::{ApiError, ApiResult};
use access::groups;
use access::rbac::Attributes;
use kinds::certificates::{request, signers};
use kinds::{Subresource, tree};
use schema::Tree;
use serde_json::json;

const GROUP: &str = "certificates.k8s.io";

/// Fills in who asks, and when conditions changed.
pub(super) fn complete(review: &Review<'_>, csr: &mut Tree, old: Option<&Tree>) {
    if !is_request(review) {
        return;
    }
    match (review.operation, review.sub, old) {
        (Operation::Create, _, _) => name_requester(review, csr),
        (Operation::Update, Subresource::Approval | Subresource::Status, Some(old)) => {
            stamp_conditions(review, csr, old);
        }
        _ => {}
    }
}

/// Whether the writer may do this to the request.
pub(super) fn validate(review: &Review<'_>, csr: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !is_request(review) {
        return Ok(());
    }
    match (review.operation, review.sub, old) {
        (Operation::Create, Subresource::None, _) => restrict_subject(review, csr),
        (Operation::Update, Subresource::Approval, Some(old)) => authorize(review, "approve", old),
        (Operation::Update, Subresource::Status, Some(old)) => {
            let changes = ["status.certificate", "status.conditions"];
            let is_changed = changes.iter().any(|path| !tree::same_at(csr, old, path));
            if is_changed { authorize(review, "sign", old) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn is_request(review: &Review<'_>) -> bool {
    review.is_on(GROUP, "certificatesigningrequests", review.sub)
}

fn name_requester(review: &Review<'_>, csr: &mut Tree) {
    let user = &review.context.user;
    let parts = [
        ("username", json!(user.name)),
        ("uid", json!(user.uid)),
        ("groups", json!(user.groups)),
        ("extra", json!(user.extra)),
    ];
    for (name, value) in parts {
        let is_empty = match &value {
            Tree::String(text) => text.is_empty(),
            Tree::Array(list) => list.is_empty(),
            Tree::Object(map) => map.is_empty(),
            _ => true,
        };
        if !is_empty {
            tree::set(csr, &format!("spec.{name}"), value);
        }
    }
}

/// A condition keeps the time at which it took its status.
fn stamp_conditions(review: &Review<'_>, csr: &mut Tree, old: &Tree) {
    let now = clock::seconds(review.context.now);
    let since = |condition: &Tree| {
        let same = |stored: &&Tree| ["type", "status"].iter().all(|name| stored[*name] == condition[*name]);
        let stored = tree::list_at(old, "status.conditions").iter().find(same);
        let time = stored.map_or("", |stored| tree::str_at(stored, "lastTransitionTime"));
        if time.is_empty() { now.clone() } else { time.to_owned() }
    };
    for condition in tree::list_at_mut(csr, "status.conditions") {
        let transition = since(condition);
        tree::set_default(condition, "lastUpdateTime", now.as_str());
        tree::set_default(condition, "lastTransitionTime", transition);
    }
}

fn restrict_subject(review: &Review<'_>, csr: &Tree) -> ApiResult<()> {
    if tree::str_at(csr, "spec.signerName") != signers::CLIENT {
        return Ok(());
    }
    let request =
        request::parse(csr).map_err(|text| refuse(review, csr, format!("failed to parse CSR: {text}")))?;
    if request.organizations.iter().any(|group| group == groups::MASTERS) {
        let text = format!("use of {} signer with {} group is not allowed", signers::CLIENT, groups::MASTERS);
        return Err(refuse(review, csr, text));
    }
    Ok(())
}

fn refuse(review: &Review<'_>, csr: &Tree, text: String) -> ApiError {
    ApiError::forbidden(&review.kind.group_resource, tree::str_at(csr, "metadata.name"), text)
}

/// The right may be for the one signer, or for all of its domain.
fn authorize(review: &Review<'_>, verb: &str, csr: &Tree) -> ApiResult<()> {
    let context = review.context;
    let signer = tree::str_at(csr, "spec.signerName");
    let domain = signer.split('/').next().unwrap_or_default();
    let permissions = context.server.permissions.snapshot(&context.server.store, &context.server.codec);
    let may = |name: &str| {
        let attributes = Attributes::resource(verb, GROUP, "signers").named(name);
        permissions.authorizer().authorize(&context.user, &attributes).is_allowed()
    };
    if may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    let text = format!("user not permitted to {verb} requests with signerName \"{signer}\"");
    Err(refuse(review, csr, text))
}
