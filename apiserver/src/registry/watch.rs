//! Watches: the state first if asked for, then every change that concerns the
//! selection, as frames that watchers of the same kind share.

use super::get::revision;
use super::list::Selection;
use super::propose::{linearizable, view_at_least};
use super::socket;
use crate::catalog::Kind;
use crate::codec::Content;
use crate::context::Context;
use crate::frames::{FrameKey, TableFrame};
use crate::negotiate::{Accepted, Format, Offer, Shape};
use crate::options::ListOptions;
use crate::reply::Reply;
use crate::status::{ApiError, ApiResult};
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use mvcc::{Change, ChangeKind, Entry, Interest, Key, Revision, View};
use raft_store::{WatchEnd, Watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Frames that wait for a slow client. The store's own bound cuts it off long before this would hurt.
const FRAMES_MAX: usize = 64;
/// Seconds between bookmarks.
const BOOKMARK_SECONDS: u64 = 60;
/// A watch without `timeoutSeconds` ends after this many seconds, and up to twice as many, so that clients spread.
const TIMEOUT_SECONDS_MIN: u64 = 1800;

/// Serves a watch.
pub(super) async fn watch(context: &Context, kind: &'static Kind) -> ApiResult<Reply> {
    let accepted =
        context.negotiate(Offer { table: true, partial: true, partial_list: true, watch: true })?;
    let selection = Selection::new(context, kind, ListOptions::parse(&context.query, true)?)?;
    context.renderer(kind, accepted)?;
    let limit = timeout(context, selection.options.timeout_seconds);
    let silent = matches!(accepted.shape, Shape::PartialList(_));
    let start = start(context, &selection).await?;
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let stream = Stream {
        context: context.clone(),
        kind,
        accepted,
        selection,
        sender,
        deadline: Instant::now() + limit,
        first: true,
    };
    tokio::spawn(async move {
        // A list shape asked of a watch gives a stream that never says anything, as upstream's does.
        if silent { stream.wait().await } else { stream.run(start).await }
    });
    if let Some(upgrade) = &context.upgrade {
        return Ok(socket::serve(&context.headers, upgrade.clone(), accepted.format, receiver));
    }
    let mut reply = Reply::new(Body::from_stream(ReceiverStream::new(receiver)));
    let media = match accepted.format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(reply)
}

fn timeout(context: &Context, asked: Option<i64>) -> Duration {
    match asked.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0) {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::from_secs(
            TIMEOUT_SECONDS_MIN + context.server.seams.random.next() % TIMEOUT_SECONDS_MIN,
        ),
    }
}

/// Where a watch begins.
enum Start {
    /// With the state of a view.
    State(View),
    /// After a revision.
    After(Revision),
    /// With an error and nothing else.
    Error(ApiError),
}

async fn start(context: &Context, selection: &Selection) -> ApiResult<Start> {
    let options = &selection.options;
    let asked = match options.revision.as_str() {
        "" => None,
        text => Some(revision(text)?),
    };
    match (options.initial_events, asked) {
        (Some(true), None) => Ok(Start::State(linearizable(context).await?)),
        (Some(true), Some(0)) => Ok(Start::State(context.server.store.view())),
        (Some(true), Some(asked)) => match view_at_least(context, asked).await {
            Ok(view) => Ok(Start::State(view)),
            Err(error @ ApiError::RevisionTooLarge { .. }) => Ok(Start::Error(error)),
            Err(error) => Err(error),
        },
        (_, None) => Ok(Start::After(linearizable(context).await?.revision())),
        (_, Some(0)) => Ok(Start::After(context.server.store.view().revision())),
        (_, Some(asked)) => Ok(Start::After(Revision(asked))),
    }
}

/// The client is gone or the watch is over.
struct Ended;

struct Stream {
    context: Context,
    kind: &'static Kind,
    accepted: Accepted,
    selection: Selection,
    sender: mpsc::Sender<Result<Bytes, std::convert::Infallible>>,
    deadline: Instant,
    /// Whether no frame has been sent: a Table's columns come with the first.
    first: bool,
}

impl Stream {
    /// The first state is sent: what follows takes no seats.
    fn has_begun(&self) {
        if let Some(beginning) = &self.context.beginning {
            beginning.is_over();
        }
    }

