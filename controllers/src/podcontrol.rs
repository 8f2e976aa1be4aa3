//! Makes and deletes the pods of a workload, and tells people about it.

use jiff::Timestamp;
use runtime::{
    Cache, Client, DeleteOptions, Expectations, Key, Metadata, Recorder, Regarding, Resource, Severity,
    failure,
};
use serde_json::Value;

use crate::resources;
use crate::views::Pod;

/// The hands of a controller whose objects own pods.
pub(crate) struct PodControl {
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    /// Kind of the owners.
    pub(crate) owner: &'static Resource,
    /// Pods written for an owner.
    written: Expectations,
}

impl PodControl {
    pub(crate) fn new(client: Client, recorder: Recorder, owner: &'static Resource) -> PodControl {
        PodControl { client, recorder, owner, written: Expectations::default() }
    }

    /// Whether the cache has seen every pod written for this owner.
    pub(crate) fn fresh(&self, key: &Key, pods: &Cache<Pod>, now: Timestamp) -> bool {
        self.written.satisfied(key, pods, now)
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.written.forget(key);
    }

    /// Notes another write to a pod of this owner.
    pub(crate) fn wrote(&self, key: &Key, written: &Metadata) {
        self.written.wrote(key, written.position(), Timestamp::now());
    }

    /// Creates pods in batches of 1, 2, 4 ...: what fails for one will fail for all, and should not be tried five hundred
    /// times.
    pub(crate) async fn create_all(&self, owner: &Metadata, pods: Vec<Value>) -> Result<(), kube::Error> {
        let (mut left, mut batch) = (&pods[..], 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let tries = futures::future::join_all(now.iter().map(|pod| self.create(owner, pod))).await;
            tries.into_iter().collect::<Result<Vec<()>, kube::Error>>()?;
            (left, batch) = (later, batch * 2);
        }
        Ok(())
    }

    /// Creates one pod. One of that name that is there already is left alone.
    pub(crate) async fn create(&self, owner: &Metadata, pod: &Value) -> Result<(), kube::Error> {
        let answer = self.client.create(&resources::PODS, (&owner.namespace, "", ""), pod).await;
        match answer {
            Ok(created) => {
                let created = created.metadata;
                self.wrote(&owner.key(), &created);
                let text = format!("Created pod: {}", created.name);
                self.tell(owner, Severity::Normal, "SuccessfulCreate", text);
                Ok(())
            }
            // Nothing can be created any more, and nobody needs to be told.
            Err(error) if failure::is_namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let words = failure::message(&error);
                self.tell(owner, Severity::Warning, "FailedCreate", format!("Error creating: {words}"));
                Err(error)
            }
        }
    }

    /// Deletes pods, by name and uid.
    pub(crate) async fn delete_all(
        &self,
        owner: &Metadata,
        victims: Vec<(String, String)>,
    ) -> Result<(), kube::Error> {
        let each = victims.into_iter().map(|(name, uid)| self.delete(owner, name, uid));
        futures::future::join_all(each).await.into_iter().collect()
    }

    async fn delete(&self, owner: &Metadata, name: String, uid: String) -> Result<(), kube::Error> {
        let options = DeleteOptions::of(&uid);
        match self.client.delete(&resources::PODS, &owner.namespace, &name, &options).await {
            Err(error) if !failure::is_not_found(&error) && !failure::is_conflict(&error) => {
                let words = failure::message(&error);
                self.tell(owner, Severity::Warning, "FailedDelete", format!("Error deleting: {words}"));
                Err(error)
            }
            answer => {
                if answer.is_ok() {
                    self.tell(owner, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                let pod = Key::new(owner.namespace.clone(), name);
                self.written.deleted(&owner.key(), pod, uid, Timestamp::now());
                Ok(())
            }
        }
    }

    pub(crate) fn tell(&self, owner: &Metadata, severity: Severity, reason: &str, message: String) {
        self.recorder.event(Regarding::new(self.owner, owner), severity, reason, message);
    }
}
