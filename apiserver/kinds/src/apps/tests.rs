//! Deployments and ReplicaSets.
