//! Kinds of the core group, one file or folder each.

pub mod binding;
mod configmap;
mod endpoints;

mod gojson;
mod keypair;
mod namespace;
mod node;
pub mod pod;
pub mod podtemplate;
mod secret;
pub mod service;
mod serviceaccount;

pub(crate) mod event;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    let mut strategies: Vec<&'static dyn Strategy> = vec![
        &configmap::ConfigMaps,
        &endpoints::AllEndpoints,
        &event::Events,
        &namespace::Namespaces,
        &node::Nodes,
        &secret::Secrets,
        &service::Services,
        &serviceaccount::ServiceAccounts,
    ];
    strategies.extend(pod::strategies());
    strategies.extend(podtemplate::strategies());
    strategies
}
