//! Kinds of the apps group, one file each; what they share is in [`template`], [`selector`] and [`amount`].

mod amount;
mod deployment;
mod replicaset;
pub mod scale;
mod selector;
mod template;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&deployment::Deployments, &replicaset::ReplicaSets]
}

#[cfg(test)]
mod tests;
