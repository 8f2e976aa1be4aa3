//! The `scale` subresource: replicas and selector of an object, and nothing
//! else of it.

use super::body::{self, Expected};
use super::{Written, get, managed, patch, update};
use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::negotiate::{self, Accepted, PatchType};
use crate::options::{WriteOptions, WriteVerb};
use crate::render;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use kinds::autoscaling::scale;
use kinds::{Subresource, columns, tree};
use schema::Tree;

fn expected() -> Expected<'static> {
    let schema = schema::kind("autoscaling", "v1", "Scale").expect("the table has Scale");
    Expected { schema, group: "autoscaling", version: "v1", kind: "Scale" }
}

/// The scale of a stored object.
fn of(parent: &Tree) -> Tree {
    let selector = match columns::label_selector(parent, "spec.selector").as_str() {
        "<none>" | "<error>" => String::new(),
        selector => selector.to_owned(),
    };
    scale::of(parent, &selector)
}

fn show(accepted: Accepted, code: u16, parent: &Tree) -> Reply {
    reply::bytes(code, accepted.format.media_type(), render::encode(&of(parent), accepted))
}

/// Serves the scale.
pub(super) async fn get(context: &Context, kind: &'static Kind) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let view = get::view(context).await?;
    let entry = view
        .get(&context.key(kind))
        .ok_or_else(|| ApiError::not_found(&kind.group_resource, &context.info.path_name))?;
    Ok(show(accepted, 200, &context.server.codec.tree(kind, &entry, entry.revision)?))
}

/// Sets the replicas to the body's.
pub(super) async fn update(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    negotiate::body_format(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Update)?;
    let wanted = body::decode_as(context, expected(), &bytes, options.validation)?.tree;
    update::check_name(context, &wanted)?;
    let written = update::apply(context, kind, Subresource::Scale, &options, |old| {
        check(context, &wanted)?;
        let mut parent = old.clone();
        managed::without_revision(&mut parent);
        scale::apply(&wanted, &mut parent);
        Ok(parent)
    })
    .await?;
    answer(context, kind, accepted, &written)
}

/// Patches the scale.
pub(super) async fn patch(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let patch_type = negotiate::patch_type(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Patch(patch_type))?;
    if patch_type == PatchType::Apply {
        return Err(ApiError::UnsupportedPatchType);
    }
    let patch = patch::Patch::read(patch_type, &bytes)?;
    let written = update::apply(context, kind, Subresource::Scale, &options, |old| {
        let current = of(old);
        let wanted = patch.apply(context, expected(), &current, options.validation)?;
        check(context, &wanted)?;
        let mut parent = old.clone();
        scale::apply(&wanted, &mut parent);
        Ok(patch::mark(parent, old))
    })
    .await?;
    answer(context, kind, accepted, &written)
}

fn check(context: &Context, wanted: &Tree) -> ApiResult<()> {
    let mut named = wanted.clone();
    if tree::str_at(&named, "metadata.namespace").is_empty() {
        tree::set(&mut named, "metadata.namespace", context.namespace());
    }
    let errors = scale::validate(&named);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid("autoscaling", "Scale", &context.info.path_name, &errors))
    }
}

fn answer(context: &Context, kind: &Kind, accepted: Accepted, written: &Written) -> ApiResult<Reply> {
    let content = match written {
        Written::Created(entry) | Written::Updated(entry) => Content::Entry(entry, entry.revision),
        Written::Only(tree, _) => Content::Tree(tree),
    };
    Ok(show(accepted, 200, &*context.server.codec.content_tree(kind, content)?))
}
