//! Which objects a controller owns, may adopt, or must let go.
//!
//! The decision is pure; [`Claimer`] carries it out. Whoever is controlled by
//! somebody else is never touched.

use std::sync::Arc;

use runtime::client::PartialObject;
use runtime::{
    Cache, Change, Client, Key, LabelSelector, Metadata, OwnerReference, PatchKind, Resource, View, failure,
};
use serde_json::{Value, json};

use crate::resources;
use crate::views::Pod;
use crate::views::pod::{controlled_by, orphans_of};

/// What one object is to a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Not its business.
    Foreign,
    /// Its own.
    Owned,
    /// An orphan it selects.
    Adopt,
    /// Its own, but no longer selected.
    Release,
}

/// Decides the claim of a controller on an object of its namespace.
pub(crate) fn claim(controller: &Metadata, selector: &LabelSelector, object: &Metadata) -> Claim {
    let selected = selector.matches(&object.labels);
    match object.controller() {
        Some(owner) if owner.uid != controller.uid => Claim::Foreign,
        Some(_) if selected => Claim::Owned,
        // A controller on its way out leaves what it has to the garbage collector.
        Some(_) if controller.deleting() => Claim::Foreign,
        Some(_) => Claim::Release,
        None if controller.deleting() || object.deleting() || !selected => Claim::Foreign,
        None => Claim::Adopt,
    }
}

/// The pods of a controller after adopting orphans and letting others go, and the last failure on the way.
pub(crate) async fn claim_pods(
    client: &Client,
    owner: &'static Resource,
    controller: &Metadata,
    selector: &LabelSelector,
    pods: &Cache<Pod>,
) -> Result<(Vec<Arc<Pod>>, Option<kube::Error>), kube::Error> {
    let claimer = Claimer { client, owner, controller, owned: &resources::PODS };
    let mut candidates = pods.group(&controlled_by(&controller.uid));
    candidates.extend(pods.group(&orphans_of(&controller.namespace)));
    let (mut owned, mut may_adopt, mut failed) = (Vec::new(), None, None);
    for pod in candidates {
        let outcome = match claim(controller, selector, &pod.metadata) {
            Claim::Foreign => Ok(false),
            Claim::Owned => Ok(true),
            // Who has ended is adopted by nobody, and released when it goes.
            Claim::Adopt | Claim::Release if pod.terminal() => Ok(false),
            Claim::Release => claimer.release(&pod.metadata).await.map(|()| false),
            Claim::Adopt => {
                let allowed = match may_adopt {
                    Some(allowed) => allowed,
                    None => *may_adopt.insert(claimer.may_adopt().await?),
                };
                if allowed { claimer.adopt(&pod.metadata).await } else { Ok(false) }
            }
        };
        match outcome {
            Ok(true) => owned.push(pod),
            Ok(false) => {}
            Err(error) => failed = Some(error),
        }
    }
    Ok((owned, failed))
}

