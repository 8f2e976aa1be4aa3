//! Nodes and their leases, as the node controllers see them.

use jiff::Timestamp;
use runtime::{Metadata, View};
use serde::{Deserialize, Serialize};

use super::pod::{self, Condition};

/// A node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) metadata: Metadata,
    pub(crate) spec: NodeSpec,
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub(crate) pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pub(crate) pod_cidrs: Vec<String>,
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
}

/// A taint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Taint {
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    pub(crate) effect: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_added: Option<String>,
}

impl Taint {
    /// Taints are the same if key and effect are.
    pub(crate) fn is(&self, other: &Taint) -> bool {
        self.key == other.key && self.effect == other.effect
    }

    pub(crate) fn added(&self) -> Option<Timestamp> {
        self.time_added.as_ref()?.parse().ok()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    pub(crate) conditions: Vec<Condition>,
}

impl Node {
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        pod::condition(&self.status.conditions, kind)
    }
}

impl View for Node {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A lease, of which only its renewal is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lease {
    pub(crate) metadata: Metadata,
    pub(crate) spec: LeaseSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseSpec {
    pub(crate) renew_time: Option<Timestamp>,
}

impl View for Lease {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
