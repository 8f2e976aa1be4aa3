//! Asks somebody else whom a token names: a TokenReview is sent to a webhook, and its answer is kept for a while.

use crate::remote::Remote;
use access::UserInfo;
use access::authn::Identified;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::StatusCode;
use schema::Tree;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long one question may take, all its tries together, as upstream.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries when the webhook fails in a way that may pass, as upstream.
const TRIES_MAX: u32 = 5;
/// Pause before the second try; each further one is half as long again.
const PAUSE: Duration = Duration::from_millis(500);
/// Answers kept at most; at about 500 bytes each this is 2 MiB.
const ANSWERS_MAX: usize = 4096;

/// How a webhook is asked.
pub(crate) struct Webhook {
    remote: Remote,
    version: String,
    kept: Duration,
    answers: Mutex<HashMap<[u8; 32], (Instant, Answer)>>,
}

/// What the webhook says: somebody, or why nobody (perhaps without a reason).
type Answer = Result<Identified, Option<String>>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: UserInfo,
    audiences: Vec<String>,
    error: String,
}

enum Failure {
    /// May pass.
    Passing(String),
    Lasting(String),
}

impl Webhook {
    /// Asks `remote` in `version` of `authentication.k8s.io`; answers are kept for `kept`.
    pub(crate) fn new(remote: Remote, version: &str, kept: Duration) -> Self {
        Self { remote, version: version.to_owned(), kept, answers: Mutex::default() }
    }

    /// Whom the token names. `wanted` are the audiences asked for, `own` those the API server is known by.
    pub(crate) async fn identify(&self, token: &str, wanted: &[String], own: &[String]) -> Answer {
        let key = key(token, wanted);
        if let Some(answer) = self.kept_answer(&key) {
            return answer;
        }
        match tokio::time::timeout(TIMEOUT, self.ask_until_answered(token, wanted)).await {
            Ok(Ok(status)) => {
                let answer = judged(status, wanted, own);
                self.keep(key, answer.clone());
                answer
            }
            Ok(Err(why)) => {
                tracing::warn!(%why, "the webhook for tokens cannot be asked");
                Err(Some(why))
            }
            Err(_) => Err(Some("context deadline exceeded".to_owned())),
        }
    }

    async fn ask_until_answered(&self, token: &str, wanted: &[String]) -> Result<Status, String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES_MAX {
            match self.ask(token, wanted).await {
                Ok(status) => return Ok(status),
                Err(Failure::Lasting(why)) => return Err(why),
                Err(Failure::Passing(_)) => tokio::time::sleep(pause).await,
            }
            pause += pause / 2;
        }
        self.ask(token, wanted).await.map_err(|(Failure::Passing(why) | Failure::Lasting(why))| why)
    }

    async fn ask(&self, token: &str, wanted: &[String]) -> Result<Status, Failure> {
        let mut review = json!({
            "kind": "TokenReview",
            "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": {},
            "spec": {"token": token},
            "status": {"user": {}},
        });
        if !wanted.is_empty() {
            review["spec"]["audiences"] = wanted.into();
        }
        let asked = self.remote.https.post(&self.remote.url, Bytes::from(review.to_string()), TIMEOUT).await;
        let answer = asked.map_err(|error| Failure::Passing(error.to_string()))?;
        match answer.status {
            status if status.is_success() => read_status(&answer.body).map_err(Failure::Lasting),
            status @ (StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS) => {
                Err(Failure::Passing(format!("the webhook answers {status}")))
            }
            status => Err(Failure::Lasting(format!("the webhook answers {status}"))),
        }
    }

    fn kept_answer(&self, key: &[u8; 32]) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(at, _)| at.elapsed() < self.kept).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: [u8; 32], answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (at, _)| at.elapsed() < self.kept);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (Instant::now(), answer));
    }
}

fn read_status(body: &[u8]) -> Result<Status, String> {
    let tree: Tree = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if tree["kind"] != "TokenReview" {
        return Err("the webhook does not answer with a TokenReview".to_owned());
    }
    Status::deserialize(&tree["status"]).map_err(|error| error.to_string())
}

/// A webhook that names no audiences speaks of the API server's own.
fn judged(status: Status, wanted: &[String], own: &[String]) -> Answer {
    let meant: &[String] = if status.audiences.is_empty() { own } else { &status.audiences };
    let audiences: Vec<String> = wanted.iter().filter(|one| meant.contains(one)).cloned().collect();
    if audiences.is_empty() {
        return Err(None);
    }
    if !status.authenticated {
        return Err(Some(status.error).filter(|error| !error.is_empty()));
    }
    let mut user = status.user;
    user.mark_authenticated();
    Ok(Identified { user: Arc::new(user), audiences, kept: None })
}

/// A dump of memory shows no credential.
fn key(token: &str, audiences: &[String]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [token].into_iter().chain(audiences.iter().map(String::as_str)) {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Tree, wanted: &[&str], want: Result<&[&str], Option<&str>>) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let body = json!({"kind": "TokenReview", "status": status}).to_string();
        let status = read_status(body.as_bytes()).expect("a status");
        let got = judged(status, &owned(wanted), &owned(&["own"]));
        let want = want.map(owned).map_err(|error| error.map(str::to_owned));
        assert_eq!(got.map(|identified| identified.audiences), want, "{body}");
    }

    #[test]
    fn a_review_is_read_as_upstream_does() {
        let good = json!({"authenticated": true, "user": {"username": "u", "groups": ["g"]}});
        check(&good, &["own"], Ok(&["own"]));
        check(&good, &["other"], Err(None));
        let named = json!({"authenticated": true, "user": {"username": "u"}, "audiences": ["a", "b"]});
        check(&named, &["b", "own"], Ok(&["b"]));
        check(&named, &["own"], Err(None));
        check(&json!({"authenticated": false}), &["own"], Err(None));
        check(&json!({"error": "no"}), &["own"], Err(Some("no")));
        assert!(read_status(b"{}").is_err(), "no review");
        assert!(read_status(b"nothing").is_err(), "no JSON");
    }

    #[test]
    fn questions_differ_by_token_and_audiences() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_ne!(key("ab", &list(&[])), key("a", &list(&["b"])));
        assert_ne!(key("a", &list(&["b"])), key("a", &list(&["c"])));
    }
}