/// Workloads of one kind that a change of a pod concerns: its owners, or for an orphan those that select it.
pub(crate) fn owners_of<T: View>(
    change: &Change<'_, Pod>,
    kind: &str,
    owners: &Cache<T>,
    selector: impl Fn(&T) -> Option<&LabelSelector>,
) -> Vec<Key> {
    let mut keys = Vec::new();
    for pod in [change.old, change.new].into_iter().flatten() {
        if let Some(owner) = pod.metadata.controller().filter(|owner| owner.kind == kind) {
            let key = Key::new(pod.metadata.namespace.clone(), owner.name.clone());
            let known = owners.get(&key).is_some_and(|known| known.metadata().uid == owner.uid);
            if known && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let orphan = change.new.filter(|pod| pod.metadata.controller().is_none() && pod.active());
    if let Some(orphan) = orphan {
        let near = owners.in_namespace(&orphan.metadata.namespace);
        let selecting = near
            .iter()
            .filter(|owner| selector(owner).is_some_and(|selector| selector.matches(orphan.labels())));
        keys.extend(selecting.map(|owner| owner.metadata().key()));
    }
    keys
}

/// The pod that a template at `spec.template` of its owner stands for.
pub(crate) fn pod_of(owner: &Value, resource: &Resource, metadata: &Metadata) -> Value {
    let template = &owner["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", metadata.name),
            "ownerReferences": [OwnerReference::controlled_by(&resource.api_version(), &resource.kind, metadata)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            pod["metadata"][field] = template["metadata"][field].clone();
        }
    }
    pod
}

/// Writes a status if it says something new, once more on the live object after a conflict; gives the position of the write.
pub(crate) async fn write_status(
    client: &Client,
    resource: &'static Resource,
    mut wanted: Value,
    status: Value,
) -> Result<Option<u64>, kube::Error> {
    wanted["status"] = status;
    let text = |name: &str| wanted["metadata"][name].as_str().unwrap_or_default();
    let path = (text("namespace"), text("name"), "status");
    let mut answer = client.update(resource, path, &wanted).await;
    if answer.as_ref().is_err_and(failure::is_conflict) {
        let mut live: Value = client.get(resource, path.0, path.1).await?;
        if live["metadata"]["uid"] == wanted["metadata"]["uid"] {
            live["status"] = wanted["status"].clone();
            answer = client.update(resource, path, &live).await;
        }
    }
    match answer {
        Ok(written) => Ok(Some(written.metadata.position())),
        Err(error) if failure::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Carries claims out for objects of one kind.
pub(crate) struct Claimer<'a> {
    pub(crate) client: &'a Client,
    /// Kind of the controller.
    pub(crate) owner: &'static Resource,
    pub(crate) controller: &'a Metadata,
    /// Kind of the objects.
    pub(crate) owned: &'static Resource,
}

impl Claimer<'_> {
    /// Whether the controller, looked up live, may still adopt.
    pub(crate) async fn may_adopt(&self) -> Result<bool, kube::Error> {
        let Key { namespace, name } = self.controller.key();
        match self.client.get::<PartialObject>(self.owner, &namespace, &name).await {
            Ok(live) => Ok(live.metadata.uid == self.controller.uid && !live.metadata.deleting()),
            Err(error) if failure::is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Becomes the controller of an orphan; false when it is gone.
    pub(crate) async fn adopt(&self, object: &Metadata) -> Result<bool, kube::Error> {
        let reference =
            OwnerReference::controlled_by(&self.owner.api_version(), &self.owner.kind, self.controller);
        let patch = json!({ "metadata": { "ownerReferences": [reference], "uid": object.uid } });
        let path = (object.namespace.as_str(), object.name.as_str(), "");
        match self.client.patch(self.owned, path, PatchKind::Strategic, &patch).await {
            Ok(_) => Ok(true),
            Err(error) if failure::is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops being the controller of an object.
    pub(crate) async fn release(&self, object: &Metadata) -> Result<(), kube::Error> {
        let gone = json!({ "$patch": "delete", "uid": self.controller.uid });
        let patch = json!({ "metadata": { "ownerReferences": [gone], "uid": object.uid } });
        let path = (object.namespace.as_str(), object.name.as_str(), "");
        match self.client.patch(self.owned, path, PatchKind::Strategic, &patch).await {
            // Gone, or another object of that name: either way it is not ours any more.
            Err(error) if failure::is_not_found(&error) || failure::is_invalid(&error) => Ok(()),
            answer => answer.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let selector: LabelSelector =
            serde_json::from_value(json!({ "matchLabels": { "app": "web" } })).unwrap();
        // Controller is `deleting` or not; object has labels, controller uid, `deleting`.
        let check = |controller_deleting: bool,
                     labels: serde_json::Value,
                     owner: &str,
                     deleting: bool,
                     expect: Claim| {
            let time = "2026-01-01T00:00:00Z";
            let controller: Metadata = serde_json::from_value(if controller_deleting {
                json!({ "uid": "me", "deletionTimestamp": time })
            } else {
                json!({ "uid": "me" })
            })
            .unwrap();
            let mut object = json!({ "labels": labels });
            if !owner.is_empty() {
                object["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "K", "name": "n", "uid": owner, "controller": true }]);
            }
            if deleting {
                object["deletionTimestamp"] = time.into();
            }
            let object: Metadata = serde_json::from_value(object).unwrap();
            assert_eq!(claim(&controller, &selector, &object), expect);
        };
        let (web, other) = (json!({ "app": "web" }), json!({ "app": "db" }));
        check(false, web.clone(), "me", false, Claim::Owned);
        check(false, web.clone(), "me", true, Claim::Owned);
        check(false, other.clone(), "me", false, Claim::Release);
        check(true, other.clone(), "me", false, Claim::Foreign);
        check(false, web.clone(), "you", false, Claim::Foreign);
        check(false, web.clone(), "", false, Claim::Adopt);
        check(false, web.clone(), "", true, Claim::Foreign);
        check(true, web, "", false, Claim::Foreign);
        check(false, other, "", false, Claim::Foreign);
    }
}
