//! What the controllers keep of each kind: only the fields they read.

mod core;
pub(crate) mod pod;
mod whole;
pub(crate) mod workload;

pub(crate) use self::core::{ConfigMap, Named, Namespace, Ownership};
pub(crate) use self::pod::Pod;
pub(crate) use self::whole::Whole;
pub(crate) use self::workload::{Deployment, ReplicaSet};
