//! Pods run as a service account: the default one unless they name another,
//! with its token mounted unless it or they decline.

use super::{Operation, Review};
use crate::clock;
use crate::status::{ApiError, ApiResult};
use kinds::core::pod::admission;
use kinds::{Subresource, tree};
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) -> ApiResult<()> {
    let ephemeral = review.sub == Subresource::EphemeralContainers && review.operation == Operation::Update;
    let created = review.is_core("pods") && review.operation == Operation::Create;
    if !created && !ephemeral {
        return Ok(());
    }
    let name = tree::str_at(object, "metadata.name").to_owned();
    let refuse = |text: String| ApiError::forbidden(&review.kind.group_resource, &name, text);
    if admission::is_mirror(object) {
        return admission::check_mirror(object).map_err(|text| refuse(text.to_owned()));
    }
    let namespace = review.context.info.namespace.as_str();
    let account_name = admission::service_account_name(object);
    let account = review.objects().core("serviceaccounts", namespace, &account_name);
    let account =
        account.ok_or_else(|| refuse(admission::missing_service_account(namespace, &account_name)))?;
    if ephemeral {
        return admission::check_ephemeral_secrets(object, &account).map_err(refuse);
    }
    admission::check_mountable_secrets(object, &account).map_err(refuse)?;
    admission::apply_service_account(object, &account, &clock::suffix(&review.context.server.seams, 5));
    Ok(())
}
