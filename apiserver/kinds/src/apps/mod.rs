//! Kinds of the apps group, one file each; what they share is in [`template`], [`selector`] and [`amount`].

pub(crate) mod amount;
mod collisions;
mod controllerrevision;
mod daemonset;
pub(crate) mod deployment;
pub(crate) mod replicaset;
pub mod scale;
pub(crate) mod selector;
mod statefulset;
pub(crate) mod template;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![
        &controllerrevision::ControllerRevisions,
        &daemonset::DaemonSets,
        &deployment::Deployments,
        &replicaset::ReplicaSets,
        &statefulset::StatefulSets,
    ]
}

#[cfg(test)]
mod tests;
