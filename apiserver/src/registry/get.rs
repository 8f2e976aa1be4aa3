//! GET of one object.

use super::propose::{linearizable, view_at_least};
use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::query::parse_uint;
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use mvcc::View;
use schema::go::quote;

/// Serves the object the path names.
pub(super) async fn get(context: &Context, kind: &'static Kind) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let view = view(context).await?;
    let name = &context.info.path_name;
    let entry = view
        .find(&kind.stored_as, context.namespace(), name)
        .ok_or_else(|| ApiError::not_found(&kind.group_resource, name))?;
    context.show(kind, accepted, 200, Content::Entry(entry, entry.revision))
}

/// The view a read asks for with its `resourceVersion`.
pub(super) async fn view(context: &Context) -> ApiResult<View> {
    match context.query.text("resourceVersion") {
        "" => linearizable(context).await,
        "0" => Ok(context.server.store.view()),
        text => view_at_least(context, revision(text)?).await,
    }
}

/// A revision of a get or a watch; a bad one is a bare 500 upstream.
pub(super) fn revision(text: &str) -> ApiResult<u64> {
    parse_uint(text)
        .map_err(|why| ApiError::Plain(format!("resourceVersion: Invalid value: {}: {why}", quote(text))))
}
