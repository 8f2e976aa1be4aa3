//! A pod that names a runtime class gets what the class costs and asks for; one that brings an overhead without a class that
//! has it is refused.

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
    let class = match tree::at(object, "spec.runtimeClassName").and_then(Tree::as_str) {
        None => None,
        Some(class) => {
            let found = review.objects().get("node.k8s.io", "runtimeclasses", "", class);
            let missing =
                || refuse(format!("pod rejected: RuntimeClass {} not found", schema::go::quote(class)));
            Some(found.ok_or_else(missing)?)
        }
    };
    admission::apply_runtime_class(object, class.as_ref()).map_err(refuse)
}
