//! PUT, and what PUT and PATCH share: from the stored object and a wanted one
//! to a write, a no-op or a final deletion.

use super::propose::{Proposed, linearizable, propose};
use super::{Written, body, create, managed, owners, used_up};
use crate::admission::{self, Effects, Operation, Review};
use crate::catalog::Kind;
use crate::context::Context;
use crate::empties;
use crate::options::{WriteOptions, WriteVerb};
use crate::query::parse_uint;
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use bytes::Bytes;
use kinds::{Subresource, deletion, meta, tree, write};
use mvcc::{Entry, Key, Precondition, View};
use schema::Tree;
use std::borrow::Cow;
use std::sync::Arc;

/// Times an update that names no resourceVersion runs, each time on what another writer has just stored. Upstream ends only
/// with the request's time; in every round somebody succeeds, so this is as many writers of one object at a time.
pub(super) const RETRIES_MAX: usize = 1000;

/// What an update of an object that changed meanwhile is told.
pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Replaces the object the path names by the body.
pub(super) async fn update(
    context: &Context,
    kind: &'static Kind,
    sub: Subresource,
    bytes: Bytes,
) -> ApiResult<Reply> {
    let accepted = context.accept_object()?;
    crate::negotiate::body_format(context.content_type())?;
    let options = WriteOptions::parse(&context.query, WriteVerb::Update)?;
    let read = || -> ApiResult<Tree> {
        let mut wanted = body::decode(context, kind, &bytes, options.validation)?;
        create::check_namespace(context, kind, &mut wanted)?;
        context.was_sent(&wanted);
        check_name(context, &wanted)?;
        owners::deduplicate(context, &mut wanted);
        Ok(wanted)
    };
    // What is wrong with a body is told before the object is looked for.
    let mut wanted = used_up(read()?, read);
    let creates = sub == Subresource::None && kind.strategy.create_on_update();
    let written = match apply(context, kind, sub, &options, |_| wanted()).await {
        Err(ApiError::NotFound { name, .. }) if creates && name == context.info.path_name => {
            create_on_update(context, kind, wanted()?, &options).await?
        }
        outcome => outcome?,
    };
    context.show_written(kind, accepted, &written)
}

/// A PUT of what is not there creates it, for kinds that allow that; the right to create is asked for then.
async fn create_on_update(
    context: &Context,
    kind: &'static Kind,
    mut wanted: Tree,
    options: &WriteOptions,
) -> ApiResult<Written> {
    let uid = tree::str_at(&wanted, "metadata.uid").to_owned();
    if !uid.is_empty() {
        return Err(other_uid(context, kind, &uid, ""));
    }
    tree::remove(&mut wanted, "metadata.resourceVersion");
    check_may_create(context, kind, "")?;
    create::create_tree(context, kind, wanted, options).await
}

/// An update or a patch that creates needs the right to create, of the same part of the object.
pub(super) fn check_may_create(context: &Context, kind: &Kind, sub: &str) -> ApiResult<()> {
    let attributes =
        access::rbac::Attributes::resource("create", &kind.resource.group, &kind.resource.plural)
            .in_namespace(&context.info.namespace)
            .named(&context.info.path_name)
            .subresource(sub);
    let permissions = context.server.permissions.snapshot(&context.server.store, &context.server.codec);
    permissions.authorizer().check(&context.user, &attributes)?;
    Ok(())
}

/// The body's name must be the path's.
pub(super) fn check_name(context: &Context, wanted: &Tree) -> ApiResult<()> {
    let (have, path) = (tree::str_at(wanted, "metadata.name"), &context.info.path_name);
    match have {
        "" => Err(ApiError::BadRequest(format!(
            "the name of the object ({path} based on URL) was undeterminable: name must be provided"
        ))),
        have if have != path => Err(ApiError::BadRequest(format!(
            "the name of the object ({have}) does not match the name on the URL ({path})"
        ))),
        _ => Ok(()),
    }
}

/// What an update is to make of the stored object.
pub(super) struct Wanted {
    /// The whole object.
    pub(super) tree: Tree,
    /// Its resourceVersion comes from the stored object and not from the client: another try on a newer one is fine.
    pub(super) patched: bool,
    /// Its managedFields say already who owns what after the update.
    pub(super) booked: bool,
}

