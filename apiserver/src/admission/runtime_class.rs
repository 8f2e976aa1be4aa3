//! A pod that names a runtime class gets what the class costs and asks for; one that brings an overhead without a class that
//! has it is refused.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::pod::admission;
use kinds::tree;
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) -> ApiResult<()> {
    if !is_new_pod(review) {
        return Ok(());
    }
    let class = class(review, object)?;
    admission::apply_runtime_class(object, class.as_ref()).map_err(|text| refused(review, object, text))
}

pub(super) fn validate(review: &Review<'_>, object: &Tree) -> ApiResult<()> {
    if !is_new_pod(review) || tree::at(object, "spec.overhead").is_none() {
        return Ok(());
    }
    let class = class(review, object)?;
    admission::check_overhead(object, class.as_ref()).map_err(|text| refused(review, object, text))
}

fn is_new_pod(review: &Review<'_>) -> bool {
    review.is_core("pods") && review.operation == Operation::Create
}

fn refused(review: &Review<'_>, pod: &Tree, text: String) -> ApiError {
    ApiError::forbidden(&review.kind.group_resource, tree::str_at(pod, "metadata.name"), text)
}

/// The class a pod names.
fn class(review: &Review<'_>, pod: &Tree) -> ApiResult<Option<Tree>> {
    let Some(class) = tree::at(pod, "spec.runtimeClassName").and_then(Tree::as_str) else { return Ok(None) };
    if class.is_empty() {
        return Err(ApiError::Plain("resource name may not be empty".to_owned()));
    }
    let found = review.objects().get("node.k8s.io", "runtimeclasses", "", class);
    let missing = || format!("pod rejected: RuntimeClass {} not found", schema::go::quote(class));
    found.map(Some).ok_or_else(|| refused(review, pod, missing()))
}
