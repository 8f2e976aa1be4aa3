//! A resize must fit the node that the pod runs on.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult, Cause};
use kinds::core::pod::node_fit;
use kinds::{Subresource, tree};
use schema::Tree;

pub(super) fn validate(review: &Review<'_>, pod: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    let resizes = review.sub == Subresource::Resize && review.operation == Operation::Update;
    let node_name = tree::str_at(pod, "spec.nodeName");
    let changes = old.is_some_and(|old| {
        tree::int_at(old, "metadata.generation") != tree::int_at(pod, "metadata.generation")
    });
    if !resizes || node_name.is_empty() || !changes {
        return Ok(());
    }
    let (resource, name) = (&review.kind.group_resource, tree::str_at(pod, "metadata.name"));
    let node = review.objects().core("nodes", "", node_name);
    let node =
        node.ok_or_else(|| ApiError::forbidden(resource, name, format!("node {node_name:?} not found")))?;
    node_fit::check(pod, &node).map_err(|misfit| ApiError::Forbidden {
        resource: resource.clone(),
        name: name.to_owned(),
        text: misfit.text,
        causes: vec![Cause {
            reason: misfit.reason.to_owned(),
            message: String::new(),
            field: String::new(),
        }],
    })
}
