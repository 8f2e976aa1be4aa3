//! Claims of devices: access as an administrator needs a label on the namespace, and the parts of a claim's status have
//! writers of their own.

use super::{Operation, Review};
use crate::clock;
use crate::status::{ApiError, ApiResult};
use access::rbac::Attributes;
use kinds::field::{self, Path};
use kinds::resource_claims::{access as claims, stamp_taints};
use kinds::{Subresource, tree};
use schema::Tree;

const GROUP: &str = "resource.k8s.io";
/// The label of namespaces whose claims may have access as an administrator.
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";
/// What the authenticator knows about the node a service account's token is bound to.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Taints say since when they are.
pub(super) fn complete(review: &Review<'_>, object: &mut Tree) {
    if review.is_on(GROUP, "resourceslices", Subresource::None) {
        stamp_taints(object, &clock::seconds(review.context.now));
    }
}

/// Whether the writer may do this.
pub(super) fn check(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if review.kind.resource.group != GROUP {
        return Ok(());
    }
    let mut errors = Vec::new();
    match (review.operation, review.sub, old) {
        (Operation::Create, Subresource::None, _) => {
            errors.extend(admin_error(review, object, claims::admin_request(object)));
        }
        (Operation::Update, Subresource::Status, Some(old)) => {
            if claims::admin_result(old).is_none() {
                errors.extend(admin_error(review, object, claims::admin_result(object)));
            }
            errors.extend(binding_error(review, object, old));
            errors.extend(driver_errors(review, object, old));
        }
        _ => {}
    }
    if errors.is_empty() {
        return Ok(());
    }
    let (word, group) = review.kind.strategy.error_kind();
    Err(ApiError::invalid(group, word, tree::str_at(object, "metadata.name"), &errors))
}

fn admin_error(review: &Review<'_>, object: &Tree, asked: Option<Path>) -> Option<field::Error> {
    let path = asked?;
    let namespace = review.objects().core("namespaces", "", tree::str_at(object, "metadata.namespace"));
    let labels = namespace.as_ref().and_then(|namespace| tree::map_at(namespace, "metadata.labels"));
    let allowed = labels.and_then(|labels| labels.get(ADMIN_LABEL)).and_then(Tree::as_str) == Some("true");
    (!allowed).then(|| {
        let text = format!(
            "admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
        );
        field::forbidden(&path, text)
    })
}

fn forbidden_text(review: &Review<'_>, attributes: &Attributes) -> Option<String> {
    let context = review.context;
    let permissions = context.server.permissions.snapshot(&context.server.store, &context.server.codec);
    permissions.authorizer().check(&context.user, attributes).err().map(|refusal| refusal.to_string())
}

fn binding_error(review: &Review<'_>, object: &Tree, old: &Tree) -> Option<field::Error> {
    let parts = ["status.allocation", "status.reservedFor"];
    if parts.iter().all(|path| tree::same_at(object, old, path)) {
        return None;
    }
    let verb = review.context.info.verb.as_str();
    let attributes = Attributes::resource(verb, GROUP, "resourceclaims").subresource("binding");
    forbidden_text(review, &attributes).map(|text| {
        let intro =
            "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\"";
        field::forbidden(
            &Path::new("status.allocation"),
            format!("{intro}, verb=\"{verb}\" permission: {text}"),
        )
    })
}

/// A driver on the claim's own node needs less than one that writes for any node.
fn driver_errors(review: &Review<'_>, object: &Tree, old: &Tree) -> Vec<field::Error> {
    if tree::at(object, "status.allocation").is_none() {
        return Vec::new();
    }
    let (context, verb) = (review.context, review.context.info.verb.as_str());
    let node = claims::allocated_node(object);
    let own = context.user.extra.get(NODE_NAME).map_or(&[][..], Vec::as_slice);
    let is_local = context.user.as_service_account().is_some()
        && matches!((own, node), ([own], Some(node)) if own == node);
    let prefixes: &[&str] =
        if is_local { &["associated-node:", "arbitrary-node:"] } else { &["arbitrary-node:"] };
    let verbs: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}{verb}")).collect();
    let mut errors = Vec::new();
    for driver in claims::changed_drivers(object, old) {
        let refusals: Vec<Option<String>> = verbs
            .iter()
            .map(|verb| {
                let attributes = Attributes::resource(verb, GROUP, "resourceclaims")
                    .subresource("driver")
                    .in_namespace(&context.info.namespace)
                    .named(driver);
                forbidden_text(review, &attributes)
            })
            .collect();
        if let (true, Some(Some(text))) = (refusals.iter().all(Option::is_some), refusals.first()) {
            let verbs = verbs.join(" ");
            let intro = "changing status.devices requires resource=\"resourceclaims/driver\"";
            let text = format!("{intro}, verb=\"[{verbs}]\" permission: {text}");
            errors.push(field::forbidden(&Path::new("status.devices"), text));
        }
    }
    errors
}
