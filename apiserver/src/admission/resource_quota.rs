//! A namespace's quotas: a write that would use more than they allow is refused, and what it uses is added to their usage
//! in the write's own transaction. Each quota that is charged must still be at the revision that was read, so two writers
//! can never share the same remainder; the one that comes second looks again. What is given back the controller finds.

use super::{Operation, Review};
use crate::catalog;
use crate::codec::Codec;
use crate::registry::record_status;
use crate::status::{ApiError, ApiResult};
use kinds::quota::{self, Write};
use kinds::tree;
use mvcc::{Key, Precondition, Revision};
use schema::Tree;

const QUOTAS: &str = "resourcequotas";

/// Who is recorded in the managedFields of a charged quota.
const MANAGER: &str = "kube-apiserver";

pub(super) fn validate(review: &mut Review<'_>, object: &Tree, old: Option<&Tree>) -> ApiResult<()> {
    let namespace = review.context.info.namespace.clone();
    // Nearly every namespace has none, which is seen without a look at any object.
    if review.operation == Operation::Delete
        || namespace.is_empty()
        || !review.kind.resource.namespaced
        || review.view.count(QUOTAS, Some(&namespace)) == 0
    {
        return Ok(());
    }
    let resource = review.kind.resource;
    let write = Write {
        group: &resource.group,
        plural: &resource.plural,
        sub: review.sub,
        object,
        old: old.filter(|_| review.operation == Operation::Update),
        now: review.context.now,
    };
    if !write.counts() {
        return Ok(());
    }
    let quotas = review.objects().in_namespace("", QUOTAS, &namespace);
    let name = tree::str_at(object, "metadata.name");
    let changes = quota::check(&quotas, &write)
        .map_err(|text| ApiError::forbidden(&review.kind.group_resource, name, text))?;
    for (index, charged) in changes {
        charge(review, &quotas[index], charged)?;
    }
    Ok(())
}

fn charge(review: &mut Review<'_>, quota: &Tree, mut charged: Tree) -> ApiResult<()> {
    let kind = catalog::find("", "v1", QUOTAS).ok_or(ApiError::NoSuchResource)?;
    let key =
        Key::new(QUOTAS, tree::str_at(quota, "metadata.namespace"), tree::str_at(quota, "metadata.name"));
    let revision = tree::str_at(quota, "metadata.resourceVersion").parse().map(Revision);
    let revision = revision.map_err(|_| ApiError::Internal("a stored quota has no revision".into()))?;
    record_status(review.context, kind, MANAGER, &mut charged, quota);
    let codec: &Codec = &review.context.server.codec;
    let operation = mvcc::Operation::Put(codec.object(kind, key.clone(), &charged)?);
    review.require(Precondition::AtRevision(key, revision));
    review.also(operation);
    Ok(())
}
