//! Services and what stands for their pods.

use std::collections::BTreeMap;

use runtime::{Metadata, View};
use serde::Deserialize;
use serde_json::Value;

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) metadata: Metadata,
    pub(crate) spec: ServiceSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    pub(crate) r#type: String,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: String,
    pub(crate) ip_families: Vec<String>,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) publish_not_ready_addresses: bool,
    pub(crate) traffic_distribution: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
    pub(crate) app_protocol: Option<String>,
    /// A number, the name of a container's port, or nothing.
    pub(crate) target_port: Value,
}

impl Service {
    pub(crate) fn headless(&self) -> bool {
        self.spec.cluster_ip == "None" || self.spec.cluster_ip.is_empty()
    }

    /// Whether its endpoints are made from pods.
    pub(crate) fn selects(&self) -> bool {
        self.spec.r#type != "ExternalName" && !self.spec.selector.is_empty()
    }
}

impl View for Service {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Label that names a slice's service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Group of the slices of a service.
pub(crate) fn slices_of(namespace: &str, service: &str) -> String {
    format!("service={namespace}/{service}")
}

/// An EndpointSlice; its lists are compared as trees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: Metadata,
    pub(crate) address_type: String,
    pub(crate) endpoints: Option<Vec<Value>>,
    pub(crate) ports: Option<Vec<Value>>,
}

impl View for EndpointSlice {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn groups(&self) -> Vec<String> {
        let service = self.metadata.labels.get(SERVICE_NAME);
        service.map(|name| slices_of(&self.metadata.namespace, name)).into_iter().collect()
    }
}

/// An Endpoints object; its subsets are compared as trees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    pub(crate) metadata: Metadata,
    pub(crate) subsets: Option<Vec<Value>>,
}

impl View for Endpoints {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