impl From<Tree> for Wanted {
    /// What a client sent as a whole.
    fn from(tree: Tree) -> Self {
        Self { tree, patched: false, booked: false }
    }
}

/// Runs an update until it fits the state: `want` makes the wanted object out of the stored one.
pub(super) async fn apply<F, W>(
    context: &Context,
    kind: &'static Kind,
    sub: Subresource,
    options: &WriteOptions,
    mut want: F,
) -> ApiResult<Written>
where
    F: FnMut(&Tree) -> ApiResult<W>,
    W: Into<Wanted>,
{
    let key = context.key(kind);
    let mut attempts = 0;
    let mut _turn = None;
    loop {
        let view = linearizable(context).await?;
        let entry = view
            .get(&key)
            .ok_or_else(|| ApiError::not_found(&kind.group_resource, &context.info.path_name))?;
        let old = context.server.codec.tree(kind, &entry, entry.revision)?;
        let wanted: Wanted = want(&old)?.into();
        let unconditional =
            wanted.patched || matches!(tree::str_at(&wanted.tree, "metadata.resourceVersion"), "" | "0");
        let update = Update { context, kind, sub, options, view: &view, entry: &entry, old };
        let changed = match update.run(&key, wanted).await? {
            Outcome::Written(written) => return Ok(written),
            Outcome::Changed => true,
            Outcome::Overtaken => false,
        };
        attempts += 1;
        if changed && unconditional {
            // The next try starts from what the other writer has made.
        } else if changed {
            return Err(ApiError::conflict(&kind.group_resource, &context.info.path_name, MODIFIED));
        } else if _turn.is_none() {
            _turn = Some(context.server.turns.take(&context.info.namespace).await);
        }
        if attempts == RETRIES_MAX {
            return Err(ApiError::conflict(&kind.group_resource, &context.info.path_name, MODIFIED));
        }
    }
}

struct Update<'a> {
    context: &'a Context,
    kind: &'static Kind,
    sub: Subresource,
    options: &'a WriteOptions,
    view: &'a View,
    entry: &'a Arc<Entry>,
    old: Tree,
}

/// What one try of an update came to.
enum Outcome {
    Written(Written),
    /// The object is another by now.
    Changed,
    /// Something else that was looked at is another by now.
    Overtaken,
}

impl From<usize> for Outcome {
    /// The object's own precondition is the first.
    fn from(refused: usize) -> Self {
        if refused == 0 { Outcome::Changed } else { Outcome::Overtaken }
    }
}

