//! Pods, as controllers see them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use runtime::{Metadata, View};
use serde::Deserialize;

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
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) tolerations: Vec<Toleration>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) ports: Vec<ContainerPort>,
    pub(crate) restart_policy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) container_port: i32,
}

/// A taint that a pod endures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Toleration {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) value: String,
    pub(crate) effect: String,
    pub(crate) toleration_seconds: Option<i64>,
}

impl Toleration {
    /// Whether it endures a taint.
    pub(crate) fn endures(&self, key: &str, value: &str, effect: &str) -> bool {
        if !self.effect.is_empty() && self.effect != effect {
            return false;
        }
        if self.key.is_empty() {
            return self.operator == "Exists";
        }
        if self.key != key {
            return false;
        }
        match self.operator.as_str() {
            "" | "Equal" => self.value == value,
            "Exists" => true,
            "Lt" | "Gt" => match (self.value.parse::<i64>(), value.parse::<i64>()) {
                (Ok(bound), Ok(value)) if self.operator == "Lt" => value < bound,
                (Ok(bound), Ok(value)) => value > bound,
                _ => false,
            },
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: String,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) conditions: Vec<Condition>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "runtime::exact")]
    pub(crate) pod_ips: Vec<PodIp>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "runtime::exact")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodIp {
    pub(crate) ip: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    pub(crate) name: String,
    pub(crate) restart_count: i32,
    pub(crate) state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerState {
    pub(crate) terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    pub(crate) exit_code: i32,
    pub(crate) finished_at: Option<Timestamp>,
}

/// A condition of a pod or node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    pub(crate) r#type: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) last_transition_time: Option<Timestamp>,
    pub(crate) last_heartbeat_time: Option<Timestamp>,
}

impl Pod {
    /// Neither ended nor on its way out.
    pub(crate) fn active(&self) -> bool {
        !self.terminal() && !self.metadata.deleting()
    }

    /// Ended for good.
    pub(crate) fn terminal(&self) -> bool {
        ended(&self.status.phase)
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        condition(&self.status.conditions, kind)
    }

    pub(crate) fn ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    /// Since when it is ready.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        let ready = self.condition("Ready").filter(|condition| condition.status == "True")?;
        ready.last_transition_time
    }

    /// When it has been ready for long enough; `None` while it is not ready.
    pub(crate) fn available_at(&self, min_ready_seconds: i64) -> Option<Timestamp> {
        if min_ready_seconds == 0 {
            return self.ready().then_some(Timestamp::MIN);
        }
        self.ready_since()?.checked_add(SignedDuration::from_secs(min_ready_seconds)).ok()
    }

    /// The most restarts of any of its containers.
    pub(crate) fn restarts(&self) -> (i32, i32) {
        let most =
            |list: &[ContainerStatus]| list.iter().map(|status| status.restart_count).max().unwrap_or(0);
        (most(&self.status.container_statuses), most(&self.status.init_container_statuses))
    }

    /// Addresses, the primary one first.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        if self.status.pod_ips.is_empty() && !self.status.pod_ip.is_empty() {
            return vec![&self.status.pod_ip];
        }
        self.status.pod_ips.iter().map(|address| address.ip.as_str()).collect()
    }

    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.metadata.labels
    }
}

/// Whether a pod in this phase will never run again.
pub(crate) fn ended(phase: &str) -> bool {
    phase == "Succeeded" || phase == "Failed"
}

/// The condition of a kind.
pub(crate) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.r#type == kind)
}

/// Group of the pods of a controller, by its uid.
pub(crate) fn controlled_by(uid: &str) -> String {
    format!("controller={uid}")
}

/// Group of the pods of a namespace without a controller.
pub(crate) fn orphans_of(namespace: &str) -> String {
    format!("orphans={namespace}")
}

/// Group of the pods of a node.
pub(crate) fn on_node(name: &str) -> String {
    format!("node={name}")
}

impl View for Pod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn groups(&self) -> Vec<String> {
        let mut groups = vec![match self.metadata.controller() {
            Some(owner) => controlled_by(&owner.uid),
            None => orphans_of(&self.metadata.namespace),
        }];
        if !self.spec.node_name.is_empty() {
            groups.push(on_node(&self.spec.node_name));
        }
        groups
    }
}
