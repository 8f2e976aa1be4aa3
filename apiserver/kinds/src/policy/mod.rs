//! What the policy group asks of pods: eviction, and the budgets that an eviction must respect.

mod budget;
pub mod eviction;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&budget::PodDisruptionBudgets]
}
