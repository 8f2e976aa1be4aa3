//! Nothing is created in a namespace that is missing or going, and the
//! namespaces the cluster lives in stay.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult, Cause, GroupResource};
use kinds::tree;
use mvcc::{Key, Precondition};
use schema::Tree;

/// Namespaces that may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(super) fn admit(review: &mut Review<'_>, object: &Tree) -> ApiResult<()> {
    let info = &review.context.info;
    if review.is_core("namespaces") {
        let name = &info.path_name;
        if review.operation == Operation::Delete && IMMORTAL.contains(&name.as_str()) {
            return Err(ApiError::forbidden(
                &review.kind.group_resource,
                name,
                "this namespace may not be deleted",
            ));
        }
        return Ok(());
    }
    if !review.kind.resource.namespaced || review.operation != Operation::Create || !review.kind.is_stored() {
        return Ok(());
    }
    let namespace = info.namespace.clone();
    let resource = GroupResource::new("", "namespaces");
    let stored = review
        .objects()
        .core("namespaces", "", &namespace)
        .ok_or_else(|| ApiError::not_found(&resource, &namespace))?;
    if tree::str_at(&stored, "status.phase") == "Terminating"
        || tree::at(&stored, "metadata.deletionTimestamp").is_some()
    {
        return Err(terminating(review, object, &namespace));
    }
    let key = Key::new("namespaces", "", namespace.as_str());
    review.require(Precondition::Attribute { key, name: "status.phase".into(), value: "Active".into() });
    Ok(())
}

fn terminating(review: &Review<'_>, object: &Tree, namespace: &str) -> ApiError {
    let name = tree::str_at(object, "metadata.name");
    let message = format!("namespace {namespace} is being terminated");
    ApiError::Forbidden {
        resource: review.kind.group_resource.clone(),
        name: name.to_owned(),
        text: format!("unable to create new content in namespace {namespace} because it is being terminated"),
        causes: vec![Cause {
            reason: "NamespaceTerminating".into(),
            message,
            field: "metadata.namespace".into(),
        }],
    }
}