    async fn wait(self) {
        self.has_begun();
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => {}
            () = self.sender.closed() => {}
            () = self.context.server.stopping.cancelled() => {}
        }
    }

    async fn run(mut self, start: Start) {
        let _: Result<(), Ended> = self.follow(start).await;
    }

    async fn follow(&mut self, start: Start) -> Result<(), Ended> {
        let after = match start {
            Start::Error(error) => return self.fail(&error).await,
            Start::After(revision) => revision,
            Start::State(view) => {
                self.send_state(&view).await?;
                view.revision()
            }
        };
        self.has_begun();
        let store = self.context.server.store.clone();
        if after > store.view().revision() {
            // A revision from the future: stay silent, the client will hear of changes beyond it.
            let waiting = store.at_least(after);
            tokio::select! {
                arrived = waiting => drop(arrived.map_err(|_| Ended)?),
                () = tokio::time::sleep_until(self.deadline) => return Err(Ended),
                () = self.sender.closed() => return Err(Ended),
                () = self.context.server.stopping.cancelled() => return Err(Ended),
            }
        }
        match store.watch(self.interest(), after) {
            Ok(watcher) => self.send_changes(watcher).await,
            Err(compacted) => self.fail(&too_old(after, compacted.oldest)).await,
        }
    }

    /// The narrowest part of the store that can concern this watch.
    fn interest(&self) -> Interest {
        let (resource, selection) = (self.kind.stored_as.clone(), &self.selection);
        if let (Some(name), Some(namespace)) = (&selection.name, &selection.namespace) {
            return Interest::Object(Key {
                resource,
                namespace: namespace.clone(),
                name: name.as_str().into(),
            });
        }
        if let (Some(name), false) = (&selection.name, self.kind.resource.namespaced) {
            return Interest::Object(Key { resource, namespace: "".into(), name: name.as_str().into() });
        }
        let indexed = selection
            .options
            .fields
            .terms
            .iter()
            .find(|term| term.equal && !term.value.is_empty() && !term.field.starts_with("metadata."));
        if let Some(term) = indexed {
            return Interest::Attribute {
                resource,
                name: term.field.as_str().into(),
                value: term.value.as_str().into(),
            };
        }
        match &selection.namespace {
            Some(namespace) => Interest::Namespace { resource, namespace: namespace.clone() },
            None => Interest::Resource(resource),
        }
    }

    async fn send_state(&mut self, view: &View) -> Result<(), Ended> {
        let namespace = self.selection.namespace.clone();
        for entry in view.list(&self.kind.stored_as, namespace.as_deref(), None) {
            if self.selection.matches(entry) {
                let frame = self.frame("ADDED", entry, entry.revision, false);
                self.send(frame).await?;
            }
        }
        let asked = self.context.query.first("sendInitialEvents").is_some();
        if self.selection.options.bookmarks && (asked || self.selection.options.initial_events == Some(true))
        {
            self.send_bookmark(view.revision(), true).await?;
        }
        Ok(())
    }

    async fn send_changes(&mut self, mut watcher: Watcher) -> Result<(), Ended> {
        let stopping = self.context.server.stopping.clone();
        let mut bookmark = tokio::time::interval(Duration::from_secs(BOOKMARK_SECONDS));
        bookmark.reset();
        // A last bookmark shortly before the end lets the client resume close to it.
        let last_bookmark = self.deadline.checked_sub(Duration::from_secs(2)).unwrap_or(self.deadline);
        let mut said_last = !self.selection.options.bookmarks || last_bookmark < Instant::now();
        loop {
            tokio::select! {
                changes = watcher.next() => match changes {
                    Ok(changes) => {
                        for change in &changes {
                            self.send_change(change).await?;
                        }
                    }
                    Err(WatchEnd::Gone { resume, oldest }) => return self.fail(&too_old(resume, oldest)).await,
                    Err(WatchEnd::Lagged { .. } | WatchEnd::Stopped) => return Err(Ended),
                },
                _ = bookmark.tick(), if self.selection.options.bookmarks => self.send_bookmark(watcher.progress(), false).await?,
                () = tokio::time::sleep_until(last_bookmark), if !said_last => {
                    said_last = true;
                    self.send_bookmark(watcher.progress(), false).await?;
                }
                () = tokio::time::sleep_until(self.deadline) => return Err(Ended),
                () = self.sender.closed() => return Err(Ended),
                () = stopping.cancelled() => return Err(Ended),
            }
        }
    }

    async fn send_change(&mut self, change: &Change) -> Result<(), Ended> {
        if !self.selection.in_scope(change.key()) {
            return Ok(());
        }
        let now = change.kind != ChangeKind::Deleted && self.selection.matches(&change.entry);
        let before = match &change.previous {
            Some(previous) => self.selection.matches(previous),
            None => change.kind == ChangeKind::Deleted && self.selection.matches(&change.entry),
        };
        let frame = match (before, now) {
            (false, false) => return Ok(()),
            (false, true) => self.frame("ADDED", &change.entry, change.revision, true),
            (true, true) => self.frame("MODIFIED", &change.entry, change.revision, true),
            (true, false) => {
                let shown = change.previous.as_ref().unwrap_or(&change.entry);
                self.frame("DELETED", shown, change.revision, true)
            }
        };
        self.send(frame).await
    }

    /// A frame out of the shared ones; frames of the initial state are not worth keeping.
    fn frame(
        &self,
        word: &'static str,
        entry: &Arc<Entry>,
        revision: Revision,
        shared: bool,
    ) -> ApiResult<Bytes> {
        let mut renderer = self.context.renderer(self.kind, self.accepted)?;
        // A watch lasts: ages are told at the time of the event.
        renderer.now = crate::clock::now(&self.context.server.seams);
        let make = || renderer.event(word, Content::Entry(entry, revision), self.first);
        if !shared {
            return make();
        }
        let table = matches!(self.accepted.shape, Shape::Table(_)).then(|| TableFrame {
            first: self.first,
            include: renderer.include,
            second: renderer.now.as_second(),
        });
        let (kind, accepted) = (self.kind.id, self.accepted);
        let key = FrameKey { revision: revision.0, word, kind, accepted, table };
        self.context.server.frames.get(revision.0, key, make)
    }

    async fn send_bookmark(&mut self, revision: Revision, initial_end: bool) -> Result<(), Ended> {
        let frame = self
            .context
            .renderer(self.kind, self.accepted)
            .and_then(|renderer| renderer.bookmark(revision, initial_end, self.first));
        self.send(frame).await
    }

    async fn fail(&mut self, error: &ApiError) -> Result<(), Ended> {
        let frame = crate::render::error_event(error, self.accepted);
        self.send(Ok(frame)).await?;
        Err(Ended)
    }

    async fn send(&mut self, frame: ApiResult<Bytes>) -> Result<(), Ended> {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => crate::render::error_event(&error, self.accepted),
        };
        self.first = false;
        tokio::select! {
            sent = self.sender.send(Ok(frame)) => sent.map_err(|_| Ended),
            () = tokio::time::sleep_until(self.deadline) => Err(Ended),
        }
    }
}

fn too_old(asked: Revision, oldest: Revision) -> ApiError {
    ApiError::Expired { text: format!("too old resource version: {asked} ({oldest})"), resume: None }
}
