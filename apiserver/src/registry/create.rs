//! POST of a new object. Decides names, identity and the preconditions of a
//! creation; what the object may be is the strategy's.

use super::propose::{Proposed, linearizable, propose};
use super::update::RETRIES_MAX;
use super::{Written, body, managed, owners};
use crate::admission::{self, Effects, Operation, Review};
use crate::catalog::Kind;
use crate::clock;
use crate::context::Context;
use crate::empties;
use crate::options::{WriteOptions, WriteVerb};
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use kinds::{Subresource, tree, write};
use mvcc::{Key, Precondition, View};
use schema::Tree;
use serde_json::json;
use std::borrow::Cow;

/// Names tried for one `generateName`.
const NAMES_MAX: usize = 8;
/// Characters of a generated suffix.
const SUFFIX: usize = 5;
/// Longest prefix of a generated name.
const PREFIX_MAX: usize = 58;

/// Creates the object in the body.
pub(super) async fn create(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    crate::negotiate::body_format(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Create)?;
    let read = || -> ApiResult<Tree> {
        let mut tree = body::decode(context, kind, &bytes, options.validation)?;
        wipe_system_fields(&mut tree);
        check_namespace(context, kind, &mut tree)?;
        context.was_sent(&tree);
        owners::deduplicate(context, &mut tree);
        managed::on_create(context, kind, &options, &mut tree);
        Ok(tree)
    };
    let written = create_booked(context, kind, read, &options).await?;
    context.show_written(kind, accepted, &written)
}

/// What only the server sets is not even recorded as sent.
fn wipe_system_fields(tree: &mut Tree) {
    for name in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        tree::remove(tree, &format!("metadata.{name}"));
    }
}

/// The body's namespace must be the path's, or absent.
pub(crate) fn check_namespace(context: &Context, kind: &Kind, tree: &mut Tree) -> ApiResult<()> {
    let requested = if kind.resource.namespaced { context.namespace() } else { "" };
    write::match_namespace(tree, requested).map_err(ApiError::BadRequest)
}

/// Creates a decoded, defaulted object.
pub(crate) async fn create_tree(
    context: &Context,
    kind: &'static Kind,
    mut tree: Tree,
    options: &WriteOptions,
) -> ApiResult<Written> {
    managed::on_create(context, kind, options, &mut tree);
    create_booked(context, kind, || Ok(tree.clone()), options).await
}

/// Creates an object whose managedFields say already who owns what. It is made for every try, which uses it up; most
/// creations need one.
pub(super) async fn create_booked(
    context: &Context,
    kind: &'static Kind,
    mut make: impl FnMut() -> ApiResult<Tree>,
    options: &WriteOptions,
) -> ApiResult<Written> {
    let mut name_tries = 0;
    let mut attempts = 0;
    let mut _turn = None;
    loop {
        let tree = make()?;
        if !matches!(tree::str_at(&tree, "metadata.resourceVersion"), "" | "0") {
            return Err(ApiError::Plain("resourceVersion should not be set on objects to be created".into()));
        }
        let generates = tree::str_at(&tree, "metadata.name").is_empty()
            && !tree::str_at(&tree, "metadata.generateName").is_empty();
        let outcome = attempt(context, kind, tree, options).await?;
        match outcome {
            Attempt::Done(written) => return Ok(written),
            Attempt::Taken(name) => {
                name_tries += 1;
                if !generates {
                    return Err(ApiError::AlreadyExists { resource: kind.group_resource.clone(), name });
                }
                if name_tries == NAMES_MAX {
                    return Err(ApiError::NoFreeName { resource: kind.group_resource.clone(), name });
                }
            }
            Attempt::Stale => {
                attempts += 1;
                if _turn.is_none() {
                    _turn = Some(context.server.turns.take(&context.info.namespace).await);
                }
                if attempts == RETRIES_MAX {
                    return Err(ApiError::Timeout(
                        "request did not complete within the allotted timeout".into(),
                    ));
                }
            }
        }
    }
}

