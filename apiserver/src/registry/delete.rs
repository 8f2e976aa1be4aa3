//! DELETE of one object: preconditions, grace, finalizers, and what the answer
//! shows.

use super::propose::{Proposed, linearizable, propose};
use super::update::{MODIFIED, RETRIES_MAX, namespace_is_finished};
use crate::admission::{self, Effects, Operation, Review};
use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::negotiate;
use crate::options::DeleteOptions;
use crate::reply::{self, Reply};
use crate::status::{self, ApiError, ApiResult, Details, GroupResource};
use bytes::Bytes;
use kinds::deletion::{self, Deletion};
use kinds::{Subresource, tree};
use mvcc::{Entry, Key, Precondition, View};
use schema::Tree;
use std::sync::Arc;

/// What a deletion came to.
pub(super) enum Deleted {
    /// It is gone; its last content.
    Gone(Arc<Entry>, Tree),
    /// It is marked and waits.
    Waiting(Arc<Entry>),
    /// A dry run; the content and whether it would be gone.
    Dry(Tree, bool),
}

/// Deletes the object the path names.
pub(super) async fn delete(context: &Context, kind: &'static Kind, bytes: Bytes) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    let options =
        DeleteOptions::parse(&context.query, &bytes, || negotiate::body_format(context.content_type()))?;
    warn_of_orphans(context, kind, &options);
    let deleted = delete_key(context, kind, &context.key(kind), &options, Admission::Needed).await?;
    let (content, gone) = match &deleted {
        Deleted::Gone(entry, tree) => (gone_content(kind, entry, tree), true),
        Deleted::Waiting(entry) => (Content::Entry(entry, entry.revision), false),
        Deleted::Dry(tree, gone) => (Content::Tree(tree), *gone),
    };
    if gone && !kind.strategy.returns_deleted_object() {
        let uid = match &deleted {
            Deleted::Gone(entry, _) | Deleted::Waiting(entry) => entry.object.uid.to_string(),
            Deleted::Dry(tree, _) => tree::str_at(tree, "metadata.uid").to_owned(),
        };
        let details = Details {
            name: context.info.path_name.clone(),
            group: kind.resource.group.clone(),
            kind: kind.resource.plural.clone(),
            uid,
            ..Details::default()
        };
        return Ok(reply::tree(
            200,
            negotiate::Accepted { shape: negotiate::Shape::Full, ..accepted },
            &status::success(&details),
        ));
    }
    let code = if !gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    context.show(kind, accepted, code, content)
}

/// Tells a client that dependents stay because it did not say otherwise.
pub(super) fn warn_of_orphans(context: &Context, kind: &Kind, options: &DeleteOptions) {
    if options.propagation.is_none()
        && options.orphan_dependents.is_none()
        && let Some(warning) = kind.strategy.orphaning_warning()
    {
        context.warnings.add(warning.to_owned());
    }
}

/// The last content is the mark's, if there is one, else what was stored.
fn gone_content<'a>(_kind: &Kind, _entry: &'a Entry, tree: &'a Tree) -> Content<'a> {
    Content::Tree(tree)
}

/// Whether admission looks at a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The client asked for this deletion.
    Needed,
    /// The deletion follows from another request, which admission let pass.
    Passed,
}

/// Deletes one object, again on a fresh view while it changes under our hands. A deletion that names a revision ends at the
/// first change, because its precondition then fails.
pub(super) async fn delete_key(
    context: &Context,
    kind: &'static Kind,
    key: &Key,
    options: &DeleteOptions,
    admission: Admission,
) -> ApiResult<Deleted> {
    for _ in 0..RETRIES_MAX {
        let view = linearizable(context).await?;
        let entry = view.get(key).ok_or_else(|| ApiError::not_found(&kind.group_resource, &key.name))?;
        if let Some(deleted) = attempt(context, kind, &view, &entry, options, admission).await? {
            return Ok(deleted);
        }
    }
    Err(ApiError::conflict(&kind.group_resource, &key.name, MODIFIED))
}

