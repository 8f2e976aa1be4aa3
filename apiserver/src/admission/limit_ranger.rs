//! Pods and claims stay within the limit ranges of their namespace; what a pod leaves out is filled in from them.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::limits;
use kinds::{Subresource, tree};
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    if review.kind.resource.plural == "pods" && concerns(review, old) {
        limits::default_pod(object, &ranges(review));
    }
    Ok(())
}

pub(super) fn validate(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !concerns(review, old) {
        return Ok(());
    }
    let check = if review.kind.resource.plural == "pods" { limits::check_pod } else { limits::check_claim };
    let name = tree::str_at(object, "metadata.name");
    check(object, &ranges(review))
        .map_err(|text| ApiError::forbidden(&review.kind.group_resource, name, text))
}

/// New pods and their resizes, new and changed claims; nothing that is going already.
fn concerns(review: &Review<'_>, old: Option<&Tree>) -> bool {
    if !review.kind.resource.group.is_empty()
        || old.is_some_and(|old| tree::at(old, "metadata.deletionTimestamp").is_some())
    {
        return false;
    }
    matches!(
        (review.kind.resource.plural.as_str(), review.sub, review.operation),
        ("pods" | "persistentvolumeclaims", Subresource::None, Operation::Create)
            | ("persistentvolumeclaims", Subresource::None, Operation::Update)
            | ("pods", Subresource::Resize, Operation::Update)
    )
}

fn ranges(review: &Review<'_>) -> Vec<Tree> {
    review.objects().in_namespace("", "limitranges", &review.context.info.namespace)
}
