//! One path for every resource: create, get, list, watch, update, patch,
//! delete, deletecollection and the subresources that are views of an object.
//! Decides what happens to objects; what is particular to a kind comes from
//! its strategy, what clients see from the renderer.

pub(crate) mod ages;
mod apply;
mod body;
mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod managed;
mod owners;
mod patch;
mod pods;
pub(crate) mod propose;
mod resume;
pub(crate) mod route;
mod scale;
pub(crate) mod socket;
mod token;
mod update;
mod watch;

pub(crate) use body::{decode as decode_body, read as read_body};
pub(crate) use create::{check_namespace, create_tree};
pub(crate) use managed::on_create as record_creator;
pub(crate) use managed::record_status;
pub(crate) use resume::Token;

use crate::catalog::Kind;
use crate::codec::Content;
use crate::components;
use crate::context::Context;
use crate::negotiate::{Accepted, Offer, Shape};
use crate::render::{Include, Renderer};
use crate::reply::{self, Reply};
use crate::seen::Named;
use crate::status::ApiResult;
use bytes::Bytes;
use futures::future::BoxFuture;
use kinds::Subresource;
use mvcc::{Entry, Key};
use route::{Target, Verb};
use schema::Tree;
use std::sync::Arc;

/// What a write came to.
pub(crate) enum Written {
    /// Stored for the first time.
    Created(Arc<Entry>),
    /// Stored again, or found unchanged.
    Updated(Arc<Entry>),
    /// Not stored: a dry run (true: it would have been created), or the last content of what an update finished off.
    Only(Tree, bool),
}

/// Serves a request on a resource or on a subresource that is a view of it.
pub(crate) async fn serve(
    context: &Context,
    kind: &'static Kind,
    target: Target,
    bytes: Bytes,
) -> ApiResult<Reply> {
    if let Some(text) = kind.strategy.deprecation() {
        context.warnings.add(text);
    }
    if kind.resource.plural == components::PLURAL && kind.resource.group.is_empty() {
        return components::serve(context, kind, target.verb);
    }
    // Each way is boxed: one future as large as the largest of all would be moved around for every GET.
    let answer: BoxFuture<'_, ApiResult<Reply>> = match (target.verb, target.sub) {
        (Verb::Get, Subresource::Scale) => Box::pin(scale::get(context, kind)),
        (Verb::Update, Subresource::Scale) => Box::pin(scale::update(context, kind, bytes)),
        (Verb::Patch, Subresource::Scale) => Box::pin(scale::patch(context, kind, bytes)),
        (Verb::Create, Subresource::Binding) => Box::pin(pods::bind(context, kind, bytes)),
        (Verb::Create, Subresource::Eviction) => Box::pin(pods::evict(context, kind, bytes)),
        (Verb::Create, Subresource::Token) => Box::pin(token::create(context, kind, bytes)),
        (Verb::Get, _) => Box::pin(get::get(context, kind)),
        (Verb::List, _) => Box::pin(list::list(context, kind)),
        (Verb::Watch, _) => Box::pin(watch::watch(context, kind)),
        (Verb::Create, _) => Box::pin(create::create(context, kind, bytes)),
        (Verb::Update, sub) => Box::pin(update::update(context, kind, sub, bytes)),
        (Verb::Patch, sub) => Box::pin(patch::patch(context, kind, sub, bytes)),
        (Verb::Delete, _) => Box::pin(delete::delete(context, kind, bytes)),
        (Verb::DeleteCollection, _) => Box::pin(delete_collection::delete_collection(context, kind, bytes)),
    };
    answer.await
}

/// What each try of a write uses up: first what is there, then, for the few that are tried again, made anew.
fn used_up(first: Tree, again: impl Fn() -> ApiResult<Tree>) -> impl FnMut() -> ApiResult<Tree> {
    let mut first = Some(first);
    move || first.take().map_or_else(&again, Ok)
}

impl Context {
    /// Namespace the stored object lives in; a Namespace itself lives in none.
    pub(crate) fn namespace(&self) -> &str {
        if self.info.in_namespace { &self.info.namespace } else { "" }
    }

    /// Key of the object the path names.
    pub(crate) fn key(&self, kind: &Kind) -> Key {
        Key::new(kind.stored_as.clone(), self.namespace(), self.info.path_name.as_str())
    }

    /// How answers with one object are shown.
    pub(crate) fn accept_object(&self) -> ApiResult<Accepted> {
        self.negotiate(Offer { table: true, partial: true, partial_list: true, watch: false })
    }

    /// A renderer of this kind for this client.
    pub(crate) fn renderer<'a>(&'a self, kind: &'a Kind, accepted: Accepted) -> ApiResult<Renderer<'a>> {
        let include = if matches!(accepted.shape, Shape::Table(_)) {
            Include::parse(self.query.text("includeObject"))?
        } else {
            Include::Metadata
        };
        let (codec, forms) = (&self.server.codec, &self.server.forms);
        Ok(Renderer { codec, forms, kind, accepted, include, now: self.now })
    }

    /// An answer with one object.
    pub(crate) fn show(
        &self,
        kind: &Kind,
        accepted: Accepted,
        code: u16,
        content: Content<'_>,
    ) -> ApiResult<Reply> {
        let body = self.renderer(kind, accepted)?.single(content)?;
        Ok(reply::object(self, code, accepted, body))
    }

    /// The answer to a write.
    pub(crate) fn show_written(
        &self,
        kind: &Kind,
        accepted: Accepted,
        written: &Written,
    ) -> ApiResult<Reply> {
        match written {
            Written::Created(entry) => {
                let mut reply = self.show(kind, accepted, 201, Content::Entry(entry, entry.revision))?;
                reply.extensions_mut().insert(Named(entry.object.key.clone()));
                Ok(reply)
            }
            Written::Updated(entry) => self.show(kind, accepted, 200, Content::Entry(entry, entry.revision)),
            Written::Only(tree, created) => {
                self.show(kind, accepted, if *created { 201 } else { 200 }, Content::Tree(tree))
            }
        }
    }
}