enum Attempt {
    Done(Written),
    /// The name is in use.
    Taken(String),
    /// What was read has changed.
    Stale,
}

async fn attempt(
    context: &Context,
    kind: &'static Kind,
    mut tree: Tree,
    options: &WriteOptions,
) -> ApiResult<Attempt> {
    let view = linearizable(context).await?;
    let mut effects = Effects::requiring(Precondition::Absent(placeholder(kind)));
    let mut review = Review::new(
        context,
        kind,
        Subresource::None,
        Operation::Create,
        &view,
        options.dry_run,
        &mut effects,
    );
    admission::mutate(&mut review, &mut tree, None)?;
    identify(context, &mut tree);
    write::prepare_create(kind.strategy, &mut tree);
    kind.strategy.stamp(Subresource::None, &mut tree, None, &clock::seconds(context.now));
    admission::allocate(&mut review, &mut tree, None)?;
    let errors = write::validate_create(kind.strategy, &context.empties.get().put_back(&tree));
    if !errors.is_empty() {
        let (word, group) = kind.strategy.error_kind();
        return Err(ApiError::invalid(group, word, tree::str_at(&tree, "metadata.name"), &errors));
    }
    kind.strategy.warnings(&tree, None).into_iter().for_each(|text| context.warnings.add(text));
    admission::validate(&mut review, &tree, None)?;
    store(context, kind, tree, &view, effects, options).await
}

/// Stands where the object's own key goes once its name is known.
fn placeholder(kind: &Kind) -> Key {
    Key::new(kind.stored_as.clone(), "", "")
}

async fn store(
    context: &Context,
    kind: &Kind,
    mut tree: Tree,
    view: &View,
    mut effects: Effects,
    options: &WriteOptions,
) -> ApiResult<Attempt> {
    kind.strategy.settle(&mut tree);
    let name = tree::str_at(&tree, "metadata.name").to_owned();
    let key = Key::new(kind.stored_as.clone(), tree::str_at(&tree, "metadata.namespace"), name.as_str());
    if let Some(entry) = view.entry(&key) {
        return already_there(context, kind, entry, name);
    }
    if options.dry_run {
        let settled = empties::settled(kind.schema, Cow::Owned(tree)).into_owned();
        return Ok(Attempt::Done(Written::Only(settled, true)));
    }
    effects.preconditions[0] = Precondition::Absent(key.clone());
    let object = context.server.codec.object(kind, key, &tree)?;
    let (preconditions, operations) = effects.with(mvcc::Operation::Put(object));
    match propose(context, preconditions, operations).await? {
        Proposed::Applied(entries, _) => {
            Ok(Attempt::Done(Written::Created(entries.into_iter().last().expect("one operation, one entry"))))
        }
        Proposed::Refused(0) => Ok(Attempt::Taken(name)),
        Proposed::Refused(_) => Ok(Attempt::Stale),
    }
}

fn already_there(context: &Context, kind: &Kind, entry: &mvcc::Entry, name: String) -> ApiResult<Attempt> {
    let tree = context.server.codec.tree(kind, entry, entry.revision)?;
    if tree::at(&tree, "metadata.deletionTimestamp").is_some() {
        return Err(ApiError::BeingDeleted { resource: kind.group_resource.clone(), name });
    }
    Ok(Attempt::Taken(name))
}

/// Gives a new object its name, uid and time.
fn identify(context: &Context, tree: &mut Tree) {
    let seams = &context.server.seams;
    let prefix = tree::str_at(tree, "metadata.generateName").to_owned();
    if tree::str_at(tree, "metadata.name").is_empty() && !prefix.is_empty() {
        let short: String = prefix.chars().take(PREFIX_MAX).collect();
        tree::set(tree, "metadata.name", format!("{short}{}", clock::suffix(seams, SUFFIX)));
    }
    tree::set(tree, "metadata.uid", clock::uid(seams));
    tree::set(tree, "metadata.creationTimestamp", json!(clock::seconds(context.now)));
}
