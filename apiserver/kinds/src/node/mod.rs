//! Kinds of the node.k8s.io group.

mod runtimeclass;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&runtimeclass::RuntimeClasses]
}
