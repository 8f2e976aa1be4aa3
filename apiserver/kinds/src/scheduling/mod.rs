//! Kinds of the scheduling.k8s.io group.

pub mod priorityclass;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&priorityclass::PriorityClasses]
}
