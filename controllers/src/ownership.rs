//! Which objects a controller owns, may adopt, or must let go.
//!
//! The decision is pure; [`Claimer`] carries it out. Whoever is controlled by
//! somebody else is never touched.

use runtime::client::PartialObject;
use runtime::{Client, Key, LabelSelector, Metadata, OwnerReference, PatchKind, Resource, failure};
use serde_json::json;

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
