//! The autoscaling group: the Scale of every kind that has replicas, and HorizontalPodAutoscalers in two versions.

mod hpa;
pub mod scale;

use crate::Strategy;

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&hpa::v1::Autoscalers, &hpa::v2::Autoscalers]
}
