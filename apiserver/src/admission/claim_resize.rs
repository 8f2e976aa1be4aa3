//! A claim may only grow when it is bound and its class allows that.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::claims;
use kinds::tree;
use schema::Tree;

const NOT_ALLOWED: &str = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

pub(super) fn validate(review: &Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    let Some(old) =
        old.filter(|_| review.is_core("persistentvolumeclaims") && review.operation == Operation::Update)
    else {
        return Ok(());
    };
    if claims::requested(object) <= claims::requested(old) {
        return Ok(());
    }
    let text = if tree::str_at(old, "status.phase") != "Bound" {
        "Only bound persistent volume claims can be expanded"
    } else if !allows(review, object, old) {
        NOT_ALLOWED
    } else {
        return Ok(());
    };
    let name = tree::str_at(object, "metadata.name");
    Err(ApiError::forbidden(&review.kind.group_resource, name, text))
}

fn allows(review: &Review<'_>, object: &Tree, old: &Tree) -> bool {
    let class = claims::class(object).filter(|class| !class.is_empty() && claims::class(old) == Some(class));
    class
        .and_then(|class| review.objects().get("storage.k8s.io", "storageclasses", "", class))
        .is_some_and(|class| tree::bool_at(&class, "allowVolumeExpansion") == Some(true))
}