async fn attempt(
    context: &Context,
    kind: &'static Kind,
    view: &View,
    entry: &Arc<Entry>,
    options: &DeleteOptions,
    admission: Admission,
) -> ApiResult<Option<Deleted>> {
    let key = &entry.object.key;
    check_preconditions(kind, entry, options)?;
    let old = context.server.codec.tree(kind, entry, entry.revision)?;
    let mut effects = Effects::requiring(Precondition::AtRevision(key.clone(), entry.revision));
    let (sub, operation, dry_run) = (Subresource::None, Operation::Delete, options.dry_run);
    let mut review = Review::new(context, kind, sub, operation, view, dry_run, &mut effects);
    if admission == Admission::Needed {
        admission::validate(&mut review, &Tree::Null, Some(&old))?;
    }
    let (tree, gone) = match plan(kind, &old, options, context.now) {
        Deletion::Pending if options.dry_run => return Ok(Some(Deleted::Dry(old, false))),
        Deletion::Pending => return Ok(Some(Deleted::Waiting(entry.clone()))),
        Deletion::Mark(tree) => (tree, false),
        Deletion::Remove(tree) => (tree, true),
    };
    if options.dry_run {
        return Ok(Some(Deleted::Dry(tree, gone)));
    }
    if !gone && tree == old {
        return Ok(Some(Deleted::Waiting(entry.clone())));
    }
    let operation = if gone {
        admission::release(&mut review, &old);
        mvcc::Operation::Delete(key.clone())
    } else {
        mvcc::Operation::Put(context.server.codec.object(kind, key.clone(), &tree)?)
    };
    let (preconditions, operations) = effects.with(operation);
    match propose(context, preconditions, operations).await? {
        Proposed::Applied(entries, last) => {
            let stored = entries.into_iter().last().expect("one operation, one entry");
            if gone {
                let mut tree = tree;
                crate::codec::set_revision(&mut tree, last);
                return Ok(Some(Deleted::Gone(stored, tree)));
            }
            Ok(Some(Deleted::Waiting(stored)))
        }
        Proposed::Refused(_) => Ok(None),
    }
}

/// A namespace is marked and turns Terminating; it goes when its spec's finalizers are gone too.
fn plan(kind: &Kind, old: &Tree, options: &DeleteOptions, now: jiff::Timestamp) -> Deletion {
    if &*kind.stored_as != "namespaces"
        || (tree::at(old, "metadata.deletionTimestamp").is_some() && namespace_is_finished(kind, old))
    {
        return deletion::plan(kind.strategy, old, options.deletion(), now);
    }
    let mut tree = old.clone();
    if tree::at(&tree, "metadata.deletionTimestamp").is_none() {
        tree::set(&mut tree, "metadata.deletionTimestamp", crate::clock::seconds(now));
    }
    tree::set(&mut tree, "status.phase", "Terminating");
    collect_finalizers(&mut tree, options);
    Deletion::Mark(tree)
}

/// A namespace takes the garbage collector's finalizers only when asked to.
fn collect_finalizers(tree: &mut Tree, options: &DeleteOptions) {
    let word = match (options.orphan_dependents, options.propagation) {
        (Some(true), _) | (_, Some(deletion::Propagation::Orphan)) => "orphan",
        (_, Some(deletion::Propagation::Foreground)) => "foregroundDeletion",
        _ => return,
    };
    let mut finalizers: Vec<String> =
        tree::strings_at(tree, "metadata.finalizers").into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|have| have == word) {
        finalizers.push(word.to_owned());
        tree::set(tree, "metadata.finalizers", serde_json::json!(finalizers));
    }
}

fn check_preconditions(kind: &Kind, entry: &Entry, options: &DeleteOptions) -> ApiResult<()> {
    let name = &entry.object.key.name;
    let have = &entry.object.uid;
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != &**have) {
        if &*kind.stored_as == "namespaces" {
            let text = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {have}");
            return Err(ApiError::conflict(&kind.group_resource, name, text));
        }
        let text = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({have}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(&kind_as_resource(kind), name, text));
    }
    let have = entry.revision.to_string();
    if let Some(revision) = options.revision.as_deref().filter(|revision| **revision != have) {
        let text = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({have}). The object might have been modified"
        );
        return Err(ApiError::conflict(&kind_as_resource(kind), name, text));
    }
    Ok(())
}

/// Failed delete preconditions name the kind where other errors name the resource.
fn kind_as_resource(kind: &Kind) -> GroupResource {
    GroupResource::new(kind.resource.group.clone(), kind.resource.kind.clone())
}
