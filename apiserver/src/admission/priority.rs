//! A pod's priority follows from its class. Only the two classes every cluster
//! has are known here: priority classes are no resource yet.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::pod::admission;
use kinds::tree;
use schema::Tree;
use serde_json::json;

/// Classes that need no object.
const BUILT_IN: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !review.is_core("pods") {
        return Ok(());
    }
    match (review.operation, old) {
        (Operation::Create, _) => set(review, object),
        (Operation::Update, Some(old)) => {
            admission::keep_priority(object, old);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn set(review: &Review<'_>, object: &mut Tree) -> ApiResult<()> {
    let name = tree::str_at(object, "metadata.name").to_owned();
    let refuse = |text: String| ApiError::forbidden(&review.kind.group_resource, &name, text);
    let class = match tree::str_at(object, "spec.priorityClassName") {
        "" => None,
        class => {
            let found = BUILT_IN.iter().find(|(known, _)| *known == class);
            let (class, value) =
                found.ok_or_else(|| refuse(format!("no PriorityClass with name {class} was found")))?;
            Some(
                json!({"metadata": {"name": class}, "value": value, "preemptionPolicy": "PreemptLowerPriority"}),
            )
        }
    };
    admission::set_priority(object, class.as_ref()).map_err(refuse)
}
