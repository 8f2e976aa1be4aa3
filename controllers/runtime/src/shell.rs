//! Runs a controller: takes due keys, reconciles each, and retries what failed.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::failure;
use crate::queue::Queue;

/// When a key wants to be looked at next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// When something about it changes.
    Change,
    /// After this long at the latest.
    After(Duration),
    /// After a pause that grows with each time.
    Retry,
}

/// A controller's shell: reads a view, plans, executes.
pub trait Reconcile: Send + Sync + 'static {
    /// What is queued.
    type Key: Ord + Hash + Clone + Display + Send + Sync + 'static;

    /// Name in logs.
    fn name(&self) -> &'static str;

    /// Brings one key a step closer to what is wanted. Must not depend on why it was called.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, kube::Error>> + Send;
}

/// Runs `workers` tasks over a queue until cancelled, and waits for them.
pub async fn run<R: Reconcile>(
    controller: Arc<R>,
    queue: Queue<R::Key>,
    workers: usize,
    cancel: CancellationToken,
) {
    let tasks = (0..workers).map(|_| {
        let (controller, queue, cancel) = (Arc::clone(&controller), queue.clone(), cancel.clone());
        tokio::spawn(async move { work(&*controller, &queue, &cancel).await })
    });
    for task in futures::future::join_all(tasks).await {
        if let Err(error) = task {
            tracing::error!(controller = controller.name(), %error, "worker ended");
        }
    }
}

async fn work<R: Reconcile>(controller: &R, queue: &Queue<R::Key>, cancel: &CancellationToken) {
    loop {
        let key = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            key = queue.next() => key,
        };
        let step = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            step = controller.reconcile(&key) => step,
        };
        match step {
            Ok(Next::Change) => queue.forget(&key),
            Ok(Next::After(pause)) => {
                queue.forget(&key);
                queue.add_after(key.clone(), pause);
            }
            Ok(Next::Retry) => queue.add_failed(key.clone()),
            Err(error) => {
                let what = failure::message(&error);
                tracing::debug!(controller = controller.name(), %key, error = %what, "retrying");
                queue.add_failed(key.clone());
            }
        }
        queue.done(&key);
    }
}
