//! What node agents may write; the rules are in the access crate.

use super::{Operation, Review};
use crate::objects::Restricted;
use crate::status::{ApiError, ApiResult, GroupResource};
use access::node::restriction::{self, Refusal, Write};
use schema::Tree;

pub(super) fn admit(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    let context = review.context;
    if access::node::identity(&context.user).is_none() {
        return Ok(());
    }
    let permissions = context.server.permissions.snapshot(&context.server.store, &context.server.codec);
    let objects = Restricted { objects: review.objects(), permissions: &permissions };
    let name = match context.info.path_name.as_str() {
        "" => object.pointer("/metadata/name").and_then(Tree::as_str).unwrap_or_default(),
        name => name,
    };
    let write = Write {
        operation: match review.operation {
            Operation::Create => restriction::Operation::Create,
            Operation::Update => restriction::Operation::Update,
            Operation::Delete => restriction::Operation::Delete,
        },
        group: &review.kind.resource.group,
        resource: &review.kind.resource.plural,
        subresource: review.sub.as_str(),
        namespace: &context.info.namespace,
        name,
        object,
        old: old.unwrap_or(&Tree::Null),
    };
    restriction::admit(&objects, &context.user, &write).map_err(|refusal| match refusal {
        Refusal::Forbidden(forbidden) => ApiError::Denied(forbidden),
        Refusal::NotFound { resource, name } => ApiError::not_found(&GroupResource::new("", resource), &name),
    })
}
