//! Runtime classes are no resource yet: a pod that names one is refused, one
//! that brings an overhead of its own too.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::pod::admission;
use kinds::tree;
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) -> ApiResult<()> {
    if !review.is_core("pods") || review.operation != Operation::Create {
        return Ok(());
    }
    let name = tree::str_at(object, "metadata.name").to_owned();
    let refuse = |text: String| ApiError::forbidden(&review.kind.group_resource, &name, text);
    let class = tree::str_at(object, "spec.runtimeClassName");
    if !class.is_empty() {
        return Err(refuse(format!("pod rejected: RuntimeClass \"{class}\" not found")));
    }
    admission::apply_runtime_class(object, None).map_err(refuse)
}
