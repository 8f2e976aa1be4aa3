//! Keeps a [`Cache`] like the server's collection: one list, then a watch that is
//! resumed where it broke, and a new list only when the server forgot that place.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use kube::core::WatchEvent;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, View};
use crate::client::{Client, List, METADATA_ONLY, METADATA_ONLY_LIST, request, with_query};
use crate::failure;
use crate::metadata::position;
use crate::resource::Resource;

/// First pause after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause: a server that is away for long is asked twice a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Seconds a watch lives; the server would end it somewhere in 5 to 10 minutes.
const WATCH_SECONDS: &str = "290";

/// What of a collection is wanted.
#[derive(Debug, Clone)]
pub struct Source {
    /// The collection.
    pub resource: Resource,
    /// Field selector, or empty.
    pub fields: String,
    /// Whether only metadata is wanted.
    pub metadata_only: bool,
}

enum WatchEnd {
    /// Ended in the ordinary way; resume.
    Resume,
    /// The position is gone; list again.
    Relist,
}

impl<T: View> Cache<T> {
    /// Follows a collection until cancelled.
    pub async fn follow(self, client: Client, source: Source, cancel: CancellationToken) {
        let follow = follow_for_ever(&self, &client, &source);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = follow => {}
        }
    }
}

async fn follow_for_ever<T: View>(cache: &Cache<T>, client: &Client, source: &Source) {
    let mut pause = BACKOFF_MIN;
    let mut resume: Option<String> = None;
    loop {
        let begin = tokio::time::Instant::now();
        let listed = resume.is_none();
        let step = match resume.take() {
            None => list(cache, client, source).await,
            Some(from) => watch(cache, client, source, from).await,
        };
        match step {
            Ok((_, from)) if from.is_empty() => resume = None,
            Ok((WatchEnd::Resume, from)) => {
                resume = Some(from);
                if begin.elapsed() < BACKOFF_MIN && !listed {
                    // A server that ends every watch at once must not be hammered.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                } else {
                    pause = BACKOFF_MIN;
                }
            }
            Ok((WatchEnd::Relist, _)) => {}
            Err((error, from)) => {
                let what = failure::message(&error);
                tracing::debug!(resource = %source.resource.plural, error = %what, "cannot follow");
                resume = from.filter(|_| !failure::is_expired(&error));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
    }
}

type Step = Result<(WatchEnd, String), (kube::Error, Option<String>)>;

async fn list<T: View>(cache: &Cache<T>, client: &Client, source: &Source) -> Step {
    let mut query = Vec::new();
    if !source.fields.is_empty() {
        query.push(("fieldSelector", source.fields.as_str()));
    }
    let path = with_query(source.resource.path("", "", ""), &query);
    let accept = source.metadata_only.then_some(METADATA_ONLY_LIST);
    let list: List<Arc<T>> = client
        .inner()
        .request(request("GET", &path, accept, Vec::new()))
        .await
        .map_err(|error| (error, None))?;
    let from = list.metadata.resource_version;
    cache.replace(list.items.unwrap_or_default(), position(&from));
    Ok((WatchEnd::Resume, from))
}

async fn watch<T: View>(cache: &Cache<T>, client: &Client, source: &Source, mut from: String) -> Step {
    let mut query = vec![
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", WATCH_SECONDS),
        ("resourceVersion", from.as_str()),
    ];
    if !source.fields.is_empty() {
        query.push(("fieldSelector", source.fields.as_str()));
    }
    let path = with_query(source.resource.path("", "", ""), &query);
    let accept = source.metadata_only.then_some(METADATA_ONLY);
    let mut request = request("GET", &path, accept, Vec::new());
    // One gzip member per event would be undone only up to the first by most layers.
    request.headers_mut().insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
    let body = client.inner().request_stream(request).await.map_err(|error| (error, Some(from.clone())))?;
    let body = std::pin::pin!(body);
    let mut lines = body.lines();
    while let Some(line) = lines.next().await {
        // A broken line is a broken connection: the rest is read by the next watch.
        let Ok(line) = line else { break };
        let event = serde_json::from_str(&line)
            .map_err(|error| (kube::Error::SerdeError(error), Some(from.clone())))?;
        match event {
            WatchEvent::<Arc<T>>::Added(object) | WatchEvent::Modified(object) => {
                from.clone_from(&object.metadata().resource_version);
                cache.put(object);
            }
            WatchEvent::Deleted(object) => {
                from.clone_from(&object.metadata().resource_version);
                cache.remove(&object.metadata().key(), position(&from));
            }
            WatchEvent::Bookmark(bookmark) => {
                from = bookmark.metadata.resource_version;
                cache.advance(position(&from));
            }
            WatchEvent::Error(status) if status.code == 410 => return Ok((WatchEnd::Relist, from)),
            WatchEvent::Error(status) => return Err((kube::Error::Api(status), Some(from))),
        }
    }
    Ok((WatchEnd::Resume, from))
}

impl Source {
    /// All objects of a resource.
    pub fn all(resource: &Resource) -> Source {
        Source { resource: resource.clone(), fields: String::new(), metadata_only: false }
    }

    /// The objects a field selector selects.
    pub fn selected(resource: &Resource, fields: &str) -> Source {
        Source { resource: resource.clone(), fields: fields.to_owned(), metadata_only: false }
    }

    /// The metadata of all objects of a resource.
    pub fn metadata(resource: &Resource) -> Source {
        Source { resource: resource.clone(), fields: String::new(), metadata_only: true }
    }
}
