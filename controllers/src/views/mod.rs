//! What the controllers keep of each kind: only the fields they read.

pub(crate) mod batch;
mod core;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod service;
mod text;
mod whole;
pub(crate) mod workload;

pub(crate) use self::core::{ConfigMap, Named, Namespace, Ownership};
pub(crate) use self::node::{Lease, Node};
pub(crate) use self::pod::Pod;
pub(crate) use self::service::{EndpointSlice, Endpoints, Service};
pub(crate) use self::text::Text;
pub(crate) use self::whole::Whole;
pub(crate) use self::workload::{Deployment, ReplicaSet};
