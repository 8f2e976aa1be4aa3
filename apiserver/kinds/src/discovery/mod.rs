//! Kinds of the discovery.k8s.io group, one file each.

mod endpointslice;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&endpointslice::EndpointSlices]
}
