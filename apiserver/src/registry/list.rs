//! GET of a collection: which revision, which items, how the next page is
//! found.

use super::propose::{linearizable, view_at_least};
use super::resume::Token;
use crate::catalog::Kind;
use crate::chunks;
use crate::context::Context;
use crate::negotiate::Offer;
use crate::options::{ListOptions, Match};
use crate::query::parse_uint;
use crate::render::ListMeta;
use crate::reply::{self, Reply};
use crate::status::{ApiError, ApiResult};
use mvcc::{Entry, Key, Revision, View};
use schema::go::quote;
use std::sync::Arc;

/// What a list, a watch or a deletecollection is about.
pub(super) struct Selection {
    /// The kind's name in the store.
    pub(super) resource: Arc<str>,
    /// One namespace, which the path or a field selector names, or all.
    pub(super) namespace: Option<Arc<str>>,
    /// One name, when the request says so.
    pub(super) name: Option<String>,
    /// The options.
    pub(super) options: ListOptions,
}

impl Selection {
    /// Checks the field selector against the kind and translates it to the stored names.
    pub(super) fn new(context: &Context, kind: &Kind, mut options: ListOptions) -> ApiResult<Self> {
        for term in &mut options.fields.terms {
            term.field = stored_field(kind, &term.field)?;
        }
        let selected = options.fields.required("metadata.namespace");
        let selected = selected.filter(|namespace| kind.resource.namespaced && !namespace.is_empty());
        let namespace =
            if context.info.in_namespace { Some(context.info.namespace.as_str()) } else { selected };
        let namespace = namespace.map(Arc::from);
        let selected = options.fields.required("metadata.name").map(str::to_owned);
        let name =
            if context.info.path_name.is_empty() { selected } else { Some(context.info.path_name.clone()) };
        Ok(Self { resource: kind.stored_as.clone(), namespace, name, options })
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, entry: &Entry) -> bool {
        let key = &entry.object.key;
        let named = self.name.as_ref().is_none_or(|name| **name == *key.name);
        named
            && self.options.labels.matches(|key| entry.object.label(key).map(|value| &**value))
            && self.options.fields.matches(|field| field_value(entry, field))
    }

    /// Whether no selector narrows the list, so that what remains can be counted.
    fn is_whole(&self) -> bool {
        self.options.labels.is_everything() && self.options.fields.is_everything() && self.name.is_none()
    }

    /// Whether an object lies in the namespace asked for.
    pub(super) fn in_scope(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }
}

fn field_value<'a>(entry: &'a Entry, field: &str) -> Option<&'a str> {
    Some(match field {
        "metadata.name" => &entry.object.key.name,
        "metadata.namespace" => &entry.object.key.namespace,
        other => entry.object.attribute(other)?,
    })
}

/// The name under which a field is indexed, if selectors may name it.
fn stored_field(kind: &Kind, field: &str) -> ApiResult<String> {
    if let Some(stored) = kind.strategy.stored_field(field) {
        return Ok(stored.to_owned());
    }
    if kind.strategy.selectable().is_empty() {
        // Kinds without fields of their own share one conversion, which also knows the namespace of cluster-scoped kinds.
        if field == "metadata.namespace" {
            return Ok(field.to_owned());
        }
        let text = format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            quote(field)
        );
        return Err(ApiError::BadRequest(text));
    }
    // Two kinds say it in words of their own.
    Err(ApiError::BadRequest(match kind.resource.kind.as_str() {
        word @ "ResourceSlice" => {
            format!("field label not supported for {}, Kind={word}: {field}", kind.api_version)
        }
        "Job" => format!("field label {} not supported for Job", quote(field)),
        _ => format!("field label not supported: {field}"),
    }))
}

/// One page.
pub(super) struct Page {
    /// The items.
    pub(super) items: Vec<Arc<Entry>>,
    /// Whether there is more, and where it goes on.
    pub(super) next: Option<String>,
    /// How many items follow, when that is known.
    pub(super) remaining: Option<usize>,
}

/// Where a page starts.
type Place = (String, String);

/// Serves a collection.
pub(super) async fn list(context: &Context, kind: &'static Kind) -> ApiResult<Reply> {
    let accepted =
        context.negotiate(Offer { table: true, partial: true, partial_list: true, watch: false })?;
    let selection = Selection::new(context, kind, ListOptions::parse(&context.query, false)?)?;
    let token = resume_token(&selection.options)?;
    let (view, paged) = view(context, &selection, token.as_ref()).await?;
    let after = token.as_ref().map(|token| place(&selection, &token.start));
    // A token of this very revision counts on; one that goes on at the newest does not know what changed before it.
    let passed = token.as_ref().map_or(Some(0), |token| token.passed.filter(|_| token.revision > 0));
    let page = page_with(&view, &selection, after.as_ref(), passed, paged);
    let passed = passed.map(|passed| passed.saturating_add(page.items.len()));
    let revision = view.revision();
    let token_revision = i64::try_from(revision.0).unwrap_or(i64::MAX);
    let meta = ListMeta {
        revision,
        resume: page.next.map(|start| Token { revision: token_revision, start, passed }.encode()),
        remaining: page.remaining,
    };
    if chunks::fits(accepted, &page.items) {
        return chunks::list(context, kind, accepted, page.items, &meta);
    }
    let body = context.renderer(kind, accepted)?.list(&page.items, &meta)?;
    Ok(reply::object(context, 200, accepted, body))
}

