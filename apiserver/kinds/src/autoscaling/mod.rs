//! What the autoscaling group shares: the Scale of every kind that has replicas.

pub mod scale;
