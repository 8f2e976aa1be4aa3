//! Nothing is created in a namespace that is missing or going, and the
//! namespaces the cluster lives in stay.

use super::{Operation, Review};
use crate::objects::Objects;
use crate::status::{ApiError, ApiResult, Cause, GroupResource};
use kinds::tree;
use mvcc::{Object, Precondition};
use schema::Tree;
use std::sync::Arc;

/// The attribute that says whether a namespace takes new objects.
const PHASE: &str = "status.phase";

/// Its value while objects may be made.
const ACTIVE: &str = "Active";
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
    let Objects { codec, view } = review.objects();
    let stored =
        view.find("namespaces", "", &namespace).ok_or_else(|| ApiError::not_found(&resource, &namespace))?;
    if is_in_phase(&stored.object, "Terminating") || codec.deleted(&stored.object)?.is_some() {
        return Err(terminating(review, object, &namespace));
    }
    let key = stored.object.key.clone();
    let (name, value) = active(&stored.object);
    review.require(Precondition::Attribute { key, name, value });
    Ok(())
}

/// The attribute an active namespace has: its own where it has it, so that the log keeps no copy for every create.
fn active(namespace: &Object) -> (Arc<str>, Arc<str>) {
    let own = namespace.attributes.iter().find(|(name, value)| &**name == PHASE && &**value == ACTIVE);
    own.cloned().unwrap_or_else(|| (PHASE.into(), ACTIVE.into()))
}

/// Whether a stored namespace has a phase. Every create asks, so it is not decoded.
fn is_in_phase(namespace: &Object, phase: &str) -> bool {
    namespace.attributes.iter().any(|(name, value)| &**name == PHASE && &**value == phase)
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
