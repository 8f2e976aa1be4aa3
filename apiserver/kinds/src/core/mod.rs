//! Kinds of the core group, one file or folder each.

pub mod pod;
pub mod podtemplate;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    let mut strategies: Vec<&'static dyn Strategy> = vec![];
    strategies.extend(pod::strategies());
    strategies.extend(podtemplate::strategies());
    strategies
}
