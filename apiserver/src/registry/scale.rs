//! The `scale` subresource: replicas and selector of an object, and nothing
//! else of it.

use super::apply::Config;
use super::body::{self, Expected};
use super::update::{self, Wanted};
use super::{Written, get, managed, patch};
use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::negotiate::{self, Accepted, PatchType, Shape};
use crate::options::{WriteOptions, WriteVerb};
use crate::render::{self, Include};
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use kinds::autoscaling::scale;
use kinds::{Subresource, tree};
use schema::Tree;
use schema::fields::apply::scale as managers_of;

fn expected() -> Expected<'static> {
    let schema = schema::kind("autoscaling", "v1", "Scale").expect("the table has Scale");
    Expected { schema, group: "autoscaling", version: "v1", kind: "Scale" }
}

/// The scale of a stored object, with its managers, for a write.
fn of(kind: &Kind, parent: &Tree) -> ApiResult<Tree> {
    let mut current = shown(parent);
    let managers = tree::at(parent, "metadata.managedFields");
    let managers = managers_of::of_parent(managers, &kind.api_version).map_err(ApiError::Plain)?;
    if !managers.is_null() {
        tree::set(&mut current, "metadata.managedFields", managers);
    }
    Ok(current)
}

/// The scale of an object as clients see it.
fn shown(parent: &Tree) -> Tree {
    let selector = kinds::apps::scale::selector(parent);
    scale::of(parent, &selector)
}

fn show(context: &Context, accepted: Accepted, code: u16, parent: &Tree) -> ApiResult<Reply> {
    let scale = shown(parent);
    match accepted.shape {
        Shape::Table(beta) => {
            let include = Include::parse(context.query.text("includeObject"))?;
            let cells = scale::row(&scale, context.now);
            let table = render::table_of_one(scale::COLUMNS, cells, &scale, include, beta);
            Ok(reply::object(context, code, accepted, render::encode(&table, accepted)))
        }
        Shape::Partial(beta) => {
            let body = render::encode(&render::partial(&scale, beta), accepted);
            Ok(reply::object(context, code, accepted, body))
        }
        _ => Ok(reply::bytes(code, accepted.format.media_type(), render::encode(&scale, accepted))),
    }
}

/// Serves the scale.
pub(super) async fn get(context: &Context, kind: &'static Kind) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let view = get::view(context).await?;
    let entry = view
        .get(&context.key(kind))
        .ok_or_else(|| ApiError::not_found(&kind.group_resource, &context.info.path_name))?;
    show(context, accepted, 200, &context.server.codec.tree(kind, &entry, entry.revision)?)
}

/// Sets the replicas to the body's.
pub(super) async fn update(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    negotiate::body_format(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Update)?;
    let mut wanted = body::decode_as(context, expected(), &bytes, options.validation)?.tree;
    super::create::check_namespace(context, kind, &mut wanted)?;
    update::check_name(context, &wanted)?;
    let written = update::apply(context, kind, Subresource::Scale, &options, |old| {
        let current = of(kind, old)?;
        let mut wanted = wanted.clone();
        managed::on_scale(context, expected(), &options, &mut wanted, &current);
        let tree = into_parent(context, kind, &wanted, old, managed::without_revision)?;
        Ok(Wanted { booked: true, ..Wanted::from(tree) })
    })
    .await?;
    answer(context, kind, accepted, &written)
}

/// Patches the scale.
pub(super) async fn patch(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let patch_type = negotiate::patch_type(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Patch(patch_type))?;
    let change = Change::read(patch_type, &bytes)?;
    let written = update::apply(context, kind, Subresource::Scale, &options, |old| {
        let current = of(kind, old)?;
        let wanted = change.apply(context, &options, &current)?;
        let tree = into_parent(context, kind, &wanted, old, |_| ())?;
        Ok(Wanted { booked: true, ..patch::mark(tree, old) })
    })
    .await?;
    answer(context, kind, accepted, &written)
}

/// What a patch does to a scale.
enum Change {
    Patch(patch::Patch),
    Apply(Config),
}

impl Change {
    fn read(patch_type: PatchType, bytes: &[u8]) -> ApiResult<Self> {
        match patch_type {
            PatchType::Apply => Config::read(bytes).map(Self::Apply),
            other => patch::Patch::read(other, bytes).map(Self::Patch),
        }
    }

    fn apply(&self, context: &Context, options: &WriteOptions, current: &Tree) -> ApiResult<Tree> {
        match self {
            Self::Apply(config) => config.on_scale(context, expected(), options, current),
            Self::Patch(patch) => {
                let mut wanted = patch.apply(context, expected(), current, options.validation)?;
                managed::on_scale(context, expected(), options, &mut wanted, current);
                Ok(wanted)
            }
        }
    }
}

/// The object with the replicas of a scale, and with the managers that they have there.
fn into_parent(
    context: &Context,
    kind: &Kind,
    wanted: &Tree,
    old: &Tree,
    prepare: impl FnOnce(&mut Tree),
) -> ApiResult<Tree> {
    check(context, wanted)?;
    let mut parent = old.clone();
    prepare(&mut parent);
    scale::apply(wanted, &mut parent);
    let managers = |tree: &Tree| tree::at(tree, "metadata.managedFields").cloned();
    let managers =
        managers_of::to_parent(managers(old).as_ref(), managers(wanted).as_ref(), &kind.api_version)
            .map_err(ApiError::Plain)?;
    tree::remove(&mut parent, "metadata.managedFields");
    if !managers.is_null() {
        tree::set(&mut parent, "metadata.managedFields", managers);
    }
    Ok(parent)
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
    show(context, accepted, 200, &*context.server.codec.content_tree(kind, content)?)
}
