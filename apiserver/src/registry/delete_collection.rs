//! DELETE of a collection: lists, then deletes one by one.

use super::delete::{Admission, Deleted, delete_key};
use super::list::{self, Selection};
use super::propose::linearizable;
use crate::admission::{self, Effects, Operation, Review};
use crate::catalog::Kind;
use crate::context::Context;
use crate::negotiate::{self, Offer};
use crate::options::{DeleteOptions, ListOptions};
use crate::render::ListMeta;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use kinds::Subresource;
use schema::Tree;

/// Deletes what the selectors choose and answers with the list of it.
pub(super) async fn delete_collection(
    context: &Context,
    kind: &'static Kind,
    bytes: Bytes,
) -> ApiResult<Reply> {
    let accepted =
        context.negotiate(Offer { table: true, partial: true, partial_list: true, watch: false })?;
    let selection = Selection::new(context, kind, ListOptions::parse(&context.query, false)?)?;
    let options =
        DeleteOptions::parse(&context.query, &bytes, || negotiate::body_format(context.content_type()))?;
    super::delete::warn_of_orphans(context, kind, &options);
    let view = linearizable(context).await?;
    let mut effects = Effects::default();
    let mut review = Review::new(
        context,
        kind,
        Subresource::None,
        Operation::Delete,
        &view,
        options.dry_run,
        &mut effects,
    );
    admission::validate(&mut review, &Tree::Null, None)?;
    let page = list::page(&view, &selection, None);
    for entry in &page.items {
        match delete_key(context, kind, &entry.object.key, &options, Admission::Needed).await {
            Ok(Deleted::Gone(..) | Deleted::Waiting(_) | Deleted::Dry(..))
            | Err(ApiError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let meta = ListMeta { revision: view.revision(), resume: None, remaining: None };
    let body = context.renderer(kind, accepted)?.list(&page.items, &meta)?;
    Ok(reply::object(context, 200, accepted, body))
}
