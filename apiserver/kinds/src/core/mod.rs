//! Kinds of the core group, one file or folder each.

pub mod binding;
pub mod claims;
mod componentstatus;
mod configmap;
mod endpoints;

mod gojson;
mod keypair;
mod limitrange;
pub mod limits;
mod namespace;
mod node;
pub(crate) mod persistentvolume;
mod persistentvolumeclaim;
pub mod pod;
pub mod podtemplate;
mod replicationcontroller;
mod resourcequota;
mod secret;
pub mod service;
mod serviceaccount;

pub(crate) mod event;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    let mut strategies: Vec<&'static dyn Strategy> = vec![
        &componentstatus::ComponentStatuses,
        &configmap::ConfigMaps,
        &endpoints::AllEndpoints,
        &event::Events,
        &limitrange::LimitRanges,
        &namespace::Namespaces,
        &node::Nodes,
        &persistentvolume::PersistentVolumes,
        &persistentvolumeclaim::PersistentVolumeClaims,
        &replicationcontroller::ReplicationControllers,
        &resourcequota::ResourceQuotas,
        &secret::Secrets,
        &service::Services,
        &serviceaccount::ServiceAccounts,
    ];
    strategies.extend(pod::strategies());
    strategies.extend(podtemplate::strategies());
    strategies
}
