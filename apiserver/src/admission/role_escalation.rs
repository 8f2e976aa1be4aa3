//! Nobody hands out rights they do not have; the rules are in the access crate.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult, GroupResource};
use access::rbac::{self, Refusal};
use schema::Tree;

pub(super) fn validate(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if review.operation == Operation::Delete || review.kind.resource.group != rbac::GROUP {
        return Ok(());
    }
    let context = review.context;
    let permissions = context.server.permissions.snapshot(&context.server.store, &context.server.codec);
    let authorizer = permissions.authorizer();
    let outcome = match review.kind.resource.plural.as_str() {
        "roles" | "clusterroles" => rbac::check_role(&authorizer, &context.user, object, old),
        _ => rbac::check_binding(&authorizer, &context.user, object),
    };
    outcome.map_err(|refusal| match refusal {
        Refusal::Forbidden(forbidden) => ApiError::Denied(forbidden),
        Refusal::RoleNotFound { resource, name } => {
            ApiError::not_found(&GroupResource::new(rbac::GROUP, resource), &name)
        }
    })
}
