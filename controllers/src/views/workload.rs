//! Deployments and ReplicaSets. Both are written back whole, so they are kept as [`super::Text`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use runtime::{LabelSelector, Metadata, View};
use serde::{Deserialize, Serialize};

use super::pod::{controlled_by, orphans_of};

/// A ReplicaSet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReplicaSet {
    pub(crate) metadata: Metadata,
    pub(crate) spec: ReplicaSetSpec,
    pub(crate) status: ReplicaSetStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetSpec {
    pub(crate) replicas: i32,
    pub(crate) min_ready_seconds: i64,
    #[serde(deserialize_with = "selector_or_labels")]
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) template: TemplateLabels,
}

/// A selector, or the plain map of labels that a ReplicationController has for one.
fn selector_or_labels<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<LabelSelector>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Labels(BTreeMap<String, String>),
        Selector(LabelSelector),
    }
    Ok(Option::deserialize(deserializer)?.map(|form| match form {
        Form::Labels(match_labels) => LabelSelector { match_labels, ..LabelSelector::default() },
        Form::Selector(selector) => selector,
    }))
}

/// Of a template only the labels are read; the rest stays a tree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TemplateLabels {
    pub(crate) metadata: TemplateMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TemplateMetadata {
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetStatus {
    pub(crate) replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) fully_labeled_replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) ready_replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) available_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terminating_replicas: Option<i32>,
    #[serde(skip_serializing_if = "zero_64")]
    pub(crate) observed_generation: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) conditions: Vec<WorkloadCondition>,
}

/// A Deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deployment {
    pub(crate) metadata: Metadata,
    pub(crate) spec: DeploymentSpec,
    pub(crate) status: DeploymentStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentSpec {
    pub(crate) replicas: i32,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) strategy: Strategy,
    pub(crate) min_ready_seconds: i64,
    pub(crate) revision_history_limit: Option<i32>,
    pub(crate) paused: bool,
    pub(crate) progress_deadline_seconds: Option<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Strategy {
    pub(crate) r#type: String,
    pub(crate) rolling_update: Option<RollingUpdate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RollingUpdate {
    pub(crate) max_surge: Option<IntOrPercent>,
    pub(crate) max_unavailable: Option<IntOrPercent>,
}

/// A number, or a share of the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IntOrPercent {
    Int(i32),
    Percent(String),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentStatus {
    #[serde(skip_serializing_if = "zero_64")]
    pub(crate) observed_generation: i64,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) updated_replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) ready_replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) available_replicas: i32,
    #[serde(skip_serializing_if = "zero")]
    pub(crate) unavailable_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terminating_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) conditions: Vec<WorkloadCondition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) collision_count: Option<i32>,
}

/// A condition of a Deployment or ReplicaSet; only Deployments have `last_update_time`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadCondition {
    pub(crate) r#type: String,
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_update_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", with = "whole_seconds")]
    pub(crate) last_transition_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
}

fn zero(number: &i32) -> bool {
    *number == 0
}

fn zero_64(number: &i64) -> bool {
    *number == 0
}

pub(crate) mod whole_seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&runtime::time::seconds(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(deserializer)
    }
}

impl View for ReplicaSet {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn groups(&self) -> Vec<String> {
        vec![match self.metadata.controller() {
            Some(owner) => controlled_by(&owner.uid),
            None => orphans_of(&self.metadata.namespace),
        }]
    }
}

impl View for Deployment {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