impl Update<'_> {
    /// One try.
    async fn run(&self, key: &Key, wanted: Wanted) -> ApiResult<Outcome> {
        let Wanted { tree: mut wanted, patched, booked } = wanted;
        self.check_preconditions(&mut wanted, patched)?;
        if !booked {
            managed::on_update(self.context, self.kind, self.sub, self.options, &mut wanted, &self.old);
        }
        let mut effects = Effects::requiring(Precondition::AtRevision(key.clone(), self.entry.revision));
        let (context, kind) = (self.context, self.kind);
        let mut review = Review::new(
            context,
            kind,
            self.sub,
            Operation::Update,
            self.view,
            self.options.dry_run,
            &mut effects,
        );
        admission::mutate(&mut review, &mut wanted, Some(&self.old))?;
        write::prepare_update(kind.strategy, self.sub, &mut wanted, &self.old);
        let now = crate::clock::seconds(context.now);
        kind.strategy.stamp(self.sub, &mut wanted, Some(&self.old), &now);
        admission::allocate(&mut review, &mut wanted, Some(&self.old))?;
        let errors = {
            let empties = context.empties.get().lists();
            write::validate_update(kind.strategy, self.sub, &empties.put_back(&wanted), &self.old)
        };
        if !errors.is_empty() {
            let (word, group) = kind.strategy.error_kind();
            return Err(ApiError::invalid(group, word, &context.info.path_name, &errors));
        }
        if self.sub != Subresource::Status || kind.strategy.status_warns() {
            let warnings = kind.strategy.warnings(&wanted, Some(&self.old)).into_iter();
            warnings.for_each(|text| context.warnings.add(text));
        }
        admission::validate(&mut review, &wanted, Some(&self.old))?;
        wanted = empties::settled(kind.schema, Cow::Owned(wanted)).into_owned();
        managed::keep_times(&mut wanted, &self.old);
        if self.finishes(&wanted) {
            admission::release(&mut review, &self.old);
        }
        self.store(key, wanted, effects).await
    }

    fn check_preconditions(&self, wanted: &mut Tree, patched: bool) -> ApiResult<()> {
        let revision = tree::str_at(wanted, "metadata.resourceVersion").to_owned();
        let (resource, name) = (&self.kind.group_resource, &self.context.info.path_name);
        if !revision.is_empty() {
            let number = parse_uint(&revision).map_err(ApiError::Plain)?;
            if number != 0 && number != self.entry.revision.0 {
                return Err(ApiError::conflict(resource, name, MODIFIED));
            }
        }
        if matches!(revision.as_str(), "" | "0") {
            if !self.kind.strategy.allow_unconditional_update() {
                return Err(ApiError::invalid(
                    &resource.group,
                    &resource.resource,
                    name,
                    &[meta::missing_resource_version()],
                ));
            }
            crate::codec::set_revision(wanted, self.entry.revision);
        }
        let uid = tree::str_at(wanted, "metadata.uid");
        // A patch is applied to what is stored, so another uid in it is a change like any other.
        if !patched && !uid.is_empty() && uid != &*self.entry.object.uid {
            return Err(other_uid(self.context, self.kind, uid, &self.entry.object.uid));
        }
        Ok(())
    }

    /// Whether the update takes away what a deletion was waiting for.
    fn finishes(&self, wanted: &Tree) -> bool {
        deletion::finished_by_update(wanted, &self.old) && namespace_is_finished(self.kind, wanted)
    }

    async fn store(&self, key: &Key, wanted: Tree, effects: Effects) -> ApiResult<Outcome> {
        if self.options.dry_run {
            return Ok(Outcome::Written(Written::Only(wanted, false)));
        }
        if self.finishes(&wanted) {
            return self.finish(key, wanted, effects).await;
        }
        let object = self.context.server.codec.object(self.kind, key.clone(), &wanted)?;
        if wanted == self.old {
            return Ok(Outcome::Written(Written::Updated(self.entry.clone())));
        }
        let (preconditions, operations) = effects.with(mvcc::Operation::Put(object));
        match propose(self.context, preconditions, operations).await? {
            Proposed::Applied(entries, _) => {
                let entry = entries.into_iter().last().expect("one entry for each operation");
                Ok(Outcome::Written(Written::Updated(entry)))
            }
            Proposed::Refused(refused) => Ok(refused.into()),
        }
    }

    /// The update took away what a deletion was waiting for.
    async fn finish(&self, key: &Key, wanted: Tree, effects: Effects) -> ApiResult<Outcome> {
        let (preconditions, operations) = effects.with(mvcc::Operation::Delete(key.clone()));
        match propose(self.context, preconditions, operations).await? {
            Proposed::Applied(..) => Ok(Outcome::Written(Written::Only(wanted, false))),
            Proposed::Refused(refused) => Ok(refused.into()),
        }
    }
}

/// A namespace also waits for the finalizers in its spec.
pub(super) fn namespace_is_finished(kind: &Kind, tree: &Tree) -> bool {
    &*kind.stored_as != "namespaces" || tree::list_at(tree, "spec.finalizers").is_empty()
}

/// The body names another incarnation; the text is that of upstream's storage.
fn other_uid(context: &Context, kind: &Kind, wanted: &str, have: &str) -> ApiError {
    let text = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {have}",
        storage_path(kind, context)
    );
    ApiError::conflict(&kind.group_resource, &context.info.path_name, text)
}

/// How upstream's storage names the object in its errors.
fn storage_path(kind: &Kind, context: &Context) -> String {
    let namespace = context.namespace();
    let middle = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    format!("/registry/{}/{middle}{}", kind.resource.plural, context.info.path_name)
}
