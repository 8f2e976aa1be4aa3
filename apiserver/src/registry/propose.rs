//! The registry's side of the store: reads with a promise, writes with
//! preconditions, and what their failures mean to a client.

use crate::context::Context;
use crate::status::{ApiError, ApiResult};
use mvcc::{Entry, Operation, Outcome, Precondition, Revision, Transaction, View};
use raft_store::{ProposeError, ReadError};
use std::sync::Arc;
use std::time::Duration;

/// Times a write without a resourceVersion runs again on a fresh view.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// How long a read waits for a revision that has not arrived here yet.
const WAIT_SECONDS_MAX: u64 = 3;

/// A state that holds every acknowledged write.
pub(crate) async fn linearizable(context: &Context) -> ApiResult<View> {
    context.server.store.linearizable().await.map_err(|error| read_error(&error))
}

/// A state at least as new as a revision, waited for briefly.
pub(crate) async fn view_at_least(context: &Context, revision: u64) -> ApiResult<View> {
    let view = context.server.store.view();
    if view.revision().0 >= revision {
        return Ok(view);
    }
    let waiting = context.server.store.at_least(Revision(revision));
    match tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), waiting).await {
        Ok(view) => view.map_err(|error| read_error(&error)),
        Err(_) => Err(ApiError::RevisionTooLarge {
            asked: revision,
            current: context.server.store.view().revision().0,
        }),
    }
}

fn read_error(error: &ReadError) -> ApiError {
    ApiError::Unavailable(error.to_string())
}

/// What a proposal came to.
pub(crate) enum Proposed {
    /// Applied; the entries of the operations.
    Applied(Vec<Arc<Entry>>, Revision),
    /// A precondition did not hold; its index.
    Refused(usize),
}

/// Proposes a transaction under the request's fence.
pub(crate) async fn propose(
    context: &Context,
    preconditions: Vec<Precondition>,
    operations: Vec<Operation>,
) -> ApiResult<Proposed> {
    let transaction = Transaction { preconditions, operations, fence: context.fence };
    match context.server.store.propose(transaction).await {
        Ok(Outcome::Applied { entries, last, .. }) => Ok(Proposed::Applied(entries, last)),
        Ok(Outcome::Refused { precondition: mvcc::REFUSED_BY_FENCE, .. }) => {
            Err(ApiError::Unavailable("the writer does not lead in this term any more".into()))
        }
        Ok(Outcome::Refused { precondition, .. }) => Ok(Proposed::Refused(precondition)),
        Err(error @ ProposeError::TooLarge { .. }) => {
            Err(ApiError::TooLarge(format!("Request entity too large: {error}")))
        }
        Err(ProposeError::Unknown) => {
            Err(ApiError::Timeout("request did not complete within the allotted timeout".into()))
        }
        Err(error) => Err(ApiError::Unavailable(error.to_string())),
    }
}
