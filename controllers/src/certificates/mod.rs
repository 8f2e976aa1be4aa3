//! Approves, signs and cleans up requests for certificates.
//!
//! The authority's key is not here: [`Certificates`] is given from outside.

mod plan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{Cache, Client, DeleteOptions, Key, Next, Queue, Reconcile, Source, View, failure};
use serde_json::{Value, json};

pub use plan::RequestFacts;
use plan::{Action, Rule, SigningRequest, plan};

use crate::views::Whole;
use crate::{House, resources};

/// The cluster's authority.
pub trait Certificates: fmt::Debug + Send + Sync {
    /// What is inside the request of a CertificateSigningRequest, or why it cannot be read.
    fn read(&self, csr: &Value) -> Result<RequestFacts, String>;

    /// The certificate that is asked for, PEM in base64, as objects hold it.
    fn sign(&self, csr: &Value, now: Timestamp) -> Result<String, String>;
}

const WORKERS: usize = 2;

impl View for SigningRequest {
    fn metadata(&self) -> &runtime::Metadata {
        &self.metadata
    }
}

struct Controller {
    client: Client,
    requests: Cache<Whole<SigningRequest>>,
    authority: Arc<dyn Certificates>,
}

pub(crate) fn start(house: &mut House<'_>, authority: Arc<dyn Certificates>) {
    let queue = Queue::<Key>::new();
    let requests = Cache::<Whole<SigningRequest>>::new();
    let changed = queue.clone();
    requests.on_change(move |change| changed.add(change.latest().metadata().key()));
    house.follow(&requests, Source::all(&resources::SIGNING_REQUESTS));
    let controller = Arc::new(Controller {
        client: house.client("certificate-controller"),
        requests: requests.clone(),
        authority,
    });
    house.work(controller, queue, WORKERS, async move { requests.synced().await });
}

impl Reconcile for Controller {
    type Key = Key;

    fn name(&self) -> &'static str {
        "certificates"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, kube::Error> {
        let Some(csr) = self.requests.get(key) else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let facts = if csr.is_open() { self.authority.read(&csr.tree).ok() } else { None };
        match plan(&csr, facts.as_ref(), now) {
            Action::Wait(None) => Ok(Next::Change),
            Action::Wait(Some(until)) => Ok(Next::After(pause(now, until))),
            Action::Delete => self.delete(&csr).await,
            Action::Approve(rules) => self.approve(&csr, &rules).await,
            Action::Fail(text) => {
                let mut tree = csr.tree.clone();
                add_condition(&mut tree, "Failed", "SignerValidationFailure", &text);
                self.write(key, "status", &tree).await
            }
            Action::Sign => self.sign(&csr, now).await,
        }
    }
}

/// A little after the moment, so that it is past then.
fn pause(now: Timestamp, until: Timestamp) -> Duration {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    left + Duration::from_secs(1)
}

fn add_condition(tree: &mut Value, name: &str, reason: &str, message: &str) {
    let condition = json!({ "type": name, "status": "True", "reason": reason, "message": message });
    match tree["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => tree["status"]["conditions"] = json!([condition]),
    }
}

impl Controller {
    async fn write(&self, key: &Key, part: &str, tree: &Value) -> Result<Next, kube::Error> {
        match self.client.update(&resources::SIGNING_REQUESTS, ("", &key.name, part), tree).await {
            Err(error) if !failure::is_overtaken(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }

    async fn delete(&self, csr: &SigningRequest) -> Result<Next, kube::Error> {
        let options = DeleteOptions::of(&csr.metadata.uid);
        match self.client.delete(&resources::SIGNING_REQUESTS, "", &csr.metadata.name, &options).await {
            Err(error) if !failure::is_not_found(&error) => Err(error),
            _ => Ok(Next::Change),
        }
    }

    async fn approve(&self, csr: &Whole<SigningRequest>, rules: &[Rule]) -> Result<Next, kube::Error> {
        for rule in rules {
            if self.may(&csr.tree, rule).await? {
                let mut tree = csr.tree.clone();
                add_condition(&mut tree, "Approved", "AutoApproved", rule.message);
                return self.write(&csr.metadata().key(), "approval", &tree).await;
            }
        }
        // Somebody may be given the right later.
        Ok(Next::Retry)
    }

    /// Whether whoever asks has the right.
    async fn may(&self, csr: &Value, rule: &Rule) -> Result<bool, kube::Error> {
        let spec = &csr["spec"];
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": spec["username"],
                "uid": spec["uid"],
                "groups": spec["groups"],
                "extra": spec["extra"],
                "resourceAttributes": {
                    "group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                    "verb": "create", "subresource": rule.subresource,
                },
            },
        });
        let answer =
            self.client.create_whole(&resources::SUBJECT_ACCESS_REVIEWS, ("", "", ""), &review).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    async fn sign(&self, csr: &Whole<SigningRequest>, now: Timestamp) -> Result<Next, kube::Error> {
        let certificate = match self.authority.sign(&csr.tree, now) {
            Ok(certificate) => certificate,
            Err(error) => {
                let name = &csr.metadata.name;
                tracing::warn!(%name, %error, "a request for a certificate could not be signed");
                return Ok(Next::Retry);
            }
        };
        let mut tree = csr.tree.clone();
        tree["status"]["certificate"] = certificate.into();
        self.write(&csr.metadata().key(), "status", &tree).await
    }
}
