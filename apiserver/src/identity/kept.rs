//! What is noted when a token that is kept in a Secret is used: the day, as a label of the Secret, and a warning to whoever
//! shows one that was once made for every account.

use crate::context::Warnings;
use crate::local::Local;
use crate::server::Inner;
use access::tokens::kept::{AUTO_GENERATED, Kept, LAST_USED};
use access::{UserInfo, groups, users};
use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::json;
use std::sync::Arc;
use tower::ServiceExt as _;

/// Under whose name the label is written.
const COMPONENT: &str = "kube-apiserver";

/// A good token was used.
pub(crate) async fn note_use(server: &Arc<Inner>, used: &Kept, warnings: &Warnings) {
    if used.auto_generated {
        warnings.add(AUTO_GENERATED);
    }
    note_day(server, used).await;
}

/// A token was shown, good or not. Once a day this is a write.
pub(super) async fn note_day(server: &Arc<Inner>, used: &Kept) {
    let Some(day) = used.day_to_note(crate::clock::now(&server.seams)) else { return };
    let Kept { namespace, name, .. } = used;
    let client =
        Local::new(server.clone(), UserInfo::authenticated(users::APISERVER, &[groups::MASTERS]), COMPONENT);
    let label = json!({"metadata": {"labels": {LAST_USED: day}}});
    let request = Request::patch(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(Body::from(label.to_string()))
        .expect("names of stored objects fit a path");
    let Ok(reply) = client.oneshot(request).await;
    if !reply.status().is_success() {
        tracing::warn!(%namespace, %name, code = reply.status().as_u16(), "the use of a token cannot be noted");
    }
}