fn resume_token(options: &ListOptions) -> ApiResult<Option<Token>> {
    if options.resume.is_empty() {
        return Ok(None);
    }
    let token = Token::decode(&options.resume).map_err(ApiError::BadRequest)?;
    if !matches!(options.revision.as_str(), "" | "0") {
        return Err(ApiError::BadRequest(
            "specifying resource version is not allowed when using continue".into(),
        ));
    }
    Ok(Some(token))
}

/// The view a list is made from, and whether `limit` counts.
async fn view(context: &Context, selection: &Selection, token: Option<&Token>) -> ApiResult<(View, bool)> {
    let options = &selection.options;
    if let Some(token) = token {
        return Ok((resumed_view(context, token).await?, options.revision.is_empty()));
    }
    if options.revision.is_empty() {
        return Ok((linearizable(context).await?, true));
    }
    let revision = parse_uint(&options.revision).map_err(|why| {
        ApiError::BadRequest(format!(
            "invalid resource version: resourceVersion: Invalid value: {}: {why}",
            quote(&options.revision)
        ))
    })?;
    if revision == 0 {
        return Ok((context.server.store.view(), false));
    }
    let exact = options.matching == Some(Match::Exact) || (options.matching.is_none() && options.limit > 0);
    let newest = view_at_least(context, revision).await?;
    if !exact {
        return Ok((newest, true));
    }
    let old = context.server.store.view_at(Revision(revision)).map_err(|_| ApiError::Expired {
        text: "The resourceVersion for the provided list is too old.".into(),
        resume: None,
    })?;
    Ok((old, true))
}

async fn resumed_view(context: &Context, token: &Token) -> ApiResult<View> {
    let Ok(revision) = u64::try_from(token.revision) else {
        return linearizable(context).await;
    };
    view_at_least(context, revision).await?;
    let server = &context.server;
    let old =
        if server.ages.is_over(revision) { None } else { server.store.view_at(Revision(revision)).ok() };
    old.ok_or_else(|| ApiError::Expired {
        text: "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.".into(),
        resume: Some(Token { revision: -1, start: token.start.clone(), passed: None }.encode()),
    })
}

/// The place a token means. In one namespace it is a name, across namespaces `namespace/name`.
fn place(selection: &Selection, start: &str) -> Place {
    match &selection.namespace {
        Some(namespace) => (namespace.to_string(), start.to_owned()),
        None => start.split_once('/').map_or_else(
            || (String::new(), start.to_owned()),
            |(namespace, name)| (namespace.to_owned(), name.to_owned()),
        ),
    }
}

fn start_of(selection: &Selection, key: &Key) -> String {
    match selection.namespace {
        None if !key.namespace.is_empty() => format!("{}/{}", key.namespace, key.name),
        _ => key.name.to_string(),
    }
}

/// The first or a later page of a view.
pub(super) fn page(view: &View, selection: &Selection, after: Option<&Place>) -> Page {
    page_with(view, selection, after, None, true)
}

/// A page after a place that so many items precede, if that is known.
fn page_with(
    view: &View,
    selection: &Selection,
    after: Option<&Place>,
    passed: Option<usize>,
    limited: bool,
) -> Page {
    if let (Some(name), None) = (&selection.name, after)
        && let Some(page) = single(view, selection, name)
    {
        return page;
    }
    let limit = if limited { usize::try_from(selection.options.limit).unwrap_or(0) } else { 0 };
    let all = selection.is_whole();
    let after = after.map(|(namespace, name)| (namespace.as_str(), name.as_str()));
    let mut found: Box<dyn Iterator<Item = &Arc<Entry>>> = candidates(view, selection, after);
    let mut items: Vec<Arc<Entry>> = Vec::new();
    for entry in found.by_ref().filter(|entry| all || selection.matches(entry)) {
        if limit > 0 && items.len() == limit {
            let last = items.last().map(|entry| start_of(selection, &entry.object.key));
            let whole = || view.count(&selection.resource, selection.namespace.as_deref());
            let remaining = all.then(|| match passed {
                Some(passed) => whole().saturating_sub(passed.saturating_add(items.len())),
                None => 1 + found.count(),
            });
            return Page { items, next: last, remaining };
        }
        items.push(entry.clone());
    }
    Page { items, next: None, remaining: None }
}

/// A list of one name costs one lookup, when the namespace is known too.
fn single(view: &View, selection: &Selection, name: &str) -> Option<Page> {
    let namespace = selection.namespace.clone()?;
    let key = Key { resource: selection.resource.clone(), namespace, name: name.into() };
    let items = view.get(&key).into_iter().filter(|entry| selection.matches(entry)).collect();
    Some(Page { items, next: None, remaining: None })
}

/// The objects worth looking at: by an indexed field if one is asked for, else the whole range.
fn candidates<'a>(
    view: &'a View,
    selection: &Selection,
    after: Option<(&str, &str)>,
) -> Box<dyn Iterator<Item = &'a Arc<Entry>> + 'a> {
    let namespace = selection.namespace.as_deref();
    let exact = selection
        .options
        .fields
        .terms
        .iter()
        .find(|term| term.equal && !term.value.is_empty() && !term.field.starts_with("metadata."));
    match (exact, after) {
        (Some(term), None) => {
            let wanted = selection.namespace.clone();
            let found = view.by_attribute(&selection.resource, &term.field, &term.value);
            Box::new(found.filter(move |entry| {
                wanted.as_ref().is_none_or(|namespace| *namespace == entry.object.key.namespace)
            }))
        }
        _ => Box::new(view.list(&selection.resource, namespace, after)),
    }
}
