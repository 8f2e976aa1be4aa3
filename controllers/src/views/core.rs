//! Namespaces, and kinds of which little more than the name is read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runtime::{Metadata, OwnerReference, View};
use serde::{Deserialize, Deserializer};

/// Anything of which only metadata is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) metadata: Metadata,
}

impl View for Named {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Anything of which only owners and finalizers are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownership {
    pub(crate) metadata: Metadata,
}

/// What of an object's metadata stands in an [`Ownership`]. There is one of these for every object of the cluster, and every
/// change is read as one, so labels and annotations are passed over.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Owned {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    owner_references: Vec<OwnerReference>,
    finalizers: Vec<String>,
    deletion_timestamp: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Ownership {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Object {
            metadata: Owned,
        }
        let Owned {
            name,
            namespace,
            uid,
            resource_version,
            owner_references,
            finalizers,
            deletion_timestamp,
        } = Object::deserialize(deserializer)?.metadata;
        let metadata = Metadata {
            name,
            namespace,
            uid,
            resource_version,
            owner_references,
            finalizers,
            deletion_timestamp,
            ..Metadata::default()
        };
        Ok(Ownership { metadata })
    }
}

impl View for Ownership {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    pub(crate) metadata: Metadata,
    pub(crate) status: NamespaceStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceStatus {
    pub(crate) phase: String,
}

impl Namespace {
    pub(crate) fn active(&self) -> bool {
        self.status.phase == "Active" && !self.metadata.deleting()
    }
}

impl View for Namespace {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A ConfigMap with its data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigMap {
    pub(crate) metadata: Metadata,
    pub(crate) data: BTreeMap<String, String>,
}

impl View for ConfigMap {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
