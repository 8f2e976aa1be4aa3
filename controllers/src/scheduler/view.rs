//! Pods and nodes, as the scheduler sees them.

use std::collections::BTreeMap;

use runtime::{LabelSelector, Metadata, Requirement, View};
use serde::Deserialize;

use crate::views::node::Taint;
use crate::views::pod::{self, Condition, Toleration};

/// Amounts by resource name, as written.
pub(crate) type ResourceList = BTreeMap<String, String>;

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: Metadata,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: String,
    pub(crate) scheduler_name: String,
    pub(crate) priority: i32,
    pub(crate) preemption_policy: String,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) affinity: Affinity,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) tolerations: Vec<Toleration>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) init_containers: Vec<Container>,
    pub(crate) overhead: ResourceList,
    pub(crate) resources: Resources,
    pub(crate) scheduling_gates: Vec<Gate>,
    pub(crate) topology_spread_constraints: Vec<SpreadConstraint>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) volumes: Vec<Volume>,
    pub(crate) resource_claims: Vec<Gate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) image: String,
    pub(crate) restart_policy: String,
    pub(crate) resources: Resources,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) requests: ResourceList,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    pub(crate) host_port: i32,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: String,
    pub(crate) protocol: String,
}

/// Anything with a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Gate {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Volume {
    pub(crate) persistent_volume_claim: Option<serde::de::IgnoredAny>,
    pub(crate) ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Affinity {
    pub(crate) node_affinity: NodeAffinity,
    pub(crate) pod_affinity: PodAffinity,
    pub(crate) pod_anti_affinity: PodAffinity,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Option<NodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) preferred: Vec<PreferredNode>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelector {
    pub(crate) node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelectorTerm {
    pub(crate) match_expressions: Vec<Requirement>,
    pub(crate) match_fields: Vec<Requirement>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PreferredNode {
    pub(crate) weight: i64,
    pub(crate) preference: NodeSelectorTerm,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Vec<PodAffinityTerm>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodAffinityTerm {
    pub(crate) label_selector: Option<LabelSelector>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) namespace_selector: Option<LabelSelector>,
    pub(crate) topology_key: String,
    pub(crate) match_label_keys: Vec<String>,
    pub(crate) mismatch_label_keys: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SpreadConstraint {
    pub(crate) max_skew: i64,
    pub(crate) topology_key: String,
    pub(crate) when_unsatisfiable: String,
    pub(crate) label_selector: Option<LabelSelector>,
    pub(crate) min_domains: Option<i64>,
    pub(crate) node_affinity_policy: Option<String>,
    pub(crate) node_taints_policy: Option<String>,
    pub(crate) match_label_keys: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: String,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) conditions: Vec<Condition>,
}

impl Pod {
    pub(crate) fn terminal(&self) -> bool {
        pod::ended(&self.status.phase)
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        pod::condition(&self.status.conditions, kind)
    }
}

impl View for Pod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) metadata: Metadata,
    pub(crate) spec: NodeSpec,
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    pub(crate) allocatable: ResourceList,
    pub(crate) images: Vec<Image>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Image {
    pub(crate) names: Vec<String>,
    pub(crate) size_bytes: i64,
}

impl View for Node {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
