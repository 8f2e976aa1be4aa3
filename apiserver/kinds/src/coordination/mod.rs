//! Kinds of the coordination.k8s.io group, one file each.

mod lease;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&lease::Leases]
}
